/* SPDX-License-Identifier: MIT */
/*
 * sharer.h - a program that shares blocks at random, and says what it holds
 *
 * Sharers leave handles on a board in memory that all of them have, for any to attach, and publish
 * blocks under a few names. A sharer may be killed while it writes there: a handle may be torn.
 * Each block says in its first bytes what the others must be. They are read when it is attached, in
 * between, and before it is let go of; and once more when the segment has ended. A call that fails
 * as it should not ends the sharer with a sentence and exit status 1.
 *
 *  field             written by            read by                        order
 *  epoch, is_ending, driver                sharers                        release / acquire
 *  n_segments
 *  state of a hold   its sharer            driver, if that is parked      before parked_at
 *  the rest of it    its sharer            as state
 *  parked_at         its sharer            driver                         release / acquire
 *  board             any sharer, no order  any: what is torn leads nowhere
 *  n_x               its sharer            driver                         relaxed: figures
 */
#ifndef TESTS_TORTURE_SHARER_H
#define TESTS_TORTURE_SHARER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <kmem/share.h>

#define SHARERS 8
/* 32 blocks that a sharer holds at a time: all of them together fill a tenth of the segment. */
#define SHARER_HOLDS 32
#define SHARER_NAMES 6
#define SHARER_POSTS 64

enum sharer_state {
    SHARER_NONE,
    SHARER_OPEN, /* a call about it is under way */
    SHARER_HELD,
};

struct sharer_hold {
    _Atomic uint32_t state; /* enum sharer_state */
    uint64_t offset;
};

struct sharer_oracle {
    uint64_t seed;
    _Atomic uint32_t parked_at;
    _Atomic uint64_t n_steps;
    _Atomic uint64_t n_attached; /* of those that others share: by handle, */
    _Atomic uint64_t n_found;    /* by name */
    _Atomic uint64_t n_handed;   /* over */
    struct sharer_hold holds[SHARER_HOLDS];
};

struct sharing_world {
    _Atomic uint32_t epoch; /* odd: all sharers are to stand still */
    _Atomic bool is_ending;
    _Atomic uint32_t
        n_segments; /* odd while the keeper of the last one is killed, up to the next */
    struct sharer_oracle oracles[SHARERS];
    struct kmem_handle board[SHARER_POSTS];
};

/* What a sharer is started with. */
struct sharer {
    struct sharing_world *world;
    uint32_t number;
};

/** sharer_run() - until the world ends; for client_start(), with a struct sharer */
void sharer_run(const void *argument);

#endif
