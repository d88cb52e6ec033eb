/* SPDX-License-Identifier: MIT */
/*
 * leases.h - pages that clients carve up themselves
 *
 * A grant is one store in the page table, then the client's page states say FREE. From then on the
 * client decides which of the pages it uses, and the daemon may take back those that it does not,
 * at any time and without asking: proto/lease.h. Pages of shared blocks are pinned: nobody takes
 * them, whatever the client's states say, as long as it lives.
 *
 *      n_pages == sum of leased_pages over clients == sum of the PAGE_LEASED runs : leases_check()
 */
#ifndef DAEMON_CORE_LEASES_H
#define DAEMON_CORE_LEASES_H

#include <stdint.h>

#include "daemon/core/changes.h"
#include "daemon/core/clients.h"
#include "daemon/core/pages.h"
#include "daemon/core/shares.h"
#include "proto/attributes.h"

struct leases {
    struct pages *pages;
    struct clients *clients;
    const struct shares *shares;     /* which know what is pinned */
    uint64_t n_pages;                /* leased now */
    uint64_t n_looked;               /* runs looked at to take something back, ever */
    const struct accounts *accounts; /* whose priorities count; NULL: none has one */
    struct changes *changes;         /* what comes back is noted there; NULL: nowhere */
};

enum {
    LEASES_OK,
    LEASES_E_FULL,    /* no run is long enough, even without what clients leave unused */
    LEASES_E_STALE,   /* leases_grant(): the client has not heard yet that the run was taken */
    LEASES_E_CORRUPT, /* leases_check() */
};

void leases_init(struct leases *leases, struct pages *pages, struct clients *clients,
                 const struct shares *shares);

/** leases_fini() - asserts that nothing is leased */
void leases_fini(struct leases *leases);

/**
 * leases_grant() - give a client a run to carve up
 * @n_pages:     at least these, consecutive
 * @want_pages:  at most these, at least n_pages
 * @sequence:    the request's sequence number; 0: it has none
 *
 * What is free and more than n_pages is shared out: a grant takes at most an eighth of it.
 * Return: 0, LEASES_E_FULL or LEASES_E_STALE.
 */
KMEM_MUST_USE int leases_grant(struct leases *leases, struct client *client, uint32_t n_pages,
                               uint32_t want_pages, uint64_t sequence, uint32_t *ret_page,
                               uint32_t *ret_n_pages);

/**
 * leases_return() - take back the unused pages of a client's leases in a range
 * Return: how many came back.
 */
uint32_t leases_return(struct leases *leases, struct client *client, uint32_t page, uint32_t end);

/** leases_return_some() - take back some n_pages that a client leaves unused, wherever they are */
void leases_return_some(struct leases *leases, struct client *client, uint32_t n_pages);

/** leases_return_all() - take back what all clients leave unused */
void leases_return_all(struct leases *leases);

/**
 * leases_make_room() - take back what clients leave unused until a free run has n_pages
 *
 * Begins with the clients of the lowest priority, and of those with the one that leaves the most.
 * Only runs of clients that may have given something back since it was looked for last are looked
 * at. Return: 0, or LEASES_E_FULL after all is taken back.
 */
KMEM_MUST_USE int leases_make_room(struct leases *leases, uint32_t n_pages);

/**
 * leases_make_free() - take back what clients leave unused until so many pages are free, wherever
 * Return: 0, or LEASES_E_FULL after all is taken back.
 */
KMEM_MUST_USE int leases_make_free(struct leases *leases, uint64_t n_pages);

/** leases_come_back() - pages of one lease, which the client has lost, go back into the table */
void leases_come_back(struct leases *leases, struct client *client, uint32_t page,
                      uint32_t n_pages);

/** leases_discharge() - pages of an ended client's lease are its own no more: freed, or turned */
void leases_discharge(struct leases *leases, struct client *client, uint32_t n_pages);

/** leases_reap() - take back a whole leased run, whatever the client's states say: it has ended */
void leases_reap(struct leases *leases, struct client *client, uint32_t page);

/**
 * leases_recover_run() - count the leased run that begins at `page`
 *
 * For the tables after a restart. What a living client was not given in the end, or was being taken
 * from it, goes back.
 */
void leases_recover_run(struct leases *leases, struct client *client, uint32_t page);

/**
 * leases_count_unused() - how many pages of its leases each client does not use
 * @ret_n_unused:  by slot; 0 if the slot's ledger was lost
 */
void leases_count_unused(const struct leases *leases, uint32_t ret_n_unused[CLIENTS_MAX]);

/** leases_n_unused() - how many leased pages their clients do not use now */
uint64_t leases_n_unused(const struct leases *leases);

/** leases_check() - recount everything. Return: 0 or LEASES_E_CORRUPT. */
KMEM_MUST_USE int leases_check(const struct leases *leases);

#endif
