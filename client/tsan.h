/* SPDX-License-Identifier: MIT */
/*
 * tsan.h - what a program's ThreadSanitizer must be told by a library that it has not compiled
 *
 * It sees the program's accesses to blocks and what it intercepts of this library, memset() for
 * one; it does not see by which atomic operations a block went from the thread that released it to
 * the one that has it next, and calls that a race. So a release says that what was done so far is
 * done, and an allocation that it comes after that, page by page: blocks of other sizes come to be
 * where others were, but never without a page being given and taken. A race of the program's own on
 * a block that lives is found as ever.
 *
 * None of this is on the fast way. In such a process it is never taken: a heap says that no page is
 * its own, and no reason is remembered.
 */
#ifndef CLIENT_TSAN_H
#define CLIENT_TSAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define KMEM_HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KMEM_HAS_TSAN 1
#endif
#endif

#ifdef KMEM_HAS_TSAN

/* The library itself is compiled for it: nothing needs to be told, and nothing is hidden. */
static inline bool kmem__tsan_watches(void)
{
    return false;
}

#else

/* There if the program is compiled for it. From <sanitizer/tsan_interface.h>. */
extern void __tsan_acquire(void *address) __attribute__((weak)); /* NOLINT: its name */
extern void __tsan_release(void *address) __attribute__((weak)); /* NOLINT: its name */

static inline bool kmem__tsan_watches(void)
{
    return __tsan_acquire != NULL;
}

#endif

/** kmem__tsan_taken() - a block is about to be cleared, and is this thread's */
void kmem__tsan_taken(unsigned char *block, uint64_t num_bytes);

/** kmem__tsan_given() - a block is about to be any thread's */
void kmem__tsan_given(unsigned char *block, uint64_t num_bytes);

/** kmem__tsan_map() - mmap() that it does not see. Return: MAP_FAILED and errno, too. */
void *kmem__tsan_map(void *at, uint64_t num_bytes, int protection, int flags, int fd);

#endif
