/* SPDX-License-Identifier: MIT */
/*
 * waste.c - a bit for each page, then a pass over the pages
 *
 * A slab is idle if no live block was noted in it, its pages say that they are an open slab's, and
 * the server could take it: proto/lease.h. The bits are 8 KiB for a segment of 1 GiB and given back
 * when the pass is over; to read each slab's entries a second time would double what a look costs.
 */
#include "daemon/core/waste.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/lease.h"

#define PAGES_PER_WORD 64

/* What a look has found of one client. */
struct waste_client {
    bool known;
    bool can_lose; /* its idle slabs can be taken */
    uint32_t generation;
    uint32_t n_idle_pages;
};

int waste_init(struct waste *waste, const struct pages *pages, const struct clients *clients,
               const struct reclaim *reclaim)
{
    *waste = (struct waste){.pages = pages, .clients = clients, .reclaim = reclaim};
    waste->live = calloc(pages->state->n_pages / PAGES_PER_WORD + 1, sizeof(*waste->live));
    waste->by_slot = calloc(CLIENTS_MAX, sizeof(*waste->by_slot));
    if (!waste->live || !waste->by_slot) {
        waste_fini(waste);
        return -ENOMEM;
    }
    return 0;
}

void waste_fini(struct waste *waste)
{
    free(waste->live);
    free(waste->by_slot);
    waste->live = NULL;
    waste->by_slot = NULL;
}

void waste_note(struct waste *waste, const struct slab *slab, const struct block *block)
{
    waste->rounding_bytes += slab->block_bytes - block->num_bytes;
    for (uint32_t page = slab->page; page < slab->page + slab->span_pages; page++) {
        waste->live[page / PAGES_PER_WORD] |= UINT64_C(1) << page % PAGES_PER_WORD;
    }
}

static bool page_is_live(const struct waste *waste, uint32_t page)
{
    return (waste->live[page / PAGES_PER_WORD] >> page % PAGES_PER_WORD & 1) != 0;
}

/* Whether all pages of a word of states are live, which begins with `page`. */
static bool word_is_live(const struct waste *waste, uint32_t page)
{
    static_assert(LEASE_PAGES_PER_WORD == 8, "a byte of bits");
    return (uint8_t)(waste->live[page / PAGES_PER_WORD] >> page % PAGES_PER_WORD) == 0xff;
}

/* Pages that follow those before, and can be had or not. */
static void stretch_add(struct waste *waste, uint64_t n_pages, bool can_be_had)
{
    waste->stretch_pages = can_be_had ? waste->stretch_pages + n_pages : 0;
    if (waste->stretch_pages > waste->largest_pages) {
        waste->largest_pages = waste->stretch_pages;
    }
}

/* What is known of a client: that of a former one of its slot is forgotten. */
static struct waste_client *client_of(struct waste *waste, const struct client *client,
                                      uint32_t *spent)
{
    struct waste_client *of = &waste->by_slot[client->slot];
    if (!of->known || of->generation != client->generation) {
        *spent += CLIENT_LEDGER_READ_COST;
        *of = (struct waste_client){
            .known = true,
            .can_lose =
                client->client_state == CLIENT_LIVE && reclaim_reaches(waste->reclaim, client),
            .generation = client->generation,
        };
    }
    return of;
}

/* Whether a page is of an open slab, its first one or not, asked for or not. */
static bool page_is_open(const struct client *client, uint32_t page)
{
    const uint32_t either = (uint32_t)LEASE_ASKED | (uint32_t)LEASE_INTERIOR;
    return (lease_flags_of(client->states, page) & ~either) == LEASE_OPEN;
}

/* Counts pages in use. Return: what that cost. */
static uint32_t used_add(struct waste *waste, const struct client *client, uint32_t n_pages)
{
    uint32_t spent = 0;
    struct waste_client *of = client_of(waste, client, &spent);
    const uint32_t end = waste->page + n_pages;
    uint32_t page = waste->page;
    while (page < end) {
        const bool by_word = page % LEASE_PAGES_PER_WORD == 0 &&
                             end - page >= LEASE_PAGES_PER_WORD && word_is_live(waste, page);
        const uint32_t n_next = by_word ? LEASE_PAGES_PER_WORD : 1;
        const bool is_idle =
            of->can_lose && page_is_open(client, page) && !page_is_live(waste, page);
        waste->n_idle_pages += is_idle;
        of->n_idle_pages += is_idle;
        stretch_add(waste, n_next, is_idle);
        page += n_next;
        spent++;
    }
    return spent;
}

/* Looks at the run that the page waste->page is in, from there on. Return: what that cost. */
static uint32_t run_add(struct waste *waste, uint32_t budget)
{
    const uint32_t run = pages_run_of(waste->pages, waste->page);
    const uint64_t word = pages_word(waste->pages, run);
    const uint32_t end = run + PAGE_WORD_PAGES(word);
    const struct client *client = PAGE_WORD_STATE(word) == PAGE_LEASED
                                      ? clients_get(waste->clients, PAGE_WORD_OWNER(word))
                                      : NULL;
    uint32_t spent = 1;
    if (!client || !client->states) {
        const bool is_scrubbed = PAGE_WORD_STATE(word) == PAGE_SCRUB;
        stretch_add(waste, end - waste->page,
                    PAGE_WORD_STATE(word) == PAGE_FREE ||
                        (is_scrubbed && pages_await_scrub(waste->pages)));
        waste->page = end;
    }
    while (waste->page < end && spent < budget) {
        bool is_unused;
        /* No more than the budget, and whole words: pages in use cost one each. */
        const uint32_t left = (budget - spent + LEASE_PAGES_PER_WORD) & ~7U;
        const uint32_t n_most = end - waste->page < left ? end - waste->page : left;
        const uint32_t n_pages = lease_stretch(client->states, waste->page, n_most, &is_unused);
        spent += 1 + n_pages / LEASE_PAGES_PER_WORD;
        if (is_unused) {
            waste->n_unused_pages += n_pages;
            stretch_add(waste, n_pages, true);
        } else {
            spent += used_add(waste, client, n_pages);
        }
        waste->page += n_pages;
    }
    return spent;
}

bool waste_step(struct waste *waste, uint32_t budget)
{
    uint32_t spent = 0;
    while (waste->page < waste->pages->state->n_pages && spent < budget) {
        spent += run_add(waste, budget - spent);
    }
    if (waste->page < waste->pages->state->n_pages) {
        return false;
    }
    free(waste->live);
    waste->live = NULL;
    return true;
}

uint64_t waste_idle_pages(const struct waste *waste, const struct client *client)
{
    const struct waste_client *of = &waste->by_slot[client->slot];
    return of->known && of->generation == client->generation ? of->n_idle_pages : 0;
}
