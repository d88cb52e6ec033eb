/* SPDX-License-Identifier: MIT */
/*
 * player_memset FD - no allocator: the same block is cleared again and again
 *
 * The floor for large blocks, and what the machine itself makes of a second thread or process. The
 * buffer is made of huge pages, if they can be had, as the segment is.
 */
#include <sys/mman.h>

#include "tests/bench/player.h"

#define BUFFER_BYTES ((size_t)8 << 20)
#define HUGE_BYTES ((size_t)2 << 20)

static _Thread_local unsigned char *buffer;

static __attribute__((noinline)) void make_buffer(void)
{
    buffer = mmap(NULL, BUFFER_BYTES + HUGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        bench_fail("no memory for a buffer");
    }
    buffer += -(uintptr_t)buffer & (HUGE_BYTES - 1);
    (void)madvise(buffer, BUFFER_BYTES, MADV_HUGEPAGE); /* as good as it gets */
}

static inline void *memset_take(size_t num_bytes)
{
    if (KMEM_UNLIKELY(buffer == NULL)) {
        make_buffer();
    }
    return memset(buffer, 0, num_bytes);
}

static inline void memset_give(void *block)
{
    (void)block;
}

static inline size_t memset_measure(const void *block)
{
    (void)block;
    return BUFFER_BYTES;
}

static const struct allocator allocator = {memset_take, memset_give, memset_measure, NULL};

PLAYER_THREADS(allocator)

int main(int argc, char **argv)
{
    return player_serve(argc == 2 ? argv[1] : "-1", true, play, take_over);
}
