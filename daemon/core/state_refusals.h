/* SPDX-License-Identifier: MIT */
/*
 * state_refusals.h - what the state file keeps of what was asked for and refused: refusals.h
 *
 *  field             written                         read     what a stale value means
 *  refusal.number    last of all of a new one        start,   0, or not a number of its place: the
 *                                                    queries  refusal is none
 *  refusal.n_times   with each time, last of all     queries  the last time is not told
 *  refusal.facts[]   the one that n_times does not   queries  nothing: n_times means the other
 *                    mean, before n_times
 *  all else of it    before number                   queries  nothing: it has no number
 *  n_times           before a refusal's              queries  a refusal that the server was killed
 *                                                             over is counted, and not told
 */
#ifndef DAEMON_CORE_STATE_REFUSALS_H
#define DAEMON_CORE_STATE_REFUSALS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/limits.h"

/* 256: more than is read after something went wrong; 75 KiB. Fewer in tests of many states. */
#ifndef REFUSALS_KEPT
#define REFUSALS_KEPT 256
#endif
/* One more, so that what is being written is in nobody's place. */
#define REFUSALS_PLACES (REFUSALS_KEPT + 1)

/* As they are stored: a new one is the last. */
enum refusal_asked {
#define ASKED(name, word) ASKED_##name,
#include "daemon/core/state_refusals.def"
#undef ASKED
    N_ASKED,
};

enum refusal_why {
#define WHY(name, word, text) WHY_##name,
#include "daemon/core/state_refusals.def"
#undef WHY
    N_WHY,
};

/* What was so when it was refused last. */
struct refusal_facts {
    uint32_t asked;     /* enum refusal_asked */
    uint32_t why;       /* enum refusal_why */
    uint64_t num_bytes; /* asked for, of a lease in pages; 0: of none */
    uint64_t free_bytes;
    uint64_t largest_extent_bytes;
    uint64_t used;  /* what stood against it: charged to the client, clients, names, ... */
    uint64_t limit; /* and how much of that there may be */
    uint64_t at_ms; /* refusals_note() writes it */
};

struct refusal {
    _Atomic uint64_t number;  /* counted from 1 since the segment was made */
    _Atomic uint64_t n_times; /* facts[n_times % 2] are those of the last time */
    uint64_t first_ms;
    uint64_t inode; /* of the process's pidfd; 0: unknown */
    uint32_t pid;
    uint32_t uid;
    char command[COMMAND_BYTES];
    struct refusal_facts facts[2];
    uint8_t n_reason_bytes;
    char reason[REASON_MAX_BYTES];
};

static_assert(sizeof(struct refusal) == 296, "part of the layout");

struct state_refusals {
    uint64_t n_times[N_ASKED][N_WHY]; /* all that there ever were */
    struct refusal kept[REFUSALS_PLACES];
};

#endif
