/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - take back slabs in which no block is live
 *
 * A thread keeps some blocks of each size ready, and what other threads have released to it waits
 * until it allocates. While the thread sleeps, or when it has ended, these blocks are nobody's, but
 * their slabs are in use by the states of their pages. Here the daemon reads the entries of such
 * slabs and takes those whose blocks are all free, from clients that are awake, asleep or stopped;
 * proto/lease.h has the protocol and says why the owner needs no lock.
 *
 * It is what is tried last: after free pages, and after pages that are leased and unused. A pass
 * goes over all leases in steps between which others are served: first over those of the clients
 * of the lowest priority, and what they bring is looked at before the next higher ones are. Among
 * equals it begins with the client at which the last one was left. A request that no other is
 * waiting beside begins a pass of its own. Others share the one that is under way, and wait for all
 * of the next, too.
 */
#ifndef DAEMON_CORE_RECLAIM_H
#define DAEMON_CORE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/leases.h"
#include "daemon/core/client_ledger.h"
#include "proto/attributes.h"

/* A client in a pass; one at which an earlier pass was left has two: what was left, then all. */
struct reclaim_turn {
    int32_t priority;
    uint16_t slot;
};

struct reclaim {
    struct leases *leases;
    const struct client_ledger *client_ledger;
    bool (*barrier)(void); /* membarrier(); NULL, or false: it is not to be had */
    struct reclaim_turn turns[2 * CLIENTS_MAX]; /* of the pass that is under way */
    uint32_t n_turns;
    uint32_t at;        /* of turns; n_turns: no pass is under way */
    uint32_t slot;      /* the client that an equal one does not go before in the next pass */
    uint32_t n_waiting; /* requests that wait for a pass: reclaim_wait() */
    uint64_t n_passes;  /* that went over all turns, ever */
    uint64_t n_pages;   /* taken back, ever */
    uint64_t n_vain;    /* steps that found nothing, since one found something; forgiven in time */
    uint64_t forgiven_us; /* up to when */
};

/** reclaim_init() - @barrier: see there */
void reclaim_init(struct reclaim *reclaim, struct leases *leases,
                  const struct client_ledger *client_ledger, bool (*barrier)(void));

/**
 * reclaim_begin() - a request finds no room
 * @ret_until:  what reclaim->n_passes must be before there is none
 * Return: false: no pass is worth it now. Too many steps were in vain a moment ago; or no slab can
 * be taken.
 */
KMEM_MUST_USE bool reclaim_begin(struct reclaim *reclaim, uint64_t now_us, uint64_t *ret_until);

/** reclaim_wait() - it waits for that; reclaim_leave() must follow, whatever becomes of it */
void reclaim_wait(struct reclaim *reclaim);
void reclaim_leave(struct reclaim *reclaim);

/** reclaim_reaches() - whether idle slabs can be taken from a client that lives and has a ledger */
KMEM_MUST_USE bool reclaim_reaches(const struct reclaim *reclaim, const struct client *client);

/**
 * reclaim_at_most() - how many pages a pass may bring
 *
 * Waiting: a look at the counts of each client. 0: nothing was released since the last pass.
 */
uint64_t reclaim_at_most(const struct reclaim *reclaim);

/** reclaim_at_most_of() - the same, from one client */
uint64_t reclaim_at_most_of(const struct reclaim *reclaim, const struct client *client);

/**
 * reclaim_step() - a piece of the pass
 *
 * Waiting: some 0.2 ms. Return: how many pages came back to the table.
 */
uint32_t reclaim_step(struct reclaim *reclaim);

#endif
