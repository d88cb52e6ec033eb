/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kmem.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

fake_library *fake;

failed::failed(const kmem_failure &failure)
    : std::runtime_error(failure.message), call(failure.call), error(failure.error),
      offset(failure.offset), num_bytes(failure.num_bytes), reason(failure.reason)
{
}

/* ---------------------------------------------------------------------------------- memory ---- */

/* A multiple of 16 but not of 32; from 64 bytes up of 64 but not of 128. */
static void *block_new(std::size_t num_bytes)
{
    const std::size_t step_bytes = num_bytes < 64 ? 16 : 64;
    void *base = std::aligned_alloc(128, ((step_bytes + num_bytes + 127) / 128) * 128);
    if (base == nullptr) {
        std::abort();
    }
    void *block = static_cast<char *>(base) + step_bytes;
    std::memset(block, 0, num_bytes);
    return block;
}

static void block_free(void *block)
{
    std::free(static_cast<char *>(block) - reinterpret_cast<std::uintptr_t>(block) % 128);
}

fake_library::~fake_library()
{
    for (void *block : released) {
        block_free(block);
    }
    for (auto &entry : live) {
        block_free(entry.first);
    }
}

static int fail_with(int error, const char *sentence)
{
    fake->last_error = sentence;
    return error;
}

static int fake_release(void **mem)
{
    if (fake->release_error != 0) {
        return fail_with(fake->release_error, "fake: the release fails");
    }
    if (fake->released.count(*mem) != 0) {
        return fail_with(-EALREADY, "fake: released before");
    }
    if (fake->live.erase(*mem) == 0) {
        return fail_with(-EINVAL, "fake: no block");
    }
    fake->released.insert(*mem);
    *mem = nullptr;
    return 0;
}

static void fake_fail(const char *call, int error)
{
    kmem_failure failure{};
    failure.struct_bytes = sizeof failure;
    failure.call = call;
    failure.message = fake->last_error.c_str();
    failure.error = error;
    failure.reason = "";
    kmem_fail(&failure);
}

/* ------------------------------------------------------------------- the calls of kmem.h ---- */

void *kmem_try_allocate(std::size_t num_bytes, const char *reason)
{
    const bool pretend = fake->room_for_huge && num_bytes == huge_bytes;

    fake->calls.push_back("try_allocate " + std::to_string(num_bytes));
    fake->reason = reason != nullptr ? reason : "(NULL)";
    if (num_bytes == 0 || (num_bytes > room_bytes && !pretend)) {
        errno = fail_with(num_bytes == 0 ? EINVAL : ENOMEM, "fake: no room");
        return nullptr;
    }
    void *block = block_new(pretend ? 64 : num_bytes);
    fake->live[block] = num_bytes;
    return block;
}

void *kmem_allocate(const int num_bytes, const char *const reason)
{
    void *block =
        kmem_try_allocate(num_bytes > 0 ? static_cast<std::size_t>(num_bytes) : 0, reason);
    if (block == nullptr) {
        fake_fail("kmem_allocate", errno);
    }
    return block;
}

int kmem_try_release(void **mem)
{
    fake->calls.push_back("try_release");
    return fake_release(mem);
}

void kmem_release(void **mem)
{
    fake->calls.push_back("release");
    const int r = fake_release(mem);
    if (r < 0) {
        fake_fail("kmem_release", -r);
    }
}

std::uint64_t kmem_offset_of(const void *mem)
{
    return fake->live.count(const_cast<void *>(mem)) != 0 ? 4096 : 0;
}

const char *kmem_last_error()
{
    return fake->last_error.c_str();
}

void kmem_fail(const kmem_failure *failure)
{
    fake->calls.push_back(std::string("fail ") + failure->call);
    if (fake->handler == nullptr) {
        std::fprintf(stderr, "%s\n", failure->message);
        std::abort();
    }
    fake->handler(failure);
}

/* ------------------------------------------------------------------------ what tests use ---- */

[[noreturn]] static void throw_failure(const kmem_failure *failure)
{
    throw failed(*failure);
}

void ignore_failure(const kmem_failure *)
{
}

int fake_new(void **)
{
    fake = new fake_library;
    fake->handler = throw_failure;
    return 0;
}

int fake_free(void **)
{
    delete fake;
    fake = nullptr;
    return 0;
}
