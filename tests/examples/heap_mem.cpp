/* SPDX-License-Identifier: MIT */
/*
 * heap_mem<T> and kmem::memory_resource on a real daemon: what tests/unit/test_heap_mem.cpp can not
 * see, because its library is a fake.
 *
 * Exit status: 0 if everything is as heap_mem.hpp says.
 */
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory_resource>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <kmem/heap_mem.hpp>
#include <kmem/query.h>

#define CHECK(fact)                                                                                \
    ((fact)                                                                                        \
         ? static_cast<void>(0)                                                                    \
         : (std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), std::exit(1)))

namespace
{

struct group {
    const char *reason;
    std::uint64_t num_bytes;
    std::uint64_t n_blocks;
};

int find_group(const kmem_ledger_row *row, void *user)
{
    group *wanted = static_cast<group *>(user);
    if (std::strcmp(row->key, wanted->reason) == 0) {
        wanted->num_bytes = row->num_bytes;
        wanted->n_blocks = row->n_blocks;
    }
    return 0;
}

/* What the daemon's ledger has under a reason. */
group ledger_of(const char *reason)
{
    group wanted{reason, 0, 0};
    kmem_query *query = nullptr;
    CHECK(kmem_query_open(nullptr, &query) == 0);
    CHECK(kmem_query_ledger(query, KMEM_BY_REASON, find_group, &wanted) == 0);
    kmem_query_close(query);
    return wanted;
}

void owners_are_on_the_ledger()
{
    {
        heap_mem<std::uint32_t> numbers(1000, "example/numbers");
        for (std::uint32_t number : numbers) {
            CHECK(number == 0);
        }
        CHECK(reinterpret_cast<std::uintptr_t>(numbers.data()) % 64 == 0);
        CHECK(ledger_of("example/numbers").num_bytes == 4000);
        heap_mem<std::uint32_t> moved(std::move(numbers));
        CHECK(ledger_of("example/numbers").n_blocks == 1);
    }
    CHECK(ledger_of("example/numbers").n_blocks == 0);
}

void containers_are_on_the_ledger()
{
    kmem::memory_resource resource("example/tokens");
    {
        std::pmr::vector<std::pmr::string> tokens(&resource);
        for (int i = 0; i < 100; i++) {
            tokens.emplace_back("a token that is too long for a string without a block");
        }
        CHECK(ledger_of("example/tokens").n_blocks == 101);
        CHECK(kmem_offset_of(tokens[99].data()) != 0);
    }
    CHECK(ledger_of("example/tokens").n_blocks == 0);
    void *page = resource.allocate(100, 4096);
    CHECK(reinterpret_cast<std::uintptr_t>(page) % 4096 == 0);
    resource.deallocate(page, 100, 4096);
    CHECK(ledger_of("example/tokens").n_blocks == 0);
}

/* --------------------------------------------------- a failure handler that throws, in C++ ---- */

[[noreturn]] void throw_message(const kmem_failure *failure)
{
    throw std::runtime_error(failure->message);
}

template <typename Call> std::string message_of(Call call)
{
    try {
        call();
    } catch (const std::runtime_error &error) {
        return error.what();
    }
    return "";
}

void failures_reach_the_handler()
{
    CHECK(kmem_set_failure_handler(throw_message) == nullptr);
    heap_mem<int> pair(2, "A pair of ints");
    std::string where = "block at offset " + std::to_string(kmem_offset_of(pair.data()));
    CHECK(message_of([&] { pair[2] = 1; }) ==
          "heap_mem::operator[]: " + where +
              " (8 bytes): index 2 is out of bounds, there are 2 elements");
    CHECK(message_of([&] { (void)pair.size_check(9); }) ==
          "heap_mem::size_check: " + where + " (8 bytes): 9 bytes do not fit");
    CHECK(std::strncmp(kmem_last_error(), "heap_mem::size_check: ", 22) == 0);

    heap_mem<char> large;
    CHECK(message_of([&] { large.allocate(17u << 20, "too large"); }).rfind("kmem_allocate: ", 0) ==
          0);
    CHECK(large.is_null());
    CHECK(message_of([&] {
              large.allocate(std::size_t{3} << 30, "far too large");
          }).rfind("heap_mem::allocate: ", 0) == 0);
    CHECK(large.is_null());
    CHECK(kmem_set_failure_handler(nullptr) == throw_message);
}

/* A child that runs its parent's destructors neither takes the parent's block nor aborts. */
void a_forked_child_releases_nothing()
{
    heap_mem<int> pair(2, "example/parent");
    pid_t pid = fork();
    if (pid == 0) {
        {
            heap_mem<int> mine(std::move(pair));
        }
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(ledger_of("example/parent").n_blocks == 1);
}

} // namespace

int main()
{
    owners_are_on_the_ledger();
    containers_are_on_the_ledger();
    failures_reach_the_handler();
    a_forked_child_releases_nothing();
    std::puts("heap_mem.cpp: everything is as heap_mem.hpp says");
    return 0;
}
