/* SPDX-License-Identifier: MIT */
/*
 * waste.h - what clients' leases hold and no block uses, told apart
 *
 *      leased pages == unused + idle slabs + the pages of slabs and large blocks with a live block
 *      those pages  == live bytes, as asked for + rounding + what is free in the slabs
 *
 * Part of a look (scan.h): first each leased block is noted, then waste_step() passes over the page
 * table and the page states. Clients go on meanwhile, so a slab may be counted that was idle a
 * moment ago; and a ledger that lies misplaces bytes of its own client's leases and no others.
 */
#ifndef DAEMON_CORE_WASTE_H
#define DAEMON_CORE_WASTE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/block.h"
#include "daemon/core/clients.h"
#include "daemon/core/pages.h"
#include "daemon/core/reclaim.h"
#include "proto/attributes.h"

struct waste_client;

struct waste {
    const struct pages *pages;
    const struct clients *clients;
    const struct reclaim *reclaim;
    uint64_t *live; /* a bit for each page of a slab or large block with a live block; NULL: done */
    struct waste_client *by_slot; /* CLIENTS_MAX */
    uint32_t page;                /* where the pass over the pages goes on */
    uint64_t rounding_bytes;      /* of leased blocks: their sizes, without what was asked for */
    uint64_t n_unused_pages;      /* leased, and not in use */
    uint64_t n_idle_pages;        /* in use, of slabs without a live block that can be had */
    uint64_t largest_pages;       /* the longest stretch of pages that are free, or of those two */
    uint64_t stretch_pages;       /* the length so far of the stretch that ends at `page` */
};

/** waste_init() - nothing is noted yet. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int waste_init(struct waste *waste, const struct pages *pages,
                             const struct clients *clients, const struct reclaim *reclaim);

void waste_fini(struct waste *waste);

/** waste_note() - a leased block is live, in a slab */
void waste_note(struct waste *waste, const struct slab *slab, const struct block *block);

/**
 * waste_step() - after all blocks: pass over some pages
 * @budget:  how many pages and runs to look at, about
 * Return: whether all have been passed.
 */
KMEM_MUST_USE bool waste_step(struct waste *waste, uint32_t budget);

/** waste_idle_pages() - of slabs that were idle, how many are a client's */
uint64_t waste_idle_pages(const struct waste *waste, const struct client *client);

#endif
