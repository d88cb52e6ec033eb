/* SPDX-License-Identifier: MIT */
/*
 * leases.c - granting, and taking back without asking
 *
 * The table is written first when pages go out, and last when they come back:
 *
 *      grant:   client's intent       says where the lease will be: clients.h
 *               page word LEASED      nobody may use it: taken back by a restart
 *               leases beside it      become one run with it
 *               given                 they may be other than 0: state.h
 *               states FREE           the client may take the pages
 *      revoke:  states REVOKED        nobody may take them; the table still says leased
 *               page word FREE        they are free
 *               states NONE           and can be granted again
 *
 * so a page is never in two hands, whoever dies in between. Granted page states are a client's to
 * spoil. Whatever it writes there, the loops below end, and what comes back is only what the table
 * says is this client's.
 *
 * How much a client has unused is counted when room is needed, and not kept: only the client knows
 * it, and it changes without a word. It takes a walk over the client's own runs, some 10 ns each,
 * and is made only when there is no free run that is long enough, and only for clients that may
 * have something: each counts how often it has given pages back (proto/lease.h), and what it had
 * when that number was read last has been taken. So where nothing was given back since, a request
 * that finds no room costs a look at each client.
 *
 *      is_swept  =>  nothing is FREE but what was given after the number was n_given
 */
#include "daemon/core/leases.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/accounts.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

/* 1/8: eight clients that grow at once leave each other something; a smaller share means more
   round trips while a client warms up. */
#define GRANT_SHARE 8

void leases_init(struct leases *leases, struct pages *pages, struct clients *clients,
                 const struct shares *shares)
{
    *leases = (struct leases){.pages = pages, .clients = clients, .shares = shares};
}

void leases_fini(struct leases *leases)
{
    KMEM_ASSERT(leases->n_pages == 0);
}

static uint32_t run_end(const struct pages *pages, uint32_t page)
{
    return page + PAGE_WORD_PAGES(pages_word(pages, page));
}

static bool run_is_leased(const struct pages *pages, uint32_t page, uint32_t *ret_slot)
{
    const uint64_t word = pages_word(pages, page);
    *ret_slot = PAGE_WORD_OWNER(word);
    return PAGE_WORD_STATE(word) == PAGE_LEASED;
}

/* A stretch of pages that their client may not take. */
struct stretch {
    uint32_t page;
    uint32_t n_pages;
};

/* Pages of one run that were revoked, or not granted, go back into the table: they are free. */
static void stretch_come_back(struct leases *leases, struct client *client,
                              const struct stretch *stretch)
{
    if (stretch->n_pages > 0) {
        KMEM_CRASH_POINT("server.pages.revoked");
        pages_give_part(leases->pages, stretch->page, stretch->n_pages);
        client_discharge_pages(client, stretch->n_pages);
        leases->n_pages -= stretch->n_pages;
        KMEM_CRASH_POINT("server.pages.free");
        lease_forget(client->states, stretch->page, stretch->n_pages);
    }
}

/* The same of pages that their client did not use. */
static void stretch_return(struct leases *leases, struct client *client,
                           const struct stretch *stretch)
{
    if (stretch->n_pages > 0) {
        const struct change_facts facts = {
            .kind = CHANGE_RETURNED,
            .offset = (uint64_t)stretch->page << PAGE_SHIFT,
            .num_bytes = (uint64_t)stretch->n_pages << PAGE_SHIFT,
        };
        changes_note(leases->changes, &client->identity, &facts, NULL, 0);
    }
    stretch_come_back(leases, client, stretch);
}

/* How much of what is wanted there is to be had. */
static uint32_t grant_pages(const struct pages *pages, uint32_t n_pages, uint32_t want_pages,
                            uint32_t extent_pages)
{
    uint64_t share = pages->n_free_pages / GRANT_SHARE;
    share = share < want_pages ? share : want_pages;
    share = share < extent_pages ? share : extent_pages;
    return share > n_pages ? (uint32_t)share : n_pages;
}

/* The client may take the pages from here on; it is told which are known to be zero. */
static void grant_states(struct pages *pages, struct client *client, uint32_t page,
                         uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages;) {
        bool is_zero;
        const uint32_t n_alike = pages_zero_stretch(pages, at, page + n_pages - at, &is_zero);
        pages_note_maybe_dirty(pages, at, n_alike);
        lease_grant(client->states, at, n_alike, is_zero);
        at += n_alike;
    }
}

/*
 * A free run in which there are n_pages without STALE, which alone the client can take: *ret_lead
 * pages lie before them. That a walk over all runs is made for a client with a thread that sleeps
 * is rare: its other threads find their pages in a lease.
 */
KMEM_MUST_USE static bool find_beside_stale(const struct pages *pages, const struct client *client,
                                            uint32_t n_pages, uint32_t *ret_page,
                                            uint32_t *ret_lead)
{
    for (uint32_t page = 0; page < pages->state->n_pages; page = run_end(pages, page)) {
        uint32_t at;
        if (PAGE_WORD_STATE(pages_word(pages, page)) == PAGE_FREE &&
            lease_find_fresh(client->states, page, run_end(pages, page), n_pages, &at)) {
            *ret_page = page;
            *ret_lead = at - page;
            return true;
        }
    }
    return false;
}

int leases_grant(struct leases *leases, struct client *client, uint32_t n_pages,
                 uint32_t want_pages, uint64_t sequence, uint32_t *ret_page, uint32_t *ret_n_pages)
{
    struct pages *pages = leases->pages;
    uint32_t page;
    KMEM_ASSERT(client->states != NULL);
    KMEM_ASSERT(n_pages >= 1);
    const uint32_t share = grant_pages(pages, n_pages, want_pages, UINT32_MAX);
    if (pages_find(pages, share, &page) && pages_find(pages, n_pages, &page)) {
        if (leases_make_room(leases, n_pages)) {
            return LEASES_E_FULL;
        }
        const int r = pages_find(pages, n_pages, &page);
        KMEM_ASSERT(r == 0); /* it has made room */
    }
    const uint32_t extent_pages = run_end(pages, page) - page;
    uint32_t granted = grant_pages(pages, n_pages, want_pages, extent_pages);
    struct stretch lead = {page, 0}; /* is leased for a moment, and not granted */
    if (lease_has_stale(client->states, page, granted)) {
        if (!find_beside_stale(pages, client, n_pages, &lead.page, &lead.n_pages)) {
            return LEASES_E_STALE;
        }
        page = lead.page + lead.n_pages;
        granted = n_pages;
    }
    const struct intent intent = {.kind = INTENT_LEASE, .n_pages = granted, .at = page};
    clients_intend(leases->clients, client->slot, sequence, &intent);
    KMEM_CRASH_POINT("server.lease.intended");
    pages_take(pages, lead.page, lead.n_pages + granted, PAGE_LEASED, client->slot);
    KMEM_CRASH_POINT("server.lease.committed");
    pages_join(pages, lead.page);
    client_charge_pages(client, lead.n_pages + granted);
    client->is_swept = false;
    leases->n_pages += lead.n_pages + granted;
    pages->state->counters->leases++;
    grant_states(pages, client, page, granted);
    KMEM_CRASH_POINT("server.lease.granted");
    stretch_come_back(leases, client, &lead);
    *ret_page = page;
    *ret_n_pages = granted;
    return 0;
}

/*
 * Takes back what is unused in [page, end), which lies inside one run of the client and is not
 * pinned. It is revoked word by word; what follows one another goes back as one, which spares the
 * table the pieces.
 */
static uint32_t unpinned_revoke(struct leases *leases, struct client *client, uint32_t page,
                                uint32_t end)
{
    struct stretch stretch = {page, 0};
    uint32_t n_back = 0;
    while (page < end && client->states) {
        const uint32_t n_pages = lease_revoke(client->states, &page, end);
        if (n_pages == 0) {
            break;
        }
        if (page != stretch.page + stretch.n_pages) {
            stretch_return(leases, client, &stretch);
            stretch = (struct stretch){page, 0};
        }
        stretch.n_pages += n_pages;
        n_back += n_pages;
        page += n_pages;
    }
    stretch_return(leases, client, &stretch);
    return n_back;
}

/* The same of a run in which pages are pinned: those stay, whatever the states say. */
static uint32_t run_revoke(struct leases *leases, struct client *client, uint32_t page,
                           uint32_t end)
{
    uint32_t n_back = 0;
    while (page < end) {
        bool is_pinned;
        const uint32_t n_alike =
            shares_pinned_stretch(leases->shares, page, end - page, &is_pinned);
        n_back += is_pinned ? 0 : unpinned_revoke(leases, client, page, page + n_alike);
        page += n_alike;
    }
    return n_back;
}

void leases_come_back(struct leases *leases, struct client *client, uint32_t page, uint32_t n_pages)
{
    const struct stretch stretch = {page, n_pages};
    stretch_return(leases, client, &stretch);
}

/* Takes back what is unused in [page, end) of all leases of a client. */
static uint32_t client_revoke(struct leases *leases, struct client *client, uint32_t page,
                              uint32_t end)
{
    uint32_t n_back = 0;
    uint32_t next;
    for (uint32_t run = pages_leased_first(leases->pages, client->slot); run != 0; run = next) {
        const uint32_t behind = run_end(leases->pages, run);
        next = pages_leased_next(leases->pages, run);
        leases->n_looked++;
        if (run < end && behind > page) {
            n_back +=
                run_revoke(leases, client, run > page ? run : page, behind < end ? behind : end);
        }
    }
    return n_back;
}

/* Whether there may be more unused pages than there were when all were taken back. */
static bool client_may_leave(const struct client *client)
{
    return client->leased_pages > 0 && client->states &&
           !(client->is_swept && lease_n_given(client->states) == client->n_given);
}

/* The client has nothing unused, but what it gives back from now on; n_given was read before. */
static void client_note_swept(struct client *client, uint64_t n_given)
{
    client->is_swept = true;
    client->n_given = n_given;
}

/* Takes back all that a client leaves unused. */
static uint32_t client_sweep(struct leases *leases, struct client *client)
{
    const uint64_t n_given = client->states ? lease_n_given(client->states) : 0;
    const uint32_t n_back = client_revoke(leases, client, 0, leases->pages->state->n_pages);
    client_note_swept(client, n_given);
    return n_back;
}

uint32_t leases_return(struct leases *leases, struct client *client, uint32_t page, uint32_t end)
{
    if (!client_may_leave(client)) {
        return 0;
    }
    return page == 0 && end >= leases->pages->state->n_pages
               ? client_sweep(leases, client)
               : client_revoke(leases, client, page, end);
}

void leases_return_some(struct leases *leases, struct client *client, uint32_t n_pages)
{
    uint32_t n_back = 0;
    uint32_t next;
    uint32_t run = client_may_leave(client) ? pages_leased_first(leases->pages, client->slot) : 0;
    for (; run != 0 && n_back < n_pages; run = next) {
        const uint32_t end = run_end(leases->pages, run);
        next = pages_leased_next(leases->pages, run);
        /* The last piece of a run is taken as far as it is wanted. */
        for (uint32_t page = run; page < end && n_back < n_pages;) {
            const uint32_t n_wanted = n_pages - n_back;
            const uint32_t stop = end - page > n_wanted ? page + n_wanted : end;
            n_back += run_revoke(leases, client, page, stop);
            page = stop;
        }
    }
    leases->pages->state->counters->revoked_pages += n_back;
}

void leases_return_all(struct leases *leases)
{
    struct client *client = clients_next(leases->clients, 0);
    for (; client; client = clients_next(leases->clients, client->slot + 1)) {
        leases->pages->state->counters->revoked_pages += client_sweep(leases, client);
    }
}

/* How many pages of a run are unused, and could be taken back. */
static uint32_t run_n_unused(const struct leases *leases, const struct client *client,
                             uint32_t page, uint32_t end)
{
    uint32_t n_unused = 0;
    while (page < end) {
        bool is_pinned;
        const uint32_t n_alike =
            shares_pinned_stretch(leases->shares, page, end - page, &is_pinned);
        n_unused += is_pinned ? 0 : lease_count_free(client->states, page, n_alike);
        page += n_alike;
    }
    return n_unused;
}

/* How many pages of all leases of a client are unused; 0 if its ledger was lost. */
static uint32_t client_n_unused(const struct leases *leases, const struct client *client,
                                uint64_t *n_looked)
{
    uint32_t n_unused = 0;
    uint32_t run = client->states ? pages_leased_first(leases->pages, client->slot) : 0;
    for (; run != 0; run = pages_leased_next(leases->pages, run)) {
        n_unused += run_n_unused(leases, client, run, run_end(leases->pages, run));
        (*n_looked)++;
    }
    return n_unused;
}

/* A client that leaves pages unused. */
struct leaver {
    uint32_t slot;
    uint32_t n_unused;
    int32_t priority;
};

static int leaver_compare(const void *a, const void *b)
{
    const struct leaver *left = a;
    const struct leaver *right = b;
    if (left->priority != right->priority) {
        return left->priority < right->priority ? -1 : 1;
    }
    return (left->n_unused < right->n_unused) - (left->n_unused > right->n_unused);
}

void leases_count_unused(const struct leases *leases, uint32_t ret_n_unused[CLIENTS_MAX])
{
    uint64_t n_looked = 0;
    memset(ret_n_unused, 0, CLIENTS_MAX * sizeof(ret_n_unused[0]));
    const struct client *client = clients_next(leases->clients, 0);
    for (; client; client = clients_next(leases->clients, client->slot + 1)) {
        ret_n_unused[client->slot] = client_n_unused(leases, client, &n_looked);
    }
}

/*
 * Counts what each client leaves unused that may. Return: how many leave any; first those of the
 * lowest priority, and of those the one that leaves the most.
 */
static uint32_t leavers_find(struct leases *leases, struct leaver leavers[CLIENTS_MAX])
{
    uint32_t n_leavers = 0;
    struct client *client = clients_next(leases->clients, 0);
    for (; client; client = clients_next(leases->clients, client->slot + 1)) {
        if (!client_may_leave(client)) {
            continue;
        }
        const uint64_t n_given = lease_n_given(client->states);
        const uint32_t n_unused = client_n_unused(leases, client, &leases->n_looked);
        if (n_unused > 0) {
            leavers[n_leavers++] = (struct leaver){client->slot, n_unused,
                                                   accounts_priority(leases->accounts, client)};
        } else {
            client_note_swept(client, n_given);
        }
    }
    /* cppcheck-suppress uninitvar ; of none, none is looked at */
    qsort(leavers, n_leavers, sizeof(*leavers), leaver_compare);
    return n_leavers;
}

int leases_make_free(struct leases *leases, uint64_t n_pages)
{
    struct leaver leavers[CLIENTS_MAX];
    const bool is_short = leases->pages->n_free_pages < n_pages && leases->n_pages > 0;
    const uint32_t n_leavers = is_short ? leavers_find(leases, leavers) : 0;
    for (uint32_t i = 0; i < n_leavers && leases->pages->n_free_pages < n_pages; i++) {
        leases->pages->state->counters->revoked_pages +=
            client_sweep(leases, clients_get(leases->clients, leavers[i].slot));
    }
    return leases->pages->n_free_pages >= n_pages ? 0 : LEASES_E_FULL;
}

int leases_make_room(struct leases *leases, uint32_t n_pages)
{
    struct leaver leavers[CLIENTS_MAX];
    const uint32_t n_leavers = leases->n_pages > 0 ? leavers_find(leases, leavers) : 0;
    uint32_t page;
    for (uint32_t i = 0; i < n_leavers; i++) {
        leases->pages->state->counters->revoked_pages +=
            client_sweep(leases, clients_get(leases->clients, leavers[i].slot));
        if (pages_find(leases->pages, n_pages, &page) == 0) {
            return 0;
        }
    }
    return LEASES_E_FULL;
}

void leases_reap(struct leases *leases, struct client *client, uint32_t page)
{
    const uint32_t n_pages = run_end(leases->pages, page) - page;
    KMEM_ASSERT(!shares_is_pinned(leases->shares, page, n_pages));
    KMEM_CRASH_POINT("server.reap.lease");
    pages_give(leases->pages, page);
    leases_discharge(leases, client, n_pages);
}

void leases_discharge(struct leases *leases, struct client *client, uint32_t n_pages)
{
    client_discharge_pages(client, n_pages);
    leases->n_pages -= n_pages;
}

/* Whether a page is leased to a client that may not take it, and has not. */
static bool page_is_on_its_way(const struct leases *leases, const struct client *client,
                               uint32_t page)
{
    const uint32_t lease_state = lease_state_of(client->states, page) & LEASE_STATE_MASK;
    return (lease_state == LEASE_NONE || lease_state == LEASE_REVOKED) &&
           !shares_is_pinned(leases->shares, page, 1);
}

void leases_recover_run(struct leases *leases, struct client *client, uint32_t page)
{
    const uint32_t end = run_end(leases->pages, page);
    struct stretch stretch = {page, 0};
    client_charge_pages(client, end - page);
    leases->n_pages += end - page;
    if (client->states) {
        lease_settle(client->states, page, end - page);
    }
    for (; page < end && client->states; page++) {
        if (!page_is_on_its_way(leases, client, page)) {
            continue;
        }
        if (page != stretch.page + stretch.n_pages) {
            stretch_come_back(leases, client, &stretch);
            stretch = (struct stretch){page, 0};
        }
        stretch.n_pages++;
    }
    stretch_come_back(leases, client, &stretch);
}

uint64_t leases_n_unused(const struct leases *leases)
{
    uint64_t n_unused = 0;
    uint64_t n_looked = 0;
    const struct client *client = clients_next(leases->clients, 0);
    for (; client; client = clients_next(leases->clients, client->slot + 1)) {
        n_unused += client_n_unused(leases, client, &n_looked);
    }
    return n_unused;
}

int leases_check(const struct leases *leases)
{
    uint64_t n_leased[CLIENTS_MAX] = {0};
    uint64_t n_pages = 0;
    const struct pages *pages = leases->pages;
    for (uint32_t page = 0; page < pages->state->n_pages; page = run_end(pages, page)) {
        uint32_t slot;
        if (run_is_leased(pages, page, &slot)) {
            if (slot >= leases->clients->n_slots) {
                return LEASES_E_CORRUPT;
            }
            n_leased[slot] += run_end(pages, page) - page;
            n_pages += run_end(pages, page) - page;
        }
    }
    for (uint32_t slot = 0; slot < leases->clients->n_slots; slot++) {
        const struct client *client = &leases->clients->table[slot];
        if (n_leased[slot] != (client->client_state == CLIENT_UNUSED ? 0 : client->leased_pages)) {
            return LEASES_E_CORRUPT;
        }
    }
    return n_pages == leases->n_pages ? 0 : LEASES_E_CORRUPT;
}
