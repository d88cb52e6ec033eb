/* SPDX-License-Identifier: MIT */
/*
 * player_kmem FD - libkmem.so and the daemon at $KMEM_SOCKET
 */
#include <kmem/kmem.h>

#include "client/heap/hot.h"
#include "tests/bench/player.h"

static inline void *block_take(size_t num_bytes)
{
    return kmem_allocate((int)num_bytes, "bench/block");
}

static inline void block_give(void *block)
{
    kmem_release(&block);
}

static inline size_t block_measure(const void *block)
{
    return kmem_sizeof_allocation(block);
}

/* A membership's first HOT_AFTER blocks of each class; player_play_direct() uses four classes. */
static uint32_t block_begin_direct(void)
{
    if (kmem_close() != 0) {
        bench_fail("%s", kmem_last_error());
    }
    void *block = kmem_allocate(65536, "bench/join"); /* connects; another class */
    kmem_release(&block);
    return 4 * HOT_AFTER;
}

static const struct allocator allocator = {block_take, block_give, block_measure,
                                           block_begin_direct};

PLAYER_THREADS(allocator)

int main(int argc, char **argv)
{
    const int status = player_serve(argc == 2 ? argv[1] : "-1", true, play, take_over);
    return kmem_close() == 0 ? status : 1;
}
