/* SPDX-License-Identifier: MIT */
/*
 * player_boost FD NAME - Boost.Interprocess in the shared memory NAME, which all who play share
 *
 * Its blocks are not zeroed; as everybody else's are, it clears them. A call into the C++ file is
 * one more than the others make, 1 or 2 ns of what are more than 50.
 */
#include "tests/bench/interprocess.h"
#include "tests/bench/player.h"

/* Twice what the workload of fresh memory takes. */
#define MEMORY_BYTES ((size_t)512 << 20)

static inline void *boost_take(size_t num_bytes)
{
    return interprocess_take(num_bytes);
}

static inline void boost_give(void *block)
{
    interprocess_give(block);
}

static inline size_t boost_measure(const void *block)
{
    return interprocess_measure(block);
}

static const struct allocator allocator = {boost_take, boost_give, boost_measure, NULL};

PLAYER_THREADS(allocator)

int main(int argc, char **argv)
{
    return argc == 3 ? player_serve(argv[1], interprocess_join(argv[2], MEMORY_BYTES) == 0, play,
                                    take_over)
                     : 1;
}
