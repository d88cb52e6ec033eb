/* SPDX-License-Identifier: MIT */
/*
 * picture.h - a segment as a picture: a cell for each page, coloured by what it holds
 */
#ifndef TESTS_BENCH_PICTURE_H
#define TESTS_BENCH_PICTURE_H

#include <stdint.h>

#include "tests/bench/region.h"

/** picture_write() - @region: of region_core_new(); @live_percent: for the title */
void picture_write(const char *path, const struct region *region, uint32_t n_pages,
                   double live_percent);

#endif
