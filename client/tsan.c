/* SPDX-License-Identifier: MIT */
#include "client/tsan.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/limits.h"

#ifdef KMEM_HAS_TSAN

void kmem__tsan_taken(unsigned char *block, uint64_t num_bytes)
{
    (void)block;
    (void)num_bytes;
}

void kmem__tsan_given(unsigned char *block, uint64_t num_bytes)
{
    (void)block;
    (void)num_bytes;
}

#else

/* Each page has an address that stands for it: its first. */
static unsigned char *page_of(unsigned char *at)
{
    return at - (uintptr_t)at % PAGE_BYTES;
}

void kmem__tsan_taken(unsigned char *block, uint64_t num_bytes)
{
    for (unsigned char *page = page_of(block); page < block + num_bytes; page += PAGE_BYTES) {
        __tsan_acquire(page);
    }
}

void kmem__tsan_given(unsigned char *block, uint64_t num_bytes)
{
    for (unsigned char *page = page_of(block); page < block + num_bytes; page += PAGE_BYTES) {
        __tsan_release(page);
    }
}

#endif

/*
 * ThreadSanitizer takes an mmap() for a write to every byte, by this thread. What orders it before
 * the reads of other threads is in code that it has not compiled.
 */
void *kmem__tsan_map(void *at, uint64_t num_bytes, int protection, int flags, int fd)
{
    if (kmem__tsan_watches()) {
        return (void *)syscall(SYS_mmap, at, num_bytes, protection, flags, fd, 0);
    }
    return mmap(at, num_bytes, protection, flags, fd, 0);
}
