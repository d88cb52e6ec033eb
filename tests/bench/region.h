/* SPDX-License-Identifier: MIT */
/*
 * region.h - a fixed piece of memory and who carves it: what the traces are played on
 *
 * Several processes share a region. Each has a number; where nothing but placement is measured they
 * are one process that does in turns what all of them would do.
 */
#ifndef TESTS_BENCH_REGION_H
#define TESTS_BENCH_REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

#define REGION_MEMBERS_MAX 17

#ifdef __cplusplus
extern "C" {
#endif

struct region {
    /* Return: the block's handle; 0: there is no room. */
    uint64_t (*take)(struct region *region, uint32_t member, uint64_t num_bytes);
    void (*give)(struct region *region, uint32_t member, uint64_t handle, uint64_t num_bytes);
    /* A process ends, and holds blocks; NULL: they are given back one by one. */
    void (*end)(struct region *region, uint32_t member);
    /* What no block and no allocator has; NULL: it is not known. */
    uint64_t (*free_bytes)(struct region *region);
    void (*free)(struct region *region);
};

/* How free extents are chosen. */
enum fit {
    PLACE_GOOD, /* the first of the next larger bin, 16 to a doubling: TLSF */
    PLACE_NEAR, /* the shortest of a few that are long enough */
    PLACE_BEST, /* the shortest that is long enough */
    PLACE_LOW,  /* the first by address */
    PLACE_HIGH, /* the last by address, and its end */
};

/** region_kmem_new() - libkmem in this process, and the daemon at $KMEM_SOCKET */
struct region *region_kmem_new(void);

/** region_core_new() - libkmem and the daemon's core in this process, and a clock of their own */
struct region *region_core_new(uint64_t num_bytes);

/* What a page of the segment of region_core_new() holds. */
enum page_use {
    PAGE_USE_FREE,
    PAGE_USE_DIRECT,
    PAGE_USE_LIVE,   /* leased, and a block is live in it */
    PAGE_USE_IDLE,   /* leased, of a slab without a live block */
    PAGE_USE_UNUSED, /* leased, and in no slab */
    N_PAGE_USES,
};

/** region_core_page() - how a page is used now */
enum page_use region_core_page(const struct region *region, uint32_t page);

/** region_boost_new() - Boost.Interprocess: rbtree_best_fit; NULL: it is not installed */
struct region *region_boost_new(uint64_t num_bytes, bool clears);

/** region_jemalloc_new() - an arena for each process, all in one region; NULL: likewise */
struct region *region_jemalloc_new(uint64_t num_bytes);

/**
 * region_pages_new() - pages and slabs of kmem's size classes, the same for all processes
 * @slabs, @large:  where runs for either are placed
 */
struct region *region_pages_new(uint64_t num_bytes, enum fit slabs, enum fit large);

/** region_bytes_new() - units of 16 bytes and a header of 8, as TLSF has them */
struct region *region_bytes_new(uint64_t num_bytes);

#ifdef __cplusplus
}
#endif

#endif
