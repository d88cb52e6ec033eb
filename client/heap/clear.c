/* SPDX-License-Identifier: MIT */
/*
 * Warm memory is cleared by the loop that the daemon's plan has for the size, and the rest by
 * memset(), which knows the machine. $KMEM_CLEAR puts one loop in the place of all.
 *
 * A block that is larger than a cache leaves its last bytes there. Cleared from the front once
 * more, each line pushes out the one that is wanted soonest, and none is found; cleared from the
 * end, as much is found as the cache holds. So the parts of a warm block are cleared from front to
 * end and from end to front by turns (us; a byte of each page is written between two turns;
 * Sapphire Rapids, 48 KiB and 2 MiB of cache):
 *
 *      bytes             64 Ki  128 Ki  1 Mi   2 Mi   3 Mi   4 Mi   8 Mi
 *      from the front     1.65    3.24  26.7   64.2  144.6  196.5  402.3
 *      by turns           0.76    2.42  27.2   61.4  106.5  160.5  385.6
 *
 * Rejected: always from the end. It is as good for an owner that writes all of the block from the
 * front, and gains nothing for one that does not.
 *
 *  field  written by      read by                   order
 *  ways   a call that     every large allocation    relaxed: each of them is a function that does
 *         joins                                     the same
 *  turns  each thread     itself                    none
 */
#include "client/heap/clear.h"

#include <stdatomic.h>

/* What is not warm comes behind the bands. */
#define COLD CLEAR_BANDS

static void *clear_usual(unsigned char *block, size_t num_bytes)
{
    return memset(block, 0, num_bytes);
}

static _Atomic(clear_function) ways[CLEAR_BANDS + 1] = {
    clear_usual, clear_usual, clear_usual, clear_usual, clear_usual,
    clear_usual, clear_usual, clear_usual, clear_usual,
};

/* A daemon that did not measure, or on another kind of machine's behalf: what is seldom wrong. */
static uint32_t clear_usable(uint32_t plan)
{
    const bool has_32 = clear_loop_function(CLEAR_LOOP32) != NULL;
    return clear_plan_is_usable(plan) ? plan : clear_plan_of(has_32 ? CLEAR_LOOP32 : CLEAR_MEMSET);
}

void kmem__clear_choose(enum clear_loop forced, uint32_t plan)
{
    const bool is_forced = forced != CLEAR_UNSAID;
    const uint32_t used = is_forced ? clear_plan_of(forced) : clear_usable(plan);
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        atomic_store_explicit(&ways[band], clear_loop_function(clear_plan_loop(used, band)),
                              memory_order_relaxed);
    }
    atomic_store_explicit(&ways[COLD], clear_loop_function(is_forced ? forced : CLEAR_MEMSET),
                          memory_order_relaxed);
}

/* 16 KiB: a third of a first-level cache, so that most of what is there is found; and with 4 KiB
   starting each part costs a 10th where nothing is found. */
#define PART_BYTES ((size_t)16 * 1024)

/* Of more than 32 KiB: what is not larger is in a first-level cache as a whole. */
#define TURNS_MIN_BYTES ((size_t)32 * 1024)

/* A bit for each 32 KiB, of 2 MiB, in which a block begins: whether it was cleared from its front.
   Two blocks with one bit are at worst cleared in the same way each time. */
static _Thread_local uint64_t turns __attribute__((tls_model("initial-exec")));

static void *clear_from_end(clear_function clear, unsigned char *block, size_t num_bytes)
{
    for (size_t end = num_bytes; end > 0;) {
        const size_t begin = (end - 1) / PART_BYTES * PART_BYTES;
        (void)clear(block + begin, end - begin);
        end = begin;
    }
    return block;
}

/* Not inline: so the way of smaller blocks saves no register. */
__attribute__((noinline)) static void *clear_by_turns(clear_function clear, unsigned char *block,
                                                      size_t num_bytes)
{
    const uint64_t bit = UINT64_C(1) << (uintptr_t)block / TURNS_MIN_BYTES % 64;
    turns ^= bit;
    return (turns & bit) != 0 ? clear(block, num_bytes) : clear_from_end(clear, block, num_bytes);
}

void *kmem__clear(unsigned char *block, size_t num_bytes, bool is_warm)
{
    const unsigned int way =
        is_warm && num_bytes <= CLEAR_WARM_MAX_BYTES ? clear_band(num_bytes) : COLD;
    const clear_function clear = atomic_load_explicit(&ways[way], memory_order_relaxed);
    return is_warm && num_bytes > TURNS_MIN_BYTES ? clear_by_turns(clear, block, num_bytes)
                                                  : clear(block, num_bytes);
}
