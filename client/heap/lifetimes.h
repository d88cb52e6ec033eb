/* SPDX-License-Identifier: MIT */
/*
 * lifetimes.h - noting how long blocks have lived: proto/lifetimes.h
 */
#ifndef CLIENT_HEAP_LIFETIMES_H
#define CLIENT_HEAP_LIFETIMES_H

#include <pthread.h>
#include <stdint.h>

#include "client/heap/intern.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

/* All zero: there is none, and nothing is noted. */
struct lifetime_notes {
    pthread_mutex_t lock;
    struct ledger_lifetimes *records; /* LIFETIMES_MAX, in the ledger */
    /* By reason: 1 + the record of what stands before '#', LIFETIMES_NONE; 0: not looked for yet.
       Relaxed: a record is the reason's for ever, so a stale 0 is looked for again. */
    _Atomic uint16_t *places;
    uint32_t n_records; /* under the lock */
};

/** kmem__lifetimes_init() - in a ledger without any. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int kmem__lifetimes_init(struct lifetime_notes *lifetimes, struct ledger *ledger);

void kmem__lifetimes_fini(struct lifetime_notes *lifetimes);

/** kmem__lifetimes_note() - a block of that reason has lived so many ticks, as n_releases did */
void kmem__lifetimes_note(struct lifetime_notes *lifetimes, struct intern *intern, uint32_t reason,
                          uint32_t ticks, uint32_t n_releases);

#endif
