/* SPDX-License-Identifier: MIT */
/*
 * core.c - putting the parts together, and taking back what ended clients held
 *
 * Taking back is a walk over all direct slabs, not over a list of the client's blocks. A list would
 * cost every allocation two more stores and every block eight more bytes, for ever, so that a death
 * is cheaper; the walk looks at a million blocks in some milliseconds, serves any number of deaths
 * at once, needs nothing that must be rebuilt after a crash, and pauses whenever it is told to, so
 * that nobody waits for it. A client that holds nothing needs no walk.
 */
#include "daemon/core/core.h"

#include <string.h>

#include "daemon/core/tick.h"
#include "proto/crash_point.h"

struct rollup_tables core_tables(const struct core *core)
{
    return (struct rollup_tables){&core->reasons, &core->clients, &core->client_ledger};
}

int core_init(struct core *core, const struct core_config *config, void *state_base,
              uint64_t now_ms)
{
    *core = (struct core){.config = *config};
    state_format(&core->state, state_base, config->n_pages, config->instance, now_ms);
    const int r = core_open(core);
    KMEM_ASSERT(r <= 0); /* an empty segment adds up */
    return r;
}

int core_open(struct core *core)
{
    const struct core_config *config = &core->config;
    int r = pages_init(&core->pages, &core->state);
    if (r) {
        return r;
    }
    r = reasons_init(&core->reasons, &core->state);
    if (r) {
        goto undo_pages;
    }
    r = clients_init(&core->clients, &core->state, config->clients_limit);
    if (r) {
        goto undo_reasons;
    }
    r = client_ledger_init(&core->client_ledger, config->n_pages, config->ledger_read,
                           config->ledger_user);
    if (r) {
        goto undo_clients;
    }
    const struct rollup_tables tables = core_tables(core);
    r = obituaries_init(&core->obituaries, &core->state, &tables);
    if (r) {
        goto undo_told;
    }
    leases_init(&core->leases, &core->pages, &core->clients);
    shortage_init(&core->shortage, &core->leases, &core->client_ledger, config->gives_back);
    reclaim_init(&core->reclaim, &core->leases, &core->client_ledger, config->barrier);
    direct_init(&core->direct, &core->state.ledger, &core->pages, &core->reasons, &core->clients);
    return 0;

undo_told:
    client_ledger_fini(&core->client_ledger);
undo_clients:
    clients_fini(&core->clients);
undo_reasons:
    reasons_fini(&core->reasons);
undo_pages:
    pages_fini(&core->pages);
    return r;
}

void core_fini(struct core *core)
{
    KMEM_ASSERT(core->clients.n_live == 0);
    KMEM_ASSERT(core->clients.n_ended == 0);
    scan_leave(core, &core->lookout);
    KMEM_ASSERT(scans_are_none(&core->scans));
    direct_fini(&core->direct);
    leases_fini(&core->leases);
    core_abandon(core);
}

void core_abandon(struct core *core)
{
    obituaries_fini(&core->obituaries);
    client_ledger_fini(&core->client_ledger);
    clients_fini(&core->clients);
    reasons_fini(&core->reasons);
    pages_fini(&core->pages);
}

uint32_t core_tick(const struct core *core, uint64_t now_ms)
{
    return tick_of(now_ms, core->state.header->born_ms);
}

/* What a client is to a process that wants to join. */
enum former {
    FORMER_NONE, /* of another process */
    FORMER_COPY, /* the same program, another copy of the library: they leave each other alone */
    FORMER_OVER, /* another program, before an exec; or this copy, which has given it up */
    FORMER_IN_DOUBT, /* one of the two does not say what it is */
};

static enum former former_of(const struct client *client, const struct client_identity *identity)
{
    const struct client_identity *own = &client->identity;
    if (own->uid != identity->uid || !client_is_process(client, identity)) {
        return FORMER_NONE;
    }
    if (own->program == 0 || identity->program == 0) {
        return FORMER_IN_DOUBT;
    }
    return own->program == identity->program && own->copy != identity->copy ? FORMER_COPY
                                                                            : FORMER_OVER;
}

static void former_end(struct core *core, struct client *client, uint64_t now_ms)
{
    if (client->client_state == CLIENT_LIVE) {
        core_end(core, client, true, now_ms);
    }
}

int core_join(struct core *core, const struct client_identity *identity, uint64_t nonce,
              uint64_t now_ms, struct client **ret_client)
{
    uint32_t n_copies = 0;
    bool is_ending = false;
    for (struct client *client = clients_next(&core->clients, 0); client;
         client = clients_next(&core->clients, client->slot + 1)) {
        const enum former former = former_of(client, identity);
        if (former == FORMER_IN_DOUBT && client->client_state == CLIENT_LIVE && client->connected) {
            return CLIENTS_E_TWICE;
        }
        n_copies += former == FORMER_COPY;
        if (former == FORMER_IN_DOUBT || former == FORMER_OVER) {
            is_ending = true;
            former_end(core, client, now_ms);
        }
    }
    if (is_ending || n_copies >= COPIES_MAX) {
        return is_ending ? CLIENTS_E_ENDING : CLIENTS_E_COPIES;
    }
    const uint32_t per_uid = core->config.clients_per_uid;
    if (per_uid > 0 && !core_is_admin(core, identity->uid) &&
        clients_count_of(&core->clients, identity->uid) >= per_uid) {
        return CLIENTS_E_USER;
    }
    const int r = clients_add(&core->clients, identity, nonce, core_tick(core, now_ms), ret_client);
    core->n_clients_seen += r == 0;
    return r;
}

static int client_resume(struct client *client, struct client **ret_client)
{
    if (client->lost) {
        return CLIENTS_E_LOST;
    }
    client->connected = true;
    *ret_client = client;
    return 0;
}

int core_resume(struct core *core, const struct client_identity *identity, uint64_t nonce,
                struct client **ret_client)
{
    struct client *client = NULL;
    int r = CLIENTS_E_GONE;
    /* The nonce is its right: the user may be another by now, if the process surely is the same. */
    for (struct client *next = clients_next(&core->clients, 0); next && !client;
         next = clients_next(&core->clients, next->slot + 1)) {
        if (next->client_state == CLIENT_LIVE && client_is_process(next, identity)) {
            client = next->nonce == nonce ? next : NULL;
            r = CLIENTS_E_DENIED;
        }
    }
    return client ? client_resume(client, ret_client) : r;
}

int core_return(struct core *core, uint32_t slot, uint64_t nonce, struct client **ret_client)
{
    struct client *client = clients_next(&core->clients, slot);
    if (!client || client->slot != slot || client->client_state != CLIENT_LIVE) {
        return CLIENTS_E_GONE;
    }
    return client->nonce == nonce ? client_resume(client, ret_client) : CLIENTS_E_DENIED;
}

void core_end(struct core *core, struct client *client, bool left, uint64_t now_ms)
{
    clients_end(&core->clients, client, left, core_tick(core, now_ms));
    core->reap_again += core->reap_from != 0;
}

/* A step of the reaping, and what it has cost. */
struct reap {
    struct core *core;
    uint32_t budget;
    uint32_t spent;
    bool noted; /* a block of a lease was */
};

static void reap_note(const struct direct_block *block, void *user)
{
    struct reap *reap = user;
    reap->spent += obituaries_note(&reap->core->obituaries, block);
}

/* However small the budget is, each step notes some. */
static bool reap_note_told(const struct direct_block *block, void *user)
{
    struct reap *reap = user;
    if (reap->spent >= reap->budget && reap->noted) {
        return false;
    }
    reap->noted = true;
    reap->core->reap_noted++;
    reap_note(block, reap);
    return true;
}

/* 16 pages of the smallest blocks have 16,384 entries: a step is never much more than that. */
#define REAP_AT_ONCE_PAGES 16

/*
 * Reads what a lease of an ended client says of its blocks, one last time, as far as the budget
 * goes. Pages before core->reap_at, and blocks before core->reap_block, have been read by an
 * earlier step. Return: whether the run is read.
 */
static bool reap_read(struct reap *reap, const struct client *client, uint32_t page, uint32_t end)
{
    struct core *core = reap->core;
    /* By this walk, of this client: before that, others may have had the pages. */
    const bool is_begun = core->reap_slot == client->slot && core->reap_at >= page;
    uint32_t at = is_begun ? core->reap_at : page;
    struct seg_off stopped = is_begun ? core->reap_block : (struct seg_off){0};
    bool goes_on = at < end;
    while (goes_on) {
        const uint32_t until = end - at < REAP_AT_ONCE_PAGES ? end : at + REAP_AT_ONCE_PAGES;
        stopped = client_ledger_walk_run(&core->client_ledger, client, &at, until, end, stopped,
                                         reap_note_told, reap, &reap->spent);
        goes_on = at < end && reap->spent < reap->budget;
    }
    if (at < end) {
        core->reap_at = at;
        core->reap_slot = client->slot;
        core->reap_block = stopped;
    } else if (is_begun && at == end) {
        core->reap_at = 0; /* what comes next may be a lease of others that begins before this */
        core->reap_block = (struct seg_off){0};
    }
    return at >= end;
}

/* Takes a lease of an ended client back. Return: whether the walk can go on behind it. */
static bool reap_lease(struct reap *reap, uint32_t page, uint32_t end)
{
    struct core *core = reap->core;
    struct client *client =
        clients_get(&core->clients, PAGE_WORD_OWNER(pages_word(&core->pages, page)));
    if (client->client_state != CLIENT_ENDED) {
        return true;
    }
    if (client->states && !reap_read(reap, client, page, end)) {
        return false;
    }
    leases_reap(&core->leases, client, page);
    core->state.counters->leased_taken_back += core->reap_noted;
    core->reap_noted = 0;
    return true;
}

/* From run to run, until the budget is spent. Return: where to go on; 0: the walk is complete. */
static uint32_t reap_walk(struct reap *reap, uint32_t from_page)
{
    struct core *core = reap->core;
    const uint32_t n_pages = core->state.n_pages;
    uint32_t page = pages_run_of(&core->pages, from_page);
    while (page < n_pages && reap->spent < reap->budget) {
        const uint64_t word = pages_word(&core->pages, page);
        const uint32_t end = page + PAGE_WORD_PAGES(word);
        reap->spent++;
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT) {
            reap->spent += core->direct.ledger->heads[page].n_carved;
            KMEM_CRASH_POINT("server.reap.direct");
            direct_reap_run(&core->direct, page, reap_note, reap);
        } else if (PAGE_WORD_STATE(word) == PAGE_LEASED && !reap_lease(reap, page, end)) {
            return page;
        }
        page = end;
    }
    return page < n_pages ? page : 0;
}

static void core_note_used_by(struct core *core, struct client *client)
{
    client_note_used(client, counted_peak_bytes(client));
    state_raise(&core->state.counters->peak_used_bytes, client->stored->peak_used_bytes);
}

/*
 * Writes the obituaries of ended clients that hold nothing any more. Return: whether those of all
 * of them are written.
 */
static bool reap_bury(struct reap *reap, core_obituary_fn written, void *user)
{
    struct core *core = reap->core;
    struct client *client = clients_next(&core->clients, 0);
    while (client && core->clients.n_ended > 0) {
        if (client->client_state == CLIENT_ENDED && client->n_blocks == 0 &&
            client->leased_pages == 0) {
            if (reap->spent >= reap->budget ||
                !obituaries_prepare(&core->obituaries, client, reap->budget)) {
                return false;
            }
            const uint32_t slot = client->slot;
            core_note_used_by(core, client); /* the last that it counted */
            const struct obituary *obituary = obituaries_write(&core->obituaries, client);
            KMEM_CRASH_POINT("server.obituary.written");
            clients_remove(&core->clients, client);
            written(obituary, slot, user);
            reap->spent += REAP_BURIAL_COST + core->clients.n_slots;
        }
        client = clients_next(&core->clients, client->slot + 1);
    }
    return true;
}

void core_reap(struct core *core, uint32_t budget, core_obituary_fn written, void *user)
{
    struct reap reap = {.core = core, .budget = budget};
    if (!reap_bury(&reap, written, user)) {
        return;
    }
    if (!core_has_dead(core)) {
        core->reap_from = 0;
        return;
    }
    if (core->reap_from == 0) {
        core->reap_again = 0;
        core->reap_at = 0;
        core->reap_block = (struct seg_off){0};
    }
    reap.spent = 0; /* at least one run is looked at */
    core->reap_from = reap_walk(&reap, core->reap_from);
    reap.spent = 0; /* and what it was the last of is written */
    const bool buried = reap_bury(&reap, written, user);
    /* A whole walk leaves only those who ended while it was under way. */
    KMEM_ASSERT(core->reap_from != 0 || core->reap_again != 0 || !buried || !core_has_dead(core));
}

uint64_t core_segment_bytes(const struct core *core)
{
    return (uint64_t)core->state.n_pages << PAGE_SHIFT;
}

uint64_t core_resident_bytes(const struct core *core)
{
    const struct core_config *config = &core->config;
    return config->resident ? config->resident(config->resident_user) : 0;
}

uint64_t core_free_bytes(const struct core *core)
{
    return core->pages.n_free_pages << PAGE_SHIFT;
}

uint64_t core_largest_free_bytes(const struct core *core)
{
    return (uint64_t)pages_largest_free_extent(&core->pages) << PAGE_SHIFT;
}

uint64_t core_largest_extent_bytes(const struct core *core)
{
    return (uint64_t)pages_largest_extent(&core->pages) << PAGE_SHIFT;
}

uint64_t core_direct_overhead_bytes(const struct core *core)
{
    return PAGE_BYTES + core->direct.slab_bytes - core->direct.used_bytes;
}

uint64_t core_direct_rounding_bytes(const struct core *core)
{
    return core->direct.block_bytes - core->direct.used_bytes;
}

uint64_t core_direct_slab_bytes(const struct core *core)
{
    return core->direct.slab_bytes - core->direct.block_bytes;
}

bool core_may_have(const struct core *core, const struct client *client, uint64_t num_bytes)
{
    const uint64_t quota_bytes = core->config.quota_bytes;
    uint64_t charged_bytes;
    return quota_bytes == 0 ||
           (checked_add(client_charged_bytes(client), num_bytes, &charged_bytes) &&
            charged_bytes <= quota_bytes);
}

void core_note_peak(struct core *core)
{
    struct state_counters *counters = core->state.counters;
    state_raise(&counters->peak_bytes,
                core->direct.used_bytes + (core->leases.n_pages << PAGE_SHIFT));
    state_raise(&counters->peak_used_bytes, core->direct.used_bytes);
}

void core_note_used(struct core *core)
{
    uint64_t used_bytes = 0;
    struct state_counters *counters = core->state.counters;
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        const uint64_t live_bytes = counted_live_bytes(client);
        /* Who does without the library counts nothing, and has direct blocks only. */
        used_bytes += live_bytes > client->num_bytes ? live_bytes : client->num_bytes;
        core_note_used_by(core, client);
    }
    state_raise(&counters->peak_used_bytes, used_bytes);
}

struct counted core_counted(const struct core *core)
{
    struct counted sum = obituaries_counted(&core->obituaries);
    const struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        const struct counted counted = counted_read(client);
        counted_add(&sum, &counted);
    }
    sum.n_releases += core->state.counters->leased_taken_back;
    return sum;
}

int core_check(const struct core *core)
{
    if (pages_check(&core->pages) || reasons_check(&core->reasons) ||
        clients_check(&core->clients) || direct_check(&core->direct) ||
        leases_check(&core->leases) || obituaries_check(&core->obituaries)) {
        return CORE_E_CORRUPT;
    }
    const uint64_t sum = core->direct.used_bytes + core_free_bytes(core) +
                         core_direct_overhead_bytes(core) + (core->leases.n_pages << PAGE_SHIFT);
    return sum == core_segment_bytes(core) ? 0 : CORE_E_CORRUPT;
}
