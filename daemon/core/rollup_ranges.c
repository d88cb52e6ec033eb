/* SPDX-License-Identifier: MIT */
#include "daemon/core/rollup_ranges.h"

#include <assert.h>

#include "proto/size_class.h"

/* SMALL_MAX_BYTES is 2 to this. */
#define SMALL_MAX_BITS 16
/* 2^40 is the largest segment; what a client's ledger says may be anything. */
#define SIZE_BITS_MAX 62

static const uint64_t ages_ms[] = {
    0, 1000, 10000, 60000, 600000, 3600000, 86400000, 604800000,
};
#define N_AGES (sizeof(ages_ms) / sizeof(ages_ms[0]))

static_assert(UINT32_C(1) << SMALL_MAX_BITS == SMALL_MAX_BYTES, "the doublings begin there");

uint32_t rollup_range_of_size(uint64_t num_bytes)
{
    if (num_bytes <= SMALL_MAX_BYTES) {
        return num_bytes > 0 ? size_class_of((uint32_t)num_bytes) : 0;
    }
    const uint32_t bits = 64 - (uint32_t)__builtin_clzll(num_bytes - 1);
    return N_SIZE_CLASSES + (bits < SIZE_BITS_MAX ? bits : SIZE_BITS_MAX) - SMALL_MAX_BITS - 1;
}

uint64_t rollup_size_most(uint32_t range)
{
    return range < N_SIZE_CLASSES ? size_classes[range].block_bytes
                                  : UINT64_C(1) << (range - N_SIZE_CLASSES + SMALL_MAX_BITS + 1);
}

uint32_t rollup_range_of_age(uint64_t age_ms)
{
    uint32_t range = 0;
    while (range + 1 < N_AGES && age_ms >= ages_ms[range + 1]) {
        range++;
    }
    return range;
}

uint64_t rollup_age_least(uint32_t range)
{
    return ages_ms[range];
}
