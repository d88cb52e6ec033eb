/* SPDX-License-Identifier: MIT */
/*
 * returns.h - leased blocks go home, each exactly once
 *
 * When the last holder of a block has let go, the block is its owner's alone, in whose lease it is.
 * The owner is told by the ring in its ledger (proto/returns.h). A share that finds no room there,
 * or whose owner's ledger is not to be had now, waits: its record says RETURNING, and its pages
 * stay pinned.
 *
 *      a RETURNING share of a living client is on the stack of its owner  : returns_check()
 */
#ifndef DAEMON_CORE_RETURNS_H
#define DAEMON_CORE_RETURNS_H

#include <stdint.h>

#include "daemon/core/clients.h"
#include "daemon/core/shares.h"
#include "proto/attributes.h"

struct returns {
    struct shares *shares;
    uint32_t *next;  /* by share: the next that waits for the same client; 0: none */
    uint32_t *first; /* by slot: a share that waits for its owner; 0: none */
};

enum {
    RETURNS_OK,
    RETURNS_E_CORRUPT, /* returns_check() */
};

/** returns_init() - nothing waits. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int returns_init(struct returns *returns, struct shares *shares);

void returns_fini(struct returns *returns);

/** returns_begin() - nobody holds a LEASED share, whose owner lives: it goes home, or waits */
void returns_begin(struct returns *returns, struct client *owner, uint32_t share);

/** returns_deliver() - what waits for a client goes home, as far as there is room */
void returns_deliver(struct returns *returns, struct client *owner);

/** returns_forget() - a client has ended: what waits for it goes with its lease */
void returns_forget(struct returns *returns, uint32_t slot);

/** returns_recover() - after a restart: a RETURNING share waits */
void returns_recover(struct returns *returns, uint32_t share);

/** returns_check() - recount. Return: 0 or RETURNS_E_CORRUPT. */
KMEM_MUST_USE int returns_check(const struct returns *returns, const struct clients *clients);

#endif
