/* SPDX-License-Identifier: MIT */
/*
 * state_history.h - what the state file keeps of the time before now: history.h
 *
 *  field              written                        read     what a stale value means
 *  point.number       0 before its place is written  start,   0, or not a number of its place: the
 *                     anew, last of all when it is   queries  point is none
 *  all else of it     before number                  queries  nothing: it has no number
 *  series.since_ms    0 before another reason gets   start,   0: the place is nobody's, and what
 *                     the place, last of all then    queries  points have there is not told
 *  series.text        before since_ms                queries  nothing: the place is nobody's
 *  series.weight_*    any time                       a look   the place is given up a little early
 *                                                             or late
 */
#ifndef DAEMON_CORE_STATE_HISTORY_H
#define DAEMON_CORE_STATE_HISTORY_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "proto/limits.h"

/* An hour of seconds and a week of minutes. Smaller in tests that copy the state at each step. */
#ifndef HISTORY_SECONDS
#define HISTORY_SECONDS 3600
#endif
#ifndef HISTORY_MINUTES
#define HISTORY_MINUTES 10080
#endif
/* 23: twice what is read of a ledger, so that what begins to grow is seen before it is large; with
   40 the two rings, 5.4 MiB when the week is over, would be 9. */
#define HISTORY_SERIES 23

/* A figure: bytes in the low 40 bits, as an entry of a ledger has them; blocks above. */
#define FIGURE_BYTES_BITS 40
#define FIGURE_BYTES_MAX ((UINT64_C(1) << FIGURE_BYTES_BITS) - 1)
#define FIGURE_BLOCKS_MAX ((UINT64_C(1) << (64 - FIGURE_BYTES_BITS)) - 1)
#define FIGURE_BYTES(figure) ((figure)&FIGURE_BYTES_MAX)
#define FIGURE_BLOCKS(figure) ((figure) >> FIGURE_BYTES_BITS)

struct state_point {
    _Atomic uint64_t number; /* of its second or minute, from 1; 0: none */
    uint64_t at_ms;          /* when the last look of it began */
    uint64_t num_bytes;      /* of all live blocks, then */
    uint64_t n_blocks;
    uint64_t peak_bytes;           /* the most that num_bytes was seen to be since the last one */
    uint32_t span_ms;              /* how long it was looked at; 0: one look after a gap */
    uint32_t n_looks;              /* 1 of a second */
    uint64_t last[HISTORY_SERIES]; /* figures, at at_ms */
    uint64_t most[HISTORY_SERIES]; /* that with the most bytes of its looks */
};

static_assert(sizeof(struct state_point) == 48 + 16 * HISTORY_SERIES, "part of the layout");

struct state_series {
    _Atomic uint64_t since_ms; /* at_ms of its first point, and 1; 0: none */
    uint64_t weight_bytes;     /* see history.c */
    uint64_t weight_ms;
    uint8_t n_bytes;
    char text[REASON_MAX_BYTES];
};

static_assert(sizeof(struct state_series) == 152, "part of the layout");

#endif
