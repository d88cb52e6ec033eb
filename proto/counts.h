/* SPDX-License-Identifier: MIT */
/*
 * counts.h - what a client counts of its own blocks, in its ledger file, for those who ask the
 *            server
 *
 * A leased block comes and goes without a word to the server, so its client counts. It counts in
 * the ledger's file and not in its own memory: a client that is killed has counted up to its end.
 *
 *  field          written by                       read by      what a stale value means
 *  threads[]      one thread each: a plain         the server   the last moments are missing
 *                 increment
 *  n_threads      a thread that gets a place,      the server   a thread is not counted yet
 *                 under heaps.lock
 *  n_releases     any thread without a place:      the server   the last moments are missing
 *                 atomic add
 *  live_bytes     any thread: atomic add           any thread,  of a moment ago
 *                                                  the server
 *  peak_bytes     any thread: a larger value, by   the server   of a moment ago
 *                 compare-and-swap
 *  n_misuses,     any thread: atomic add           the server   the last moments are missing
 *  n_too_large,
 *  n_invalid
 *
 * All of them are relaxed: each number stands alone, and none leads to anything else.
 *
 * RELEASES, AND NOT ALLOCATIONS. One of the two is counted, the other is the sum of that and of the
 * live entries, which the server counts when it is asked. An increment costs a release nothing that
 * can be measured (below 1 % of a pair of 64 bytes); the same in an allocation cost 6 %, and a sum
 * of bytes in both 10 %.
 *
 * LIVE BYTES are therefore not summed up with every block but when a thread goes to its slabs, once
 * in some 30 calls: how many of a size class are out is known then, and how large they are is
 * measured with those that went out last. Where all blocks of a class have one size that is exact;
 * else it is close. What goes out after the last such moment is missing in peak_bytes, at most half
 * a bin of each class of each thread. Blocks of whole pages and direct ones are summed up exactly.
 *
 * All of it is a client's to spoil: it is shown, within what the client was given at most, and
 * nothing is decided from it.
 */
#ifndef PROTO_COUNTS_H
#define PROTO_COUNTS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

/*
 * 255 places: 16 KiB of a sparse file. A heap that gets none counts in its own memory, and adds
 * that to n_releases when it goes to its slabs.
 */
#define COUNTS_THREADS 255

struct thread_counts {
    uint64_t n_releases; /* plain: in this process its one writer alone reads it */
    uint64_t noted_at;   /* likewise: at that count a block's lifetime is noted: lifetimes.h */
    uint64_t noted_last; /* likewise: the count up to which releases are in a histogram */
    uint64_t reserved[5];
};

static_assert(sizeof(struct thread_counts) == 64, "each thread writes a cache line of its own");

/*
 * Places are taken from the last one on, next to what all threads write: a client with few threads
 * uses one CPU page of the file, and that page's end: see CPU_PAGE_SKEW_BYTES.
 */
struct ledger_counts {
    struct thread_counts threads[COUNTS_THREADS];
    _Atomic uint64_t n_threads;  /* so many places, the last ones, may be in use */
    _Atomic uint64_t n_releases; /* of threads without a place */
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t peak_bytes;  /* the most that live_bytes was */
    _Atomic uint64_t n_misuses;   /* releases and size queries that the library refused itself */
    _Atomic uint64_t n_too_large; /* allocations that it refused itself, by cause */
    _Atomic uint64_t n_invalid;
    uint64_t reserved;
};

static_assert(sizeof(struct ledger_counts) == 16384, "whole CPU pages: the server maps them");

#endif
