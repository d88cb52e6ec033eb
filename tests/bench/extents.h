/* SPDX-License-Identifier: MIT */
/*
 * extents.h - free extents of a region, and where the next one is taken
 */
#ifndef TESTS_BENCH_EXTENTS_H
#define TESTS_BENCH_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/region.h"

#define EXTENTS_BINS 1024

/*
 *      length[begin] > 0   <=>   a free extent begins there
 *      begin_of[last] > 0  <=>   a free extent ends there; it begins at begin_of[last]
 */
struct extents {
    uint32_t n_units; /* unit 0 is never free */
    uint64_t n_free;
    uint32_t *length;
    uint32_t *begin_of;
    uint32_t *next; /* on the list of its bin */
    uint32_t *prev;
    uint32_t bin_first[EXTENTS_BINS];
    uint64_t bin_bits[EXTENTS_BINS / 64];
    uint32_t *longest; /* a heap of maxima over length[], for placement by address; NULL: without */
    uint32_t n_leaves;
};

/** extents_init() - all is free. @by_address: PLACE_LOW and PLACE_HIGH are going to be asked for */
void extents_init(struct extents *extents, uint32_t n_units, bool by_address);

void extents_fini(struct extents *extents);

/** extents_take() - Return: where n units begin; 0: nowhere. */
uint32_t extents_take(struct extents *extents, uint32_t n_units, enum fit fit);

/** extents_give() - they are free, one with what is free beside them */
void extents_give(struct extents *extents, uint32_t unit, uint32_t n_units);

#endif
