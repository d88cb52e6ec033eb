/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "tests/bench/region.h"

struct region *region_jemalloc_new(uint64_t num_bytes)
{
    (void)num_bytes;
    return NULL;
}
