/* SPDX-License-Identifier: MIT */
/*
 * The names that a program calls, as C, POSIX and glibc define them. What they share is block.c's.
 *
 *  - 0 bytes are a block of 1, so that each has an address of its own; realloc(block, 0) releases
 *    it and returns NULL, as in glibc.
 *  - Failing, errno is ENOMEM; posix_memalign() returns its errors and leaves errno alone.
 *  - memalign() and aligned_alloc() take any alignment, as glibc did until 2.37: what is no power
 *    of two is rounded up to the next one, and no more than 16 asks for nothing. posix_memalign()
 *    takes what POSIX lets it take.
 *  - The module that is named as the reason is the one that calls: what a library allocates on its
 *    program's behalf (libstdc++ for every `new`, libc for strdup()) is under the library's name.
 */
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/malloc/block.h"
#include "client/malloc/fork.h"

#define CALLER __builtin_return_address(0)
#define EXPORT __attribute__((visibility("default")))

EXPORT void cfree(void *block);
extern void *__libc_calloc(size_t count, size_t each_bytes);

/*
 * What the library asks for: a program's whole heap is in the segment then, and no slab is to have
 * another process's byte, for blocks are not cleared.
 */
EXPORT extern const bool kmem_serves_malloc;
const bool kmem_serves_malloc = true;

static bool is_power_of_two(size_t number)
{
    return number != 0 && (number & (number - 1)) == 0;
}

/* Return: false, and ENOMEM, if the product is more than a size can be. */
static bool multiply(size_t count, size_t each_bytes, size_t *ret_num_bytes)
{
    if (__builtin_mul_overflow(count, each_bytes, ret_num_bytes)) {
        errno = ENOMEM;
        return false;
    }
    return true;
}

/* What stays where it is comes first, and saves no register: neither NULL nor 0 bytes do. */
__attribute__((noinline)) static void *resize_more(void *block, size_t num_bytes,
                                                   const void *caller)
{
    if (block == NULL) {
        return block_fast_new(num_bytes, caller);
    }
    if (num_bytes == 0) {
        block_free(block);
        return NULL;
    }
    return block_resize(block, num_bytes, caller);
}

__attribute__((always_inline)) static inline void *resize(void *block, size_t num_bytes,
                                                          const void *caller)
{
    return block_fast_resize(block, num_bytes) ? block : resize_more(block, num_bytes, caller);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE); /* glibc: no system call, never fails */
}

/* The parameters have the names that glibc's headers give them. */
KMEM_LINE EXPORT void *malloc(size_t size)
{
    return block_fast_new(size, CALLER);
}

EXPORT void *calloc(size_t nmemb, size_t size)
{
    size_t num_bytes;
    if (fork_is_threads(nmemb, size, CALLER) || fork_is_table(size, CALLER)) {
        return __libc_calloc(nmemb, size);
    }
    return multiply(nmemb, size, &num_bytes) ? block_fast_new_zeroed(num_bytes, CALLER) : NULL;
}

EXPORT void *realloc(void *ptr, size_t size)
{
    return resize(ptr, size, CALLER);
}

EXPORT void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
    size_t num_bytes;
    return multiply(nmemb, size, &num_bytes) ? resize(ptr, num_bytes, CALLER) : NULL;
}

KMEM_LINE EXPORT void free(void *ptr)
{
    block_fast_free(ptr);
}

/* glibc 2.26 has taken it out of its headers; programs that are older still call it. */
EXPORT void cfree(void *block)
{
    block_free(block);
}

static void *new_aligned(size_t alignment, size_t num_bytes, const void *caller)
{
    const size_t largest = SIZE_MAX / 2 + 1;
    size_t rounded = 1;
    if (alignment > largest) {
        errno = EINVAL;
        return NULL;
    }
    while (rounded < alignment) {
        rounded *= 2;
    }
    return block_new_aligned(rounded, num_bytes, caller);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return new_aligned(alignment, size, CALLER);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return new_aligned(alignment, size, CALLER);
}

EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size)
{
    const int saved_errno = errno;
    if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    void *block = block_new_aligned(alignment, size, CALLER);
    errno = saved_errno;
    if (block == NULL) {
        return ENOMEM;
    }
    *memptr = block;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return block_new_aligned(page_bytes(), size, CALLER);
}

EXPORT void *pvalloc(size_t size)
{
    const size_t page = page_bytes();
    if (size > PTRDIFF_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return block_new_aligned(page, (size + page - 1) / page * page, CALLER);
}

EXPORT size_t malloc_usable_size(void *ptr)
{
    const size_t own_bytes = block_fast_num_bytes(ptr);
    return own_bytes != 0 || ptr == NULL ? own_bytes : block_num_bytes(ptr);
}
