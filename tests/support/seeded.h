/* SPDX-License-Identifier: MIT */
/*
 * seeded.h - random numbers that are the same in every run
 *
 * SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014): one
 * word of state, any seed is good. A test prints its seed, so that a failure can be repeated alone.
 */
#ifndef TESTS_SUPPORT_SEEDED_H
#define TESTS_SUPPORT_SEEDED_H

#include <stdint.h>

struct seeded {
    uint64_t state;
};

static inline uint64_t seeded_next(struct seeded *seeded)
{
    uint64_t mixed = seeded->state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/** seeded_below() - 0 to limit - 1 */
static inline uint32_t seeded_below(struct seeded *seeded, uint32_t limit)
{
    return (uint32_t)(seeded_next(seeded) % limit);
}

/** seeded_log() - 1 to 2^bits - 1, each number of digits equally often */
static inline uint64_t seeded_log(struct seeded *seeded, uint32_t bits)
{
    const uint32_t shift = seeded_below(seeded, bits);
    const uint64_t leading = UINT64_C(1) << shift;
    return leading | (seeded_next(seeded) & (leading - 1));
}

#endif
