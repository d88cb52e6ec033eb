/* SPDX-License-Identifier: MIT */
/*
 * workload.h - processes whose doings are known to a block: what test_figures.c compares with
 *
 * Each is a function for client_start(). It says a number when a part is done, and goes on when it
 * is told one.
 */
#ifndef TESTS_SYSTEM_WORKLOAD_H
#define TESTS_SYSTEM_WORKLOAD_H

#include <stdint.h>

#include "client/heap/hot.h"
#include "proto/limits.h"

#define MIB (UINT64_C(1) << 20)
#define SEGMENT_BYTES (16 * MIB)
#define QUOTA_BYTES (8 * MIB)

#define KEPT_BLOCKS 1000
#define KEPT_BYTES UINT64_C(100)
#define PAIRS 100000
#define PAIR_BYTES 64
#define LARGE_BYTES (5 * PAGE_BYTES + 1)
#define LARGE_BLOCKS 6 /* the first is direct */

/* What workload_work() has done when it says 1. */
#define WORKED_ALLOCATIONS (KEPT_BLOCKS + PAIRS + LARGE_BLOCKS)
#define WORKED_RELEASES PAIRS
#define WORKED_BLOCKS (KEPT_BLOCKS + LARGE_BLOCKS)
#define WORKED_BYTES (KEPT_BLOCKS * KEPT_BYTES + LARGE_BLOCKS * LARGE_BYTES)
#define KEPT_DIRECT HOT_AFTER
#define WORKED_DIRECT (KEPT_DIRECT + HOT_AFTER)
#define WORKED_DIRECT_BYTES (KEPT_DIRECT * KEPT_BYTES + HOT_AFTER * LARGE_BYTES)

/* What those blocks are larger than was asked for: 128 bytes and whole pages. */
#define KEPT_CLASS_BYTES UINT64_C(128)
#define LARGE_PAGES 6
#define WORKED_ROUNDING_BYTES                                                                      \
    (KEPT_BLOCKS * (KEPT_CLASS_BYTES - KEPT_BYTES) +                                               \
     LARGE_BLOCKS * (LARGE_PAGES * PAGE_BYTES - LARGE_BYTES))
/* Slabs of a page: one of the server's, and as many of the process's as it takes. */
#define KEPT_PER_SLAB (PAGE_BYTES / KEPT_CLASS_BYTES)
#define KEPT_LEASED_SLABS ((KEPT_BLOCKS - KEPT_DIRECT + KEPT_PER_SLAB - 1) / KEPT_PER_SLAB)
#define WORKED_SLAB_BYTES ((1 + KEPT_LEASED_SLABS) * PAGE_BYTES - KEPT_BLOCKS * KEPT_CLASS_BYTES)
/* Pages of leases with a live block. */
#define WORKED_LEASED_BYTES                                                                        \
    (PAGE_BYTES * KEPT_LEASED_SLABS + PAGE_BYTES * LARGE_PAGES * (LARGE_BLOCKS - HOT_AFTER))

/* And when it says 2: it has also released two of the blocks that it kept. */
#define MISUSES_SEEN_BY_LIBRARY 4
#define MISUSES_SEEN_BY_SERVER 2

/* When it says 3 it has been refused what there was no room for. */
void workload_work(const void *argument);

#define BIG_BYTES (7 * MIB - 100)
#define SPARE_PAGES 4

/** workload_hold_big() - without the library: one direct block, a refused lease, unused pages */
void workload_hold_big(const void *argument);

/** workload_publish() - without the library: publishes a direct block to be kept, says 1, waits */
void workload_publish(const void *argument);

/** workload_follow() - likewise: attaches that by its name, and one by no handle, in vain */
void workload_follow(const void *argument);

/** workload_unpublish() - ends that name */
void workload_unpublish(const void *argument);

#define PASSING_BLOCKS 2000
#define PASSING_BYTES 400

/** workload_pass_through() - takes and releases, says 1, and leaves */
void workload_pass_through(const void *argument);

/* More connections than one process may have. */
#define CONNECTIONS 300

/**
 * workload_connect_in_vain() - connects so often, says nothing, and waits for all of them to be
 *                              closed; then says how many were refused at once
 */
void workload_connect_in_vain(const void *argument);

/** workload_speak_nonsense() - sends what is no request */
void workload_speak_nonsense(const void *argument);

/** workload_fill_hole() - says how large a direct block it could have: *of_bytes, or 0 */
void workload_fill_hole(const void *of_bytes);

#endif
