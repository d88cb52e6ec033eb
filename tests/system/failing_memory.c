/* SPDX-License-Identifier: MIT */
/*
 * failing_memory.c - malloc() and the like, of which the n-th fails: loaded before the C library
 *
 * Counted from the moment that the program is loaded; what the loader itself takes comes before.
 * glibc calls malloc() as everybody does, so its own allocations are among them. It knows whose
 * calls it counts from the descriptors that its process is passed: a server gets a control socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/system/fault_plan.h"

/* glibc's own, by the names under which it exports them for this purpose. */
void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *bytes, size_t n_bytes);
void *__libc_memalign(size_t alignment, size_t n_bytes);

static struct fault_plan *plan;
static enum fault_role role;

__attribute__((constructor)) static void memory_begin(void)
{
    const char *const path = getenv(FAULT_PLAN_VARIABLE);
    const char *const passed = getenv("LISTEN_FDNAMES");
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *const page =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, sizeof(struct fault_plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        _exit(125);
    }
    (void)close(fd);
    role = passed && (strstr(passed, "control") || strstr(passed, "check")) ? FAULT_SERVER
                                                                            : FAULT_KEEPER;
    plan = page;
}

static bool memory_fails(void)
{
    if (!plan || !fault_plan_count(plan, role, FAULT_NUMBER_MEMORY, true)) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): stdlib.h has reserved names */
#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *malloc(size_t n_bytes)
{
    return memory_fails() ? NULL : __libc_malloc(n_bytes);
}

EXPORTED void *calloc(size_t n, size_t n_bytes)
{
    return memory_fails() ? NULL : __libc_calloc(n, n_bytes);
}

EXPORTED void *realloc(void *bytes, size_t n_bytes)
{
    return memory_fails() ? NULL : __libc_realloc(bytes, n_bytes);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t n_bytes)
{
    return memory_fails() ? NULL : __libc_memalign(alignment, n_bytes);
}

EXPORTED int posix_memalign(void **ret_bytes, size_t alignment, size_t n_bytes)
{
    void *const bytes = memory_fails() ? NULL : __libc_memalign(alignment, n_bytes);
    if (!bytes) {
        return ENOMEM;
    }
    *ret_bytes = bytes;
    return 0;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
