/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - what each worker holds, in its own words, where its death does not reach
 *
 * An oracle is in memory that the driver shares with the worker. Each step is marked before it
 * begins and again when it is over, so that whoever reads it after a SIGKILL at any instruction
 * knows of each block: it was live; it was not; or a step was under way, and it may be either.
 *
 *      NONE -> CLAIMED -> TAKING -> LIVE -> GIVING -> NONE
 *                                   LIVE <-> LOOKING
 *
 *      CLAIMED   a thread is about to write what it will ask for; no call has been made
 *      TAKING    num_bytes and reason are written; the block may exist
 *      LIVE      offset is written too, and the block is filled with its pattern
 *      LOOKING   live, and a thread reads it: no other may release it
 *      GIVING    the block may be gone
 *
 *  field                  written by               read by               order
 *  epoch, is_ending       driver                   workers               release / acquire
 *  state of an entry      threads of its worker;   its worker; driver,   release / acquire
 *                         by CAS from NONE, LIVE   when that is parked
 *                                                  or dead
 *  the rest of an entry   who moved its state      as state              before state
 *  parked_at[i]           thread i of the worker   driver                release / acquire
 *  n_steps, held_bytes,   threads of the worker    all                   relaxed: figures
 *  n_leavings
 *  is_joined              threads of the worker    driver, when it is    before parked_at
 *                                                  parked
 *  all else               driver                   the worker            before the fork
 */
#ifndef TESTS_TORTURE_ORACLE_H
#define TESTS_TORTURE_ORACLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ORACLE_WORKERS 8
#define ORACLE_THREADS_MAX 3
/* 160: some ten times the sizes that are used, so that most classes have partly used slabs. */
#define ORACLE_ENTRIES 160
#define ORACLE_REASONS 6

enum oracle_state {
    ORACLE_NONE,
    ORACLE_CLAIMED,
    ORACLE_TAKING,
    ORACLE_LIVE,
    ORACLE_LOOKING,
    ORACLE_GIVING,
};

struct oracle_entry {
    _Atomic uint32_t state; /* enum oracle_state */
    uint32_t reason;
    uint64_t num_bytes;
    uint64_t offset;
};

struct oracle {
    uint32_t number; /* of the worker's place */
    uint32_t n_threads;
    uint64_t key;  /* of its pattern */
    uint64_t seed; /* of its random numbers */
    _Atomic uint64_t n_steps;
    _Atomic uint64_t held_bytes;
    _Atomic uint64_t n_leavings; /* kmem_close() */
    _Atomic bool is_joined;      /* a call has made it a client, and none has ended that */
    _Atomic uint32_t parked_at[ORACLE_THREADS_MAX];
    struct oracle_entry entries[ORACLE_ENTRIES];
};

struct world {
    _Atomic uint32_t epoch; /* odd: everybody is to stand still */
    _Atomic bool is_ending;
    struct oracle oracles[ORACLE_WORKERS];
};

/* What a worker held when it died. */
struct oracle_estate {
    uint64_t n_live;
    uint64_t live_bytes;
    uint32_t n_open; /* steps under way */
    uint64_t open_bytes[ORACLE_ENTRIES];
};

/** oracle_world() - one for the driver and all its children. Ownership: the process's, for ever. */
struct world *oracle_world(void);

/** oracle_reason() - the text of a reason as it is given; NULL for one of them */
const char *oracle_reason(uint32_t reason);

/** oracle_shown_reason() - the same as the daemon should show it */
const char *oracle_shown_reason(uint32_t reason);

/** oracle_begin() - empty, for the next worker in a place */
void oracle_begin(struct oracle *oracle, uint64_t key, uint64_t seed, uint32_t n_threads);

/** oracle_claim() - from NONE or LIVE to another state. Return: whether this thread has done it. */
bool oracle_claim(struct oracle_entry *entry, enum oracle_state from, enum oracle_state to);

/** oracle_set() - the next state of an entry that this thread has claimed */
void oracle_set(struct oracle_entry *entry, enum oracle_state state);

enum oracle_state oracle_get(const struct oracle_entry *entry);

/** oracle_add_up() - what a worker that has died held */
void oracle_add_up(const struct oracle *oracle, struct oracle_estate *ret_estate);

/** oracle_explains() - whether an estate may have been that, by either outcome of each open step */
bool oracle_explains(const struct oracle_estate *estate, uint64_t n_blocks, uint64_t num_bytes);

#endif
