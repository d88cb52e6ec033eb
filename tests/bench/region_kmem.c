/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "tests/bench/bench.h"
#include "tests/bench/region.h"

static uint64_t kmem_take(struct region *region, uint32_t member, uint64_t num_bytes)
{
    (void)region;
    (void)member;
    return (uint64_t)(uintptr_t)kmem_try_allocate(num_bytes, "trace/block");
}

static void kmem_give(struct region *region, uint32_t member, uint64_t handle, uint64_t num_bytes)
{
    void *block = (void *)(uintptr_t)handle;
    (void)region;
    (void)member;
    (void)num_bytes;
    if (kmem_try_release(&block) != 0) {
        bench_fail("%s", kmem_last_error());
    }
}

static void kmem_free(struct region *region)
{
    free(region);
}

struct region *region_kmem_new(void)
{
    struct region *region = calloc(1, sizeof(*region));
    if (region == NULL) {
        bench_fail("no memory for a region");
    }
    *region = (struct region){kmem_take, kmem_give, NULL, NULL, kmem_free};
    return region;
}
