/* SPDX-License-Identifier: MIT */
/*
 * fake_kmem.hpp - a libkmem made of malloc, for the tests of the C++ wrapper
 *
 * It writes down what is called, fails when told to, and keeps released blocks, so that a second
 * release is seen as one. Blocks are aligned as kmem.h promises and no better.
 */
#ifndef UNIT_FAKE_KMEM_HPP
#define UNIT_FAKE_KMEM_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <kmem/kmem.h>

/* What the failure handler that fake_new() installs throws. */
struct failed : std::runtime_error {
    explicit failed(const kmem_failure &failure);
    std::string call;
    int error;
    std::uint64_t offset;
    std::uint64_t num_bytes;
    std::string reason;
};

inline constexpr std::size_t room_bytes = std::size_t{1} << 20;
inline constexpr std::size_t huge_bytes = std::size_t{3} << 30;

struct fake_library {
    std::map<void *, std::size_t> live;
    std::set<void *> released;
    std::vector<std::string> calls; /* "try_allocate 44", "release", "fail heap_mem::allocate" */
    std::string reason;             /* of the last allocation */
    std::string last_error;
    kmem_failure_handler handler = nullptr;
    int release_error = 0;      /* what every release answers; 0: it works */
    bool room_for_huge = false; /* a block of huge_bytes is pretended */

    fake_library() = default;
    fake_library(const fake_library &) = delete;
    fake_library &operator=(const fake_library &) = delete;
    ~fake_library();
};

/* The one in use. */
extern fake_library *fake;

/* Setup and teardown of each test. */
int fake_new(void **state);
int fake_free(void **state);

/* What is thrown by a call that has to fail; a test ends if nothing is. */
template <typename Call> failed failure_of(Call call)
{
    try {
        call();
    } catch (const failed &failure) {
        return failure;
    }
    std::fputs("the failure handler was not called\n", stderr);
    std::abort();
}

/* A failure handler that returns. */
void ignore_failure(const kmem_failure *failure);

#endif
