/* SPDX-License-Identifier: MIT */
/*
 * failing_memory.c - malloc() and the like, of which the n-th fails
 *
 * Loaded before the C library, or linked into a test. glibc calls malloc() as every caller does, so
 * its own allocations are among them.
 */
#include "tests/system/failing_memory.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/system/harness.h"

/* glibc's own, by the names under which it exports them for this purpose. */
void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *bytes, size_t n_bytes);
void *__libc_memalign(size_t alignment, size_t n_bytes);

static struct fault_plan *plan;
static enum fault_role role;

void failing_memory_begin(struct fault_plan *shared_plan, enum fault_role own_role)
{
    role = own_role;
    plan = shared_plan;
}

#if !HARNESS_SANITIZED
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
#endif
