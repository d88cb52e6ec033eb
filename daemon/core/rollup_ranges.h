/* SPDX-License-Identifier: MIT */
/*
 * rollup_ranges.h - the groups of a roll-up by size and by age: ranges, few and fixed
 *
 *      by size   the size classes, and from 64 KiB up a doubling each: the most that is in it
 *      by age    from 0, 1 s, 10 s, 1 min, 10 min, 1 h, 1 day, 1 week on: the least that is in it
 */
#ifndef DAEMON_CORE_ROLLUP_RANGES_H
#define DAEMON_CORE_ROLLUP_RANGES_H

#include <stdint.h>

/** rollup_range_of_size() - the number of a size's range: small ones first */
uint32_t rollup_range_of_size(uint64_t num_bytes);

/** rollup_size_most() - the largest size of a range */
uint64_t rollup_size_most(uint32_t range);

/** rollup_range_of_age() - likewise: young ones first */
uint32_t rollup_range_of_age(uint64_t age_ms);

/** rollup_age_least() - the smallest age of a range */
uint64_t rollup_age_least(uint32_t range);

#endif
