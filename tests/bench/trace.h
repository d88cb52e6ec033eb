/* SPDX-License-Identifier: MIT */
/*
 * trace.h - what processes do to a region: allocate and release, by a seed
 *
 * The same seed asks for the same blocks of every region, until one is refused: then the process
 * does what such a process would do.
 */
#ifndef TESTS_BENCH_TRACE_H
#define TESTS_BENCH_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/region.h"

enum trace_kind {
    TRACE_SWING,   /* any size, any lifetime; live bytes swing between half the limit and it */
    TRACE_CAMERAS, /* frames of three sizes, first in, first out; small notes that live long */
    TRACE_CACHE,   /* blocks of 2 MiB with a small header; refused: the oldest is evicted */
    TRACE_SHORT,   /* a swing beside short processes, which end with what they have */
    N_TRACE_KINDS,
};

/* Of all processes together; in memory that they share. */
struct trace_totals {
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t first_refused_bytes; /* live_bytes at the first refusal; 0: there was none */
};

struct trace_block {
    uint64_t handle; /* 0: none */
    uint64_t num_bytes;
};

struct trace {
    enum trace_kind kind;
    struct region *region;
    struct trace_totals *totals;
    uint32_t member;
    bool is_short; /* of TRACE_SHORT: a process that ends */
    bool grows;
    uint64_t random;
    uint64_t limit_bytes;
    uint64_t live_bytes;
    uint64_t n_done; /* blocks taken, refused or given */
    uint64_t n_refused;
    uint64_t n_steps;
    uint64_t n_left; /* of a short process: blocks until it ends */
    /* Blocks in no order; of cameras and caches: frames, the oldest at n_first. */
    struct trace_block *live;
    uint32_t n_first;
    uint32_t n_live;
    struct trace_block *notes; /* notes, in no order; headers, as the blocks they belong to */
    uint32_t n_notes;
};

/** trace_name() - "swing" */
const char *trace_name(enum trace_kind kind);

/**
 * trace_init() - a process that begins
 * @limit_bytes:  its share
 */
void trace_init(struct trace *trace, enum trace_kind kind, struct region *region, uint32_t member,
                uint64_t limit_bytes, struct trace_totals *totals);

/** trace_fini() - the process gives back what it has */
void trace_fini(struct trace *trace);

/** trace_step() - the next thing that it does. Return: false: it has ended, and begins anew. */
bool trace_step(struct trace *trace);

/** trace_fill() - blocks of all sizes, until n_refusals. Return: live bytes at the first one. */
uint64_t trace_fill(struct trace *trace, uint32_t n_refusals);

/** trace_probe() - the largest block that can be had now */
uint64_t trace_probe(struct trace *trace, uint64_t max_bytes);

#endif
