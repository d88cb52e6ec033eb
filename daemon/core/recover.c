/* SPDX-License-Identifier: MIT */
/*
 * recover.c - what is true, and what follows from it
 *
 *      true                            follows from it
 *      page words                      free runs, bins, who has how many pages
 *      entries of direct blocks        free lists, totals of clients and reasons
 *      client slots                    the table of clients, unused slots
 *      shares, holds, names            chains, hash tables, pinned pages
 *      states in clients' ledgers      which leased pages were never theirs, or no longer
 *      processes                       whether one still uses what a lost ledger described
 *
 * What is true is believed only as far as it fits together, because all of it was written by a
 * server like this one, in an order that never leaves anything else behind: if something does not
 * fit, memory is damaged or a server has a fault, and guessing would spread it. So it is refused,
 * in words that say what and where.
 *
 * What had been begun is finished: free runs that were not joined are; a slab without a block, and
 * pages that were granted but not entered in the client's ledger, go back; the blocks of those who
 * ended go on being reaped. Each of these steps is one that a server takes while it runs, with the
 * same stores in the same order, so whoever is killed here leaves no more than a server does.
 */
#include "daemon/core/recover.h"

#include <stdarg.h>
#include <stdio.h>

#include "daemon/core/replay.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"

/*
 * 16,384 runs: free ones take 0.1 ms, slabs of the smallest blocks 0.2 s. Fewer would tell more
 * than anybody wants to know; with more a machine that swaps might seem to hang.
 */
#define ALIVE_RUNS 16384

struct recovery {
    struct core *core;
    char *why;
    size_t why_bytes;
};

KMEM_PRINTF(2, 3) static int refuse(const struct recovery *recovery, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(recovery->why, recovery->why_bytes, format, arguments); /* too long: cut */
    va_end(arguments);
    return RECOVER_E_REFUSED;
}

static void alive(const struct core *core)
{
    if (core->config.alive) {
        core->config.alive(core->config.alive_user);
    }
}

/* What of the runs before a run decides whether it can be. */
struct runs_before {
    bool is_scrubbed; /* one of them is: at most one is at a time */
    bool is_beyond;   /* the last of them is: behind it nothing else is */
};

/* One run of the chain, before anything is derived from it. */
static int check_run(const struct recovery *recovery, uint32_t page, struct runs_before *before)
{
    const struct state *state = &recovery->core->state;
    const uint64_t word = state_load(&state->page_words[page]);
    const uint32_t n_pages = PAGE_WORD_PAGES(word);
    const uint32_t slot = PAGE_WORD_OWNER(word);
    const enum page_state page_state = PAGE_WORD_STATE(word);
    if (n_pages == 0 || n_pages > state->n_pages - page) {
        return refuse(recovery, "the run at page %u has %u pages, of %u that there are", page,
                      n_pages, state->n_pages - page);
    }
    if (page == 0
            ? page_state != PAGE_RESERVED || n_pages != 1
            : page_state != PAGE_FREE && page_state != PAGE_DIRECT && page_state != PAGE_LEASED &&
                  page_state != PAGE_SCRUB && page_state != PAGE_BEYOND) {
        return refuse(recovery, "the run at page %u is of kind %u", page, (unsigned)page_state);
    }
    if (page_state != PAGE_LEASED && slot != 0) {
        return refuse(recovery, "the run at page %u is of slot %u, and is no lease", page, slot);
    }
    if (page_state == PAGE_LEASED && (slot >= state_load(&state->header->n_slots) ||
                                      state_load(&state->clients[slot].pid) == 0)) {
        return refuse(recovery, "the run at page %u is leased to slot %u, which is nobody's", page,
                      slot);
    }
    if ((before->is_scrubbed && page_state == PAGE_SCRUB) ||
        (page_state == PAGE_BEYOND ? page == 1 : before->is_beyond)) {
        return refuse(recovery, "the run at page %u can not be where it is, of kind %u", page,
                      (unsigned)page_state);
    }
    before->is_scrubbed = before->is_scrubbed || page_state == PAGE_SCRUB;
    before->is_beyond = page_state == PAGE_BEYOND;
    return 0;
}

static int check_clients(const struct recovery *recovery)
{
    const struct state *state = &recovery->core->state;
    const uint64_t n_slots = state_load(&state->header->n_slots);
    if (n_slots > CLIENTS_MAX) {
        return refuse(recovery, "there are %llu slots of clients, of %u that there can be",
                      (unsigned long long)n_slots, CLIENTS_MAX);
    }
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        const uint64_t pid = state_load(&state->clients[slot].pid);
        const uint64_t ended = state_load(&state->clients[slot].ended);
        const uint64_t as_ended = ENDED_WORD(ENDED_WORD_LEFT(ended), ENDED_WORD_TICK(ended));
        if (pid != 0 && (pid != PID_WORD(PID_WORD_PID(pid)) || (ended != 0 && ended != as_ended))) {
            return refuse(recovery, "slot %u is of a client that can not be", slot);
        }
    }
    return 0;
}

static int check_runs(const struct recovery *recovery)
{
    const struct state *state = &recovery->core->state;
    struct runs_before before = {false, false};
    uint32_t n_runs = 0;
    for (uint32_t page = 0; page < state->n_pages;) {
        const int r = check_run(recovery, page, &before);
        if (r) {
            return r;
        }
        if (++n_runs % ALIVE_RUNS == 0) {
            alive(recovery->core);
        }
        page += PAGE_WORD_PAGES(state_load(&state->page_words[page]));
    }
    return 0;
}

static void recover_clients(struct core *core, recover_states_fn states, void *user)
{
    clients_recover(&core->clients);
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        client->states = states(client->slot, user);
        accounts_join(&core->accounts, client); /* of its unit when that is found */
    }
}

/* Whether a process is there that may be using what its lost ledger described. */
static int watch_lost(const struct core *core, const struct client *client)
{
    const bool holds_nothing =
        client->n_blocks == 0 && client->leased_pages == 0 && !sharing_has_any(core, client->slot);
    return holds_nothing || !core->config.watch
               ? CLIENTS_E_GONE
               : core->config.watch(client->slot, &client->identity, core->config.watch_user);
}

/*
 * Whoever has no ledger and holds nothing has had its server killed while it joined. Who holds
 * something was answered, and its ledger is lost: the keeper was killed before it had it, or had no
 * descriptor left for it. While such a process lives, no page of its may be another's.
 */
static int recover_lost(struct core *core, uint64_t now_ms)
{
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        if (client->states || client->client_state != CLIENT_LIVE) {
            continue;
        }
        const int r = watch_lost(core, client);
        if (r < 0) {
            return r;
        }
        client->lost = r == 0;
        if (!client->lost) {
            /* A client that has nothing had no Welcome: its process may live, and join again. */
            core_end(core, client,
                     client_charged_bytes(client) == 0 && !sharing_has_any(core, client->slot),
                     now_ms);
        }
    }
    return 0;
}

static int recover_run(const struct recovery *recovery, uint32_t page, uint64_t word)
{
    struct core *core = recovery->core;
    if (PAGE_WORD_STATE(word) == PAGE_LEASED) {
        leases_recover_run(&core->leases, clients_get(&core->clients, PAGE_WORD_OWNER(word)), page);
    }
    if (PAGE_WORD_STATE(word) != PAGE_DIRECT) {
        return 0;
    }
    const char *why = NULL;
    const int r = direct_recover_run(&core->direct, page, &why);
    return r > 0 ? refuse(recovery, "the direct blocks at page %u: %s", page, why) : r;
}

/* What is kept to be told, and decides nothing. */
static int check_kept(const struct recovery *recovery)
{
    const struct core *core = recovery->core;
    if (obituaries_check(&core->obituaries)) {
        return refuse(recovery, "of %llu obituaries one is none",
                      (unsigned long long)core->obituaries.n_written);
    }
    if (history_check(&core->history)) {
        return refuse(recovery, "the history has a point that can not be");
    }
    if (refusals_check(&core->refusals)) {
        return refuse(recovery, "of %llu refusals one is none",
                      (unsigned long long)core->refusals.n_written);
    }
    return 0;
}

static int recover_shares(const struct recovery *recovery)
{
    struct core *core = recovery->core;
    const char *why = NULL;
    int r = shares_recover(&core->shares, &why);
    r = r ? r : names_recover(&core->names, &why);
    return r > 0 ? refuse(recovery, "what is shared: %s", why) : r;
}

static int recover_runs(const struct recovery *recovery)
{
    struct core *core = recovery->core;
    if (direct_recover_opening(&core->direct)) {
        return refuse(recovery, "the slab that was being made at page %llu can not be",
                      (unsigned long long)state_load(&core->state.header->opening));
    }
    uint32_t n_runs = 0;
    for (uint32_t page = 0; page < core->state.n_pages;) {
        /* Runs that go back join others; what they were is what the walk goes by. */
        const uint64_t word = pages_word(&core->pages, page);
        const int r = recover_run(recovery, page, word);
        if (r) {
            return r;
        }
        if (++n_runs % ALIVE_RUNS == 0) {
            alive(core);
        }
        page += PAGE_WORD_PAGES(word);
    }
    reasons_recovered(&core->reasons);
    direct_recovered(&core->direct);
    const char *why = NULL;
    if (sharing_recover(core, &why)) {
        return refuse(recovery, "what is shared: %s", why);
    }
    KMEM_CRASH_POINT("server.recover.shared");
    core_note_peak(core);
    core->n_clients_seen = obituaries_n_seen(&core->obituaries, &core->clients);
    return 0;
}

/* NOLINTBEGIN(readability-non-const-parameter): refuse() writes there */
int recover(struct core *core, const struct core_config *config, void *state_base,
            recover_states_fn states, void *user, uint64_t now_ms, char *ret_why, size_t why_bytes)
{
    *core = (struct core){.config = *config};
    const struct recovery recovery = {core, ret_why, why_bytes};
    if (state_attach(&core->state, state_base, config->n_pages)) {
        return refuse(&recovery, "it has another layout, or is of a segment of another size");
    }
    core->config.instance = core->state.header->instance;
    int r = check_clients(&recovery);
    r = r ? r : check_runs(&recovery);
    r = r ? r : core_open(core);
    if (r) {
        return r;
    }
    KMEM_CRASH_POINT("server.recover.begun");
    history_recover(&core->history);
    alive(core);
    recover_clients(core, states, user);
    KMEM_CRASH_POINT("server.recover.clients");
    alive(core);
    r = check_kept(&recovery);
    r = r ? r : recover_shares(&recovery);
    r = r ? r : recover_runs(&recovery);
    KMEM_CRASH_POINT("server.recover.runs");
    r = r ? r : recover_lost(core, now_ms);
    if (r) {
        core_abandon(core);
        return r;
    }
    replay_recover(core);
    return 0;
}
/* NOLINTEND(readability-non-const-parameter) */
