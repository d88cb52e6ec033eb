/* SPDX-License-Identifier: MIT */
/*
 * reap.h - taking back what ended clients held, step by step
 */
#ifndef DAEMON_CORE_REAP_H
#define DAEMON_CORE_REAP_H

#include <stdint.h>

#include "proto/ledger.h"

struct core;
struct obituary;

/* How far the walk over all runs is. */
struct reap {
    uint32_t from_page;      /* the page it goes on with; 0: none is under way */
    uint32_t at_page;        /* in a lease there: the pages before it have been read; 0: none */
    uint32_t at_slot;        /* that lease's client */
    struct seg_off at_block; /* in the slab there: the blocks before it have been read */
    uint32_t n_ended_behind; /* clients that ended after it had passed page 0 */
    uint32_t n_noted;        /* leased blocks of the run that is being read */
};

/*
 * What an obituary counts of reap()'s budget: a line in the log, a message to the keeper, a mapping
 * and two files closed, some 20 us; and a look at what each client has counted. A thousand clients
 * may end at once.
 */
#define REAP_OBITUARY_COST 300

typedef void (*reap_written_fn)(const struct obituary *obituary, uint32_t slot, void *user);

/**
 * reap() - take blocks of ended clients back, some at a time
 * @budget:   how many entries and pages to look at, about, before the walk, in it, and after it;
 *            an obituary counts REAP_OBITUARY_COST
 * @written:  is told each obituary; the client's slot is free from then on
 */
void reap(struct core *core, uint32_t budget, reap_written_fn written, void *user);

#endif
