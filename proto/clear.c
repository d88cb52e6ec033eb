/* SPDX-License-Identifier: MIT */
/*
 * Clearing is most of what a large allocation costs. What is fastest depends on where the bytes are
 * and on the processor (ns; warm: cleared a moment ago, cold: in no cache):
 *
 *                  Zen 5                                           Sapphire Rapids
 *      bytes        4 Ki  16 Ki  64 Ki  256 Ki    1 Mi  16 Ki cold   4 Ki  16 Ki  64 Ki  256 Ki
 *      memset         50    216    634    2368    9552         632     42    138   1672    7374
 *      rep stosb      67    162    591    2368    9570         424     39    136   1662    7327
 *      32 bytes       23     85    385    1350    9133         790     35    144   1710    6600
 *      64 bytes       23    137    381    1397    9625        1035     31    136   1691    6609
 *      streaming     270    371   1230    3789   14313         436    404    988   3152   12440
 *
 * A loop of stores also lets the processor go on with what follows while the stores drain, which
 * `rep stosb` does not: between an allocation and its release that is worth more than the table
 * shows. In memory that is in no cache a loop loses, for each store fetches a line that it is about
 * to overwrite, which `rep stosb` avoids. Streaming stores leave the block in no cache: its owner,
 * which is about to write it, would pay.
 */
#include "proto/clear.h"

#include <stdio.h>
#include <string.h>

#include "proto/text.h"

static void *clear_memset(unsigned char *block, size_t num_bytes)
{
    return memset(block, 0, num_bytes);
}

#if defined(__x86_64__)

typedef unsigned char __attribute__((vector_size(32), aligned(32), may_alias)) clear_store32;
typedef unsigned char __attribute__((vector_size(64), aligned(64), may_alias)) clear_store64;

__attribute__((target("avx2"))) KMEM_LINE static void *clear_by_32(unsigned char *block,
                                                                   size_t num_bytes)
{
    const clear_store32 zero = {0};
    for (unsigned char *at = block; at < block + num_bytes; at += 128) {
        clear_store32 *to = (clear_store32 *)at;
        to[0] = zero;
        to[1] = zero;
        to[2] = zero;
        to[3] = zero;
        /* What the compiler would recognise as memset() is not what is wanted here. */
        __asm__ volatile("" ::: "memory");
    }
    return block;
}

__attribute__((target("avx512f"))) KMEM_LINE static void *clear_by_64(unsigned char *block,
                                                                      size_t num_bytes)
{
    const clear_store64 zero = {0};
    for (unsigned char *at = block; at < block + num_bytes; at += 128) {
        clear_store64 *to = (clear_store64 *)at;
        to[0] = zero;
        to[1] = zero;
        __asm__ volatile("" ::: "memory"); /* likewise */
    }
    return block;
}

static void *clear_by_rep(unsigned char *block, size_t num_bytes)
{
    void *at = block;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(num_bytes) : "a"(0) : "memory");
    return block;
}

static clear_function clear_special(enum clear_loop loop)
{
    return loop == CLEAR_LOOP32   ? (__builtin_cpu_supports("avx2") ? clear_by_32 : NULL)
           : loop == CLEAR_LOOP64 ? (__builtin_cpu_supports("avx512f") ? clear_by_64 : NULL)
           : loop == CLEAR_REP    ? clear_by_rep
                                  : NULL;
}

#else

static clear_function clear_special(enum clear_loop loop)
{
    (void)loop;
    return NULL;
}

#endif

clear_function clear_loop_function(enum clear_loop loop)
{
    return loop == CLEAR_MEMSET ? clear_memset : clear_special(loop);
}

/* ----------------------------------------------------------------------------------- names ---- */

static const char *const names[N_CLEAR_LOOPS] = {
    [CLEAR_MEMSET] = "memset",
    [CLEAR_LOOP32] = "loop32",
    [CLEAR_LOOP64] = "loop64",
    [CLEAR_REP] = "rep",
};

const char *clear_loop_name(enum clear_loop loop)
{
    return loop > CLEAR_UNSAID && loop < N_CLEAR_LOOPS ? names[loop] : names[CLEAR_MEMSET];
}

enum clear_loop clear_loop_find(const char *name)
{
    enum clear_loop loop = N_CLEAR_LOOPS - 1;
    while (loop > CLEAR_UNSAID && strcmp(names[loop], name) != 0) {
        loop--;
    }
    return loop;
}

/* ----------------------------------------------------------------------------------- plans ---- */

enum clear_loop clear_plan_loop(uint32_t plan, unsigned int band)
{
    return plan >> (band * CLEAR_BAND_BITS) & ((1U << CLEAR_BAND_BITS) - 1);
}

uint32_t clear_plan_of(enum clear_loop loop)
{
    return loop * UINT32_C(0x11111111);
}

bool clear_plan_is_usable(uint32_t plan)
{
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        const enum clear_loop loop = clear_plan_loop(plan, band);
        if (loop >= N_CLEAR_LOOPS || clear_loop_function(loop) == NULL) {
            return false;
        }
    }
    return true;
}

/* 16 KiB to 32 KiB: the first band of which a first-level cache may not hold all, beside what else
   it holds. */
#define OUTER_BAND 3

/* 16: a loop must gain a 16th; see clear_choose(). */
#define GAIN_PART 16

/* The fastest; 0 of them was not measured. */
static enum clear_loop clear_fastest(const uint32_t *cost)
{
    enum clear_loop best = CLEAR_UNSAID;
    for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
        if (cost[loop] != 0 && (best == CLEAR_UNSAID || cost[loop] < cost[best])) {
            best = loop;
        }
    }
    return best;
}

/* Whether a loop that was measured, or may not have been, is slower by what counts. */
static bool clear_is_slower(const uint32_t *cost, enum clear_loop loop, enum clear_loop best)
{
    return cost[loop] == 0 ||
           (uint64_t)cost[best] * GAIN_PART < (uint64_t)cost[loop] * (GAIN_PART - 1);
}

uint32_t clear_choose(const struct clear_times *times)
{
    uint32_t plan = 0;
    enum clear_loop loop = CLEAR_MEMSET;
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        const uint32_t *cost = times->cost[band];
        const enum clear_loop best = clear_fastest(cost);
        loop = band == OUTER_BAND && cost[CLEAR_MEMSET] != 0 ? CLEAR_MEMSET : loop;
        if (best != CLEAR_UNSAID && clear_is_slower(cost, loop, best)) {
            loop = best;
        }
        plan |= (uint32_t)loop << (band * CLEAR_BAND_BITS);
    }
    return plan;
}

/* -------------------------------------------------------------------------- plans in words ---- */

/* The band behind those that have the same loop as `band`. */
static unsigned int clear_plan_next(uint32_t plan, unsigned int band)
{
    const enum clear_loop loop = clear_plan_loop(plan, band);
    while (band < CLEAR_BANDS && clear_plan_loop(plan, band) == loop) {
        band++;
    }
    return band;
}

uint64_t clear_plan_first_bytes(uint32_t plan)
{
    return plan == 0 ? 0 : CLEAR_BAND_BYTES(clear_plan_next(plan, 0) - 1);
}

const char *clear_plan_format(uint32_t plan, char *text, size_t text_bytes)
{
    size_t n_bytes = 0;
    text[0] = '\0';
    for (unsigned int band = 0; band < CLEAR_BANDS && n_bytes < text_bytes;) {
        char up_to[TEXT_BYTES_MAX];
        const unsigned int next = clear_plan_next(plan, band);
        const int n = snprintf(text + n_bytes, text_bytes - n_bytes, "%s%s up to %s",
                               band == 0 ? "" : ", ", clear_loop_name(clear_plan_loop(plan, band)),
                               text_format_bytes(CLEAR_BAND_BYTES(next - 1), up_to, sizeof(up_to)));
        n_bytes += n > 0 ? (size_t)n : 0;
        band = next;
    }
    return text;
}
