/* SPDX-License-Identifier: MIT */
/*
 * core.c - putting the parts together; joining, coming back and ending
 */
#include "daemon/core/core.h"

#include "daemon/core/tick.h"

struct rollup_tables core_tables(const struct core *core)
{
    return (struct rollup_tables){&core->reasons, &core->clients, &core->client_ledger};
}

int core_init(struct core *core, const struct core_config *config, void *state_base,
              uint64_t now_ms)
{
    *core = (struct core){.config = *config};
    state_format(&core->state, state_base, config->n_pages,
                 config->begin_pages > 0 ? config->begin_pages : config->n_pages, config->instance,
                 now_ms);
    const int r = core_open(core);
    KMEM_ASSERT(r <= 0); /* an empty segment adds up */
    return r;
}

/* What questions are answered from. Return: 0 or -ENOMEM; then nothing of it is left. */
static int open_for_questions(struct core *core)
{
    const struct core_config *config = &core->config;
    const struct rollup_tables tables = core_tables(core);
    const uint64_t server = config->random ? config->random(config->random_user) : config->instance;
    int r = client_ledger_init(&core->client_ledger, config->n_pages, config->ledger_read,
                               config->ledger_user);
    if (r) {
        return r;
    }
    r = obituaries_init(&core->obituaries, &core->state, &tables);
    if (r) {
        goto undo_client_ledger;
    }
    r = changes_init(&core->changes, server);
    if (r) {
        goto undo_obituaries;
    }
    return 0;

undo_obituaries:
    obituaries_fini(&core->obituaries);
undo_client_ledger:
    client_ledger_fini(&core->client_ledger);
    return r;
}

/* What can not fail, over the tables that are there. */
static void open_for_memory(struct core *core)
{
    const struct core_config *config = &core->config;
    leases_init(&core->leases, &core->pages, &core->clients, &core->shares);
    core->leases.changes = &core->changes;
    core->leases.accounts = &core->accounts;
    shortage_init(&core->shortage, &core->leases, &core->client_ledger, config->gives_back);
    reclaim_init(&core->reclaim, &core->leases, &core->client_ledger, config->barrier);
    history_init(&core->history, &core->state);
    refusals_init(&core->refusals, &core->state);
    lifetimes_init(&core->lifetimes, core->state.header->instance);
    direct_init(&core->direct, &core->state.ledger, &core->pages, &core->reasons, &core->clients);
    core->direct.budgets = &core->budgets;
}

/* Who may have how much. Return: 0 or -ENOMEM. */
static int open_for_rules(struct core *core)
{
    const struct rules *rules = core->config.rules;
    const int r = budgets_init(&core->budgets, rules, &core->reasons);
    return r ? r : accounts_init(&core->accounts, rules, core->config.owner_uid);
}

static void close_rules(struct core *core)
{
    accounts_fini(&core->accounts);
    budgets_fini(&core->budgets);
}

int core_open(struct core *core)
{
    const struct core_config *config = &core->config;
    int r = pages_init(&core->pages, &core->state);
    if (r) {
        return r;
    }
    r = caps_init(&core->caps, config->caps, config->owner_uid);
    if (r) {
        goto undo_pages;
    }
    r = reasons_init(&core->reasons, &core->state, &core->caps);
    if (r) {
        goto undo_caps;
    }
    r = open_for_rules(core);
    if (r) {
        goto undo_rules;
    }
    r = clients_init(&core->clients, &core->state, config->clients_limit, config->owner_uid);
    if (r) {
        goto undo_rules;
    }
    r = shares_init(&core->shares, &core->state, &core->reasons);
    if (r) {
        goto undo_clients;
    }
    r = names_init(&core->names, &core->state, &core->shares,
                   config->names_limit != 0 ? config->names_limit : SHARE_NAMES_USUAL);
    if (r) {
        goto undo_shares;
    }
    r = returns_init(&core->returns, &core->shares);
    if (r) {
        goto undo_names;
    }
    r = open_for_questions(core);
    if (r) {
        goto undo_returns;
    }
    open_for_memory(core);
    return 0;

undo_returns:
    returns_fini(&core->returns);
undo_names:
    names_fini(&core->names);
undo_shares:
    shares_fini(&core->shares);
undo_clients:
    clients_fini(&core->clients);
undo_rules:
    close_rules(core);
    reasons_fini(&core->reasons);
undo_caps:
    caps_fini(&core->caps);
undo_pages:
    pages_fini(&core->pages);
    return r;
}

void core_fini(struct core *core)
{
    KMEM_ASSERT(core->clients.n_live == 0);
    KMEM_ASSERT(core->clients.n_ended == 0);
    scans_leave(&core->scans, &core->lookout);
    scans_leave(&core->scans, &core->sampler.reader);
    KMEM_ASSERT(scans_are_none(&core->scans));
    KMEM_ASSERT(core->waits.n == 0);
    KMEM_ASSERT(core->shares.n_shares == 0);
    direct_fini(&core->direct);
    leases_fini(&core->leases);
    core_abandon(core);
}

void core_abandon(struct core *core)
{
    scans_leave(&core->scans, &core->lookout); /* these two nothing, behind core_fini() */
    scans_leave(&core->scans, &core->sampler.reader);
    changes_fini(&core->changes);
    obituaries_fini(&core->obituaries);
    client_ledger_fini(&core->client_ledger);
    returns_fini(&core->returns);
    names_fini(&core->names);
    shares_fini(&core->shares);
    clients_fini(&core->clients);
    close_rules(core);
    reasons_fini(&core->reasons);
    caps_fini(&core->caps);
    pages_fini(&core->pages);
}

void core_set_rules(struct core *core, const struct rules *rules)
{
    core->config.rules = rules;
    accounts_set_rules(&core->accounts, rules);
    budgets_set_rules(&core->budgets, rules);
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

void core_find_unit(struct core *core, struct client *client)
{
    accounts_leave(&core->accounts, client);
    client->unit[0] = '\0';
    if (core->config.unit) {
        core->config.unit(&client->identity, client->unit);
    }
    accounts_join(&core->accounts, client);
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
    const int refused = readers_admit(&core->clients, core->config.readers, identity);
    if (refused) {
        return refused;
    }
    const uint32_t per_uid = core->config.clients_per_uid;
    if (per_uid > 0 && !core_is_admin(core, identity->uid) &&
        clients_count_of(&core->clients, identity->uid) >= per_uid) {
        return CLIENTS_E_USER;
    }
    const int r = clients_add(&core->clients, identity, nonce, core_tick(core, now_ms), ret_client);
    core->n_clients_seen += r == 0;
    if (r == 0) {
        core_find_unit(core, *ret_client);
    }
    return r;
}

static int client_resume(struct client *client, bool is_reader, struct client **ret_client)
{
    if (client->identity.is_reader != is_reader) {
        return CLIENTS_E_DENIED;
    }
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
    return client ? client_resume(client, identity->is_reader, ret_client) : r;
}

int core_return(struct core *core, uint32_t slot, uint64_t nonce, bool is_reader,
                struct client **ret_client)
{
    struct client *client = clients_next(&core->clients, slot);
    if (!client || client->slot != slot || client->client_state != CLIENT_LIVE) {
        return CLIENTS_E_GONE;
    }
    return client->nonce == nonce ? client_resume(client, is_reader, ret_client) : CLIENTS_E_DENIED;
}

void core_end(struct core *core, struct client *client, bool left, uint64_t now_ms)
{
    const struct change_facts facts = {.kind = left ? CHANGE_LEFT : CHANGE_DIED};
    core->changes.now_ms = now_ms;
    core_note_change(core, &client->identity, &facts, NULL, 0);
    clients_end(&core->clients, client, left, core_tick(core, now_ms));
    core->reap.n_ended_behind += core->reap.from_page != 0;
}

uint64_t core_segment_bytes(const struct core *core)
{
    return (uint64_t)core->pages.n_pages << PAGE_SHIFT;
}

uint64_t core_most_bytes(const struct core *core)
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

void core_wake(struct core *core, uint32_t bell)
{
    waits_ring(&core->waits, bell, core->config.wake, core->config.wake_user);
}

void core_note_change(struct core *core, const struct client_identity *identity,
                      const struct change_facts *facts, const void *text, size_t n_text_bytes)
{
    changes_note(&core->changes, identity, facts, text, n_text_bytes);
    core->n_changes_rung = core->changes.n_written;
    if (core->waits.n > 0) {
        core_wake(core, CHANGES_BELL);
    }
}

void core_tick_changes(struct core *core, uint64_t now_ms)
{
    core->changes.now_ms = now_ms;
    if (core->n_changes_rung != core->changes.n_written) {
        core->n_changes_rung = core->changes.n_written;
        core_wake(core, CHANGES_BELL);
    }
}

void core_note_peak(struct core *core)
{
    struct state_counters *counters = core->state.counters;
    state_raise(&counters->peak_bytes,
                core->direct.used_bytes + (core->leases.n_pages << PAGE_SHIFT));
    state_raise(&counters->peak_used_bytes, core->direct.used_bytes);
}
