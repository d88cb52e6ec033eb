/* SPDX-License-Identifier: MIT */
/*
 * clear.h - the loops that write zeros, and which of them is used for which size
 *
 * Which loop is fastest differs between processors, and on one of them between sizes. So the server
 * measures once, when a segment begins (daemon/server/clear_trial.h), and says in the notice file
 * what it found, in a word that clients read when they join:
 *
 *      a plan    four bits for each band of sizes, its loop; the first band in the lowest bits
 *      band n    blocks of more than 2 KiB << n, and not more than 4 KiB << n, that are likely to
 *                be in a cache
 *
 * A band that says nothing, or a loop that this program or its processor does not have, is
 * CLEAR_MEMSET. A plan of 0 says nothing at all: the server did not measure.
 */
#ifndef PROTO_CLEAR_H
#define PROTO_CLEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

/* Numbers in the notice file: never changed. */
enum clear_loop {
    CLEAR_UNSAID,
    CLEAR_MEMSET, /* the C library's */
    CLEAR_LOOP32, /* stores of 32 bytes: AVX2 */
    CLEAR_LOOP64, /* stores of 64 bytes: AVX-512 */
    CLEAR_REP,    /* rep stosb */
    N_CLEAR_LOOPS,
};

/* 8: up to 512 KiB, half of a common second-level cache. What does not fit it is not warm. */
#define CLEAR_BANDS 8
#define CLEAR_BAND_BITS 4
#define CLEAR_BAND_MIN_BYTES 2049
#define CLEAR_BAND_BYTES(band) ((size_t)4096 << (band))
#define CLEAR_WARM_MAX_BYTES CLEAR_BAND_BYTES(CLEAR_BANDS - 1)

/** clear_band() - that of CLEAR_BAND_MIN_BYTES to CLEAR_WARM_MAX_BYTES */
static inline unsigned int clear_band(size_t num_bytes)
{
    return (unsigned int)(63 - __builtin_clzll(num_bytes - 1)) - 11;
}

/**
 * clear_function - clear a block
 * @block:      64-byte aligned; up to 127 bytes behind num_bytes may be cleared as well, never
 *              beyond the next multiple of 128 bytes
 * @num_bytes:  1 at least
 *
 * Return: block, so that an allocation may end here.
 */
typedef void *(*clear_function)(unsigned char *block, size_t num_bytes);

/** clear_loop_function() - NULL: this processor does not have what the loop needs */
clear_function clear_loop_function(enum clear_loop loop);

/** clear_loop_name() - "memset", "loop32", "loop64" or "rep" */
const char *clear_loop_name(enum clear_loop loop);

/** clear_loop_find() - the loop of a name; CLEAR_UNSAID: there is none */
enum clear_loop clear_loop_find(const char *name);

/** clear_plan_loop() - what a plan says of a band */
enum clear_loop clear_plan_loop(uint32_t plan, unsigned int band);

/** clear_plan_of() - one loop for every band */
uint32_t clear_plan_of(enum clear_loop loop);

/** clear_plan_is_usable() - whether this program knows and this processor has every loop of it */
bool clear_plan_is_usable(uint32_t plan);

/* How long each loop took for a band's largest block, in any unit; 0: it was not measured. */
struct clear_times {
    uint32_t cost[CLEAR_BANDS][N_CLEAR_LOOPS];
};

/**
 * clear_choose() - the plan that follows from what was measured
 *
 * A band has the loop of the one before it, unless another is faster by a 16th at least: less is
 * not told from chance, and blocks of a band's smaller sizes are between two. The first band has
 * memset(), and so has the one of up to 32 KiB: what a first-level cache does not hold memset()
 * clears by whole lines, where a loop of stores waits for them; and of a block that it could hold
 * it has often lost some, which a trial that does nothing else does not see. A band for which
 * nothing was measured is as the one before.
 */
uint32_t clear_choose(const struct clear_times *times);

/** clear_plan_first_bytes() - how large blocks are that the first band's loop clears; 0: no plan */
uint64_t clear_plan_first_bytes(uint32_t plan);

/* "loop64 up to 16 KiB, rep up to 64 KiB, ..." with each band another loop's. */
#define CLEAR_PLAN_TEXT_BYTES 256

/** clear_plan_format() - a plan in words. Return: text. */
const char *clear_plan_format(uint32_t plan, char *text, size_t text_bytes);

#endif
