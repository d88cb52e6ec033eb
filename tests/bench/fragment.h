/* SPDX-License-Identifier: MIT */
/*
 * fragment.h - one row of the table: who is measured, by which trace, and what was found
 */
#ifndef TESTS_BENCH_FRAGMENT_H
#define TESTS_BENCH_FRAGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/region.h"
#include "tests/bench/trace.h"

enum carver {
    CARVER_KMEM,  /* processes and a daemon */
    CARVER_CLEAR, /* Boost.Interprocess, whose blocks are cleared: what an operation costs there */
    CARVER_CORE,  /* kmem in one process; from here on nothing is cleared */
    CARVER_BOOST,
    CARVER_JEMALLOC,
    CARVER_TLSF, /* in units of 16 bytes */
    CARVER_GOOD, /* pages and slabs, and the like: region_pages_new() */
    CARVER_NEAR,
    CARVER_BEST,
    CARVER_FIRST,
    CARVER_ENDS,
    N_CARVERS,
};

struct row {
    enum carver carver;
    enum trace_kind kind;
    uint32_t n_processes; /* of TRACE_SHORT: beside the long one */
    uint32_t limit_percent;
    uint64_t n_ops; /* of all processes together */
    uint64_t segment_bytes;
    const char *picture; /* what the names of two files begin with; NULL: none. CARVER_CORE only */
};

struct figures {
    uint64_t n_ops;
    uint64_t n_refused;
    uint64_t first_refused_bytes; /* live at the first refusal; 0: there was none */
    uint64_t live_bytes;          /* when the trace has ended */
    uint64_t free_bytes;
    uint64_t largest_bytes;      /* block that can be had then */
    uint64_t filled_first_bytes; /* live at the first refusal after filling */
    uint64_t filled_bytes;       /* live after FRAGMENT_FILL_REFUSALS */
    double median_ns;            /* an operation; of the means of batches */
    double p99_ns;
};

#define FRAGMENT_FILL_REFUSALS 100

/** fragment_carver_name() - "kmem" */
const char *fragment_carver_name(enum carver carver);

/** fragment_n_members() - the processes of a row */
uint32_t fragment_n_members(const struct row *row);

/** fragment_share() - what a member may have at most */
uint64_t fragment_share(const struct row *row, uint32_t member);

/** fragment_batch() - operations that are timed together, so that samples are some 10,000 */
uint32_t fragment_batch(const struct row *row);

/**
 * fragment_simulate() - one process plays for all members, in turns
 * Return: false: what is measured is not installed.
 */
bool fragment_simulate(const struct row *row, struct figures *ret_figures);

/** fragment_play() - CARVER_KMEM: processes on the daemon at $KMEM_SOCKET */
void fragment_play(const struct row *row, struct figures *ret_figures);

#endif
