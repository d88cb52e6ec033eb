/* SPDX-License-Identifier: MIT */
/*
 * shortage.h - when memory gets short everything becomes tighter
 *
 * As long as there is plenty, speed decides: clients lease more than they need and carve large
 * blocks themselves. That chops the segment into pieces of one owner, each with unused pages
 * between blocks. When memory is short the daemon says so to all clients: large blocks are
 * direct then, placed where they fit best in what all clients together leave free, leases are as
 * long as what is asked for, and what is leased and unused is taken back ten times a second.
 */
#ifndef DAEMON_CORE_SHORTAGE_H
#define DAEMON_CORE_SHORTAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/leases.h"
#include "daemon/core/client_ledger.h"

/*
 *      n_spare_pages == max(0, free + leased and unused - border)
 *
 * Clients learn the number with each answer and each tick, and count what they use themselves from
 * then on, so that neither a quick one nor several fill the segment between two ticks.
 */
struct shortage {
    struct leases *leases;
    const struct client_ledger *client_ledger;
    bool gives_back;           /* memory that no client uses goes back to the system */
    uint32_t n_spare_pages;    /* 0: memory is short */
    uint64_t n_free_seen;      /* free pages, when it was looked at last */
    uint32_t n_ticks;          /* since unused pages were given back last */
    uint32_t low[CLIENTS_MAX]; /* by slot: the fewest unused pages since */
};

/** shortage_init() - @gives_back: the segment takes its memory when it is used: --commit lazy */
void shortage_init(struct shortage *shortage, struct leases *leases,
                   const struct client_ledger *client_ledger, bool gives_back);

/**
 * shortage_look() - look at memory anew; if it is short, take back what is unused
 *
 * Waiting: a read for each client with a lease; if memory is short, a walk over all leases.
 */
void shortage_look(struct shortage *shortage);

/**
 * shortage_tick() - the same ten times a second
 *
 * If the segment gives memory back, what a client has not used for half a second is taken from it.
 */
void shortage_tick(struct shortage *shortage);

/** shortage_is_due() - whether so much was given out since that it should be looked at anew */
bool shortage_is_due(const struct shortage *shortage);

#endif
