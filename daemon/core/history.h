/* SPDX-License-Identifier: MIT */
/*
 * history.h - what was live, in all and by the reasons with the most, second by second for an hour
 *             and minute by minute for a week
 *
 * A point is one look at all blocks, as a question for the ledger makes it. Seconds and minutes are
 * counted from the machine's start, and each has one place in its ring, so two servers that follow
 * each other write the same ring, and what was not looked at is a gap that nothing fills.
 *
 * Of reasons, HISTORY_SERIES have a series; all else that was live is told as one more. The
 * HISTORY_TOP with the most bytes in a look have a place always. The other places are kept by
 * weight: the most bytes that a reason had, halved with each hour since. A reason that needs a
 * place gets the one of the least weight, and if it is not among the first HISTORY_TOP, only if it
 * has more bytes than that. So what was large is told for hours after it is gone, and a client that
 * makes up reasons has no more places than it has memory for. What an ousted series had is part of
 * "all else" from then on.
 *
 * All of it is in the state file, of fixed size, and goes on with the next server. Reasons and
 * blocks of leases are what clients wrote: nothing is decided from them.
 */
#ifndef DAEMON_CORE_HISTORY_H
#define DAEMON_CORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/rollup.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"

#define HISTORY_SECOND_MS 1000
#define HISTORY_MINUTE_MS 60000
/* 15: what fits a screen. The others, 8, remember. */
#define HISTORY_TOP 15
/* After an hour a reason counts half: what is an eighth of it takes its place in three. */
#define HISTORY_HALF_LIFE_MS 3600000

struct history_ring {
    struct state_point *points;
    uint32_t n_places;
    uint32_t step_ms;
    uint64_t newest; /* its number; 0: there is none */
};

struct history {
    struct state *state;
    struct history_ring seconds;
    struct history_ring minutes;
    struct state_series *series; /* HISTORY_SERIES */
    uint64_t n_points;           /* noted by this server */
    uint64_t peak_bytes;         /* seen since the last point */
    bool goes_on;                /* nothing was missed since the last point */
};

/* What a look has seen. */
struct history_look {
    uint64_t at_ms;
    uint64_t num_bytes;
    uint64_t n_blocks;
    const struct rollup_group *known[HISTORY_SERIES]; /* of the reasons with a place; NULL: none */
    uint64_t n_points; /* that had been noted when these were found */
};

enum { HISTORY_OK, HISTORY_E_CORRUPT };

/** history_init() - of a new state file: it is not read, since a page that is read is one taken */
void history_init(struct history *history, struct state *state);

/** history_recover() - a history that was just made goes on with what the state file has */
void history_recover(struct history *history);

/** history_wants() - whether there is no point of this second */
bool history_wants(const struct history *history, uint64_t now_ms);

/** history_pick() - which groups of a look have a place; @rollup: by reason, and not yet sorted */
void history_pick(const struct history *history, const struct rollup *rollup,
                  struct history_look *look);

/**
 * history_note() - a look is complete
 * @rollup:  by reason, sorted
 * @look:    history_pick() was called for it
 *
 * The first look of a second is its point. Another leaves nothing behind, nor does one whose places
 * may be another's by now. Return: whether there is a point of it.
 */
bool history_note(struct history *history, const struct rollup *rollup, struct history_look *look);

/** history_note_peak() - live blocks come to so much, as far as clients tell */
void history_note_peak(struct history *history, uint64_t num_bytes);

/** history_pause() - nobody looks from now on: the next point comes after a gap */
void history_pause(struct history *history);

/** history_next() - the first point with at least that number; NULL: none */
const struct state_point *history_next(const struct history_ring *ring, uint64_t number);

/**
 * history_open_minute() - what there is of the minute that has no point yet
 * Return: false: there is none.
 */
KMEM_MUST_USE bool history_open_minute(const struct history *history,
                                       struct state_point *ret_point);

/** series_since() - state_series.since_ms; 0: no reason has the place */
static inline uint64_t series_since(const struct state_series *series)
{
    return series->n_bytes <= REASON_MAX_BYTES ? state_load(&series->since_ms) : 0;
}

/** history_has() - whether what a point has in a place is of the reason that has it now */
static inline bool history_has(const struct history *history, const struct state_point *point,
                               uint32_t place)
{
    const uint64_t since_ms = series_since(&history->series[place]);
    return since_ms != 0 && point->at_ms + 1 >= since_ms;
}

/** history_check() - look at all of it. Return: 0 or HISTORY_E_CORRUPT. */
KMEM_MUST_USE int history_check(const struct history *history);

#endif
