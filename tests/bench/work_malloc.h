/* SPDX-License-Identifier: MIT */
/*
 * work_malloc.h - what bench_malloc has programs do with their malloc()
 *
 * Each is a pattern of which a public benchmark of allocators is known, written anew: how many
 * blocks of what sizes live how long, and which thread releases them. A pattern allocates by
 * malloc() and its like alone, and writes into what it is given.
 */
#ifndef TESTS_BENCH_WORK_MALLOC_H
#define TESTS_BENCH_WORK_MALLOC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A pattern: n is how much of it there is to do. Return: a number, that nothing is left out. */
typedef uint64_t (*work_function)(uint64_t n);

/* Of one thread: work_alone.c. */
uint64_t work_loop(uint64_t n);     /* malloc(), free(): nothing else */
uint64_t work_cfrac(uint64_t n);    /* numbers of a few digits, each a block that lives shortly */
uint64_t work_espresso(uint64_t n); /* sets of many sizes, in covers that come and go */
uint64_t work_slots(uint64_t n);    /* alloc-test: a random slot replaced, sizes exponential */
uint64_t work_strings(uint64_t n);  /* strings that grow by realloc() */

/* Of two and more: work_threads.c. */
uint64_t work_xmalloc(uint64_t n);  /* producers and consumers of batches */
uint64_t work_scratch(uint64_t n);  /* cache-scratch: another thread's block first, then own */
uint64_t work_mstress(uint64_t n);  /* phases of random blocks, some passed through a table */
uint64_t work_handover(uint64_t n); /* larson: a server's slots, handed on to the next thread */

/* C++: work_map.cpp. */
uint64_t work_map(uint64_t n); /* maps of strings, by new and delete */

/** work_random() - xorshift64*: the same numbers in each run */
static inline uint64_t work_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#ifdef __cplusplus
}
#endif

#endif
