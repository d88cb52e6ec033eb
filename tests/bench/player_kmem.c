/* SPDX-License-Identifier: MIT */
/*
 * player_kmem FD - libkmem.so and the daemon at $KMEM_SOCKET
 */
#include <kmem/kmem.h>
#include <kmem/share.h>

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

/* A small block that is to be shared is the daemon's to carve, however often that is wanted. */
static void *block_take_direct(size_t num_bytes)
{
    void *block = kmem_try_allocate_with(num_bytes, KMEM_SHAREABLE, "bench/direct");
    if (block == NULL) {
        bench_fail("%s", kmem_last_error());
    }
    return block;
}

static const struct allocator allocator = {block_take, block_give, block_measure,
                                           block_take_direct};

PLAYER_THREADS(allocator)

int main(int argc, char **argv)
{
    const int status = player_serve(argc == 2 ? argv[1] : "-1", true, play, take_over);
    return kmem_close() == 0 ? status : 1;
}
