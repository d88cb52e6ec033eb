/* SPDX-License-Identifier: MIT */
#include "tests/crash/check.h"

#include <string.h>

#include "tests/crash/operation.h"

static uint64_t obituaries_before;

static uint64_t given_before[STATE_MAYBE_DIRTY_WORDS(N_PAGES)];

void check_remember(void)
{
    memcpy(given_before, (void *)core.state.maybe_dirty, sizeof(given_before));
    model_before = model;
    obituaries_before = core.obituaries.n_written;
}

static bool is_used_at(const struct client *client, uint32_t page)
{
    return (lease_state_of(client->states, page) & LEASE_STATE_MASK) == LEASE_USED;
}

/*
 * What a client uses is leased to it, and to nobody else; it uses what it used. A slab is taken
 * whole or not at all, and none is left asked for.
 */
static void check_leases(void)
{
    for (uint32_t i = 0; i < model.n_clients; i++) {
        const struct model_client *known = &model.clients[i];
        const struct client *client = known->client;
        for (uint32_t page = 1; page < N_PAGES; page++) {
            const uint64_t word = pages_word(&core.pages, pages_run_of(&core.pages, page));
            const bool is_mine =
                PAGE_WORD_STATE(word) == PAGE_LEASED && PAGE_WORD_OWNER(word) == client->slot;
            const uint32_t lease_state = lease_state_of(client->states, page) & LEASE_STATE_MASK;
            const bool is_used = lease_state == LEASE_USED;
            EXPECT(is_mine == (is_used || lease_state == LEASE_FREE));
            EXPECT(is_used == (known->used >> page & 1) || known->idle >> page & 1);
            EXPECT((lease_flags_of(client->states, page) & LEASE_ASKED) == 0);
            EXPECT((known->slabs_of_two >> page & 1) == 0 ||
                   is_used == is_used_at(client, page + 1));
        }
    }
}

/* Client by client as the kernel says who it is, and as it was welcomed. */
static void check_clients(void)
{
    bool is_taken[SLOTS_SAVED] = {false};
    uint32_t n_joined = 0;
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        const struct client_identity identity = identity_of(i);
        const struct client *client = clients_find(&core.clients, &identity);
        const struct model_client *known = model_of(i);
        EXPECT((client != NULL) == (known != NULL));
        if (client) {
            EXPECT(client == peers[i].client);
            EXPECT(client->client_state == CLIENT_LIVE);
            EXPECT(client->connected);
            EXPECT(client->slot == known->slot);
            EXPECT(client->nonce == known->nonce);
            EXPECT(client->identity.uid == identity.uid);
            EXPECT(client->identity.gid == identity.gid);
            EXPECT(strcmp(client->identity.command, identity.command) == 0);
            is_taken[client->slot] = true;
            n_joined++;
        }
    }
    EXPECT(core.clients.n_live == n_joined);
    EXPECT(core.clients.n_ended == 0);
    for (uint32_t slot = 0; slot < SLOTS_SAVED; slot++) {
        EXPECT(has_ledger[slot] == is_taken[slot]);
    }
}

static uint32_t user_of(const struct model_block *block)
{
    return uid_of(block->pid - identity_of(0).pid);
}

/* What each user's clients are charged is what the user's blocks and leases come to. */
static void check_charges(void)
{
    for (uint32_t uid = uid_of(0); uid < uid_of(0) + N_UIDS; uid++) {
        uint64_t num_bytes = 0;
        uint64_t charged_bytes = 0;
        for (uint32_t i = 0; i < model.n_blocks; i++) {
            num_bytes += user_of(&model.blocks[i]) == uid ? model.blocks[i].num_bytes : 0;
        }
        for (uint32_t page = 0; page < N_PAGES; page++) {
            const uint64_t word = pages_word(&core.pages, pages_run_of(&core.pages, page));
            const bool is_leased = PAGE_WORD_STATE(word) == PAGE_LEASED;
            num_bytes += is_leased && core.clients.table[PAGE_WORD_OWNER(word)].identity.uid == uid
                             ? PAGE_BYTES
                             : 0;
        }
        const struct client *client = clients_next(&core.clients, 0);
        for (; client; client = clients_next(&core.clients, client->slot + 1)) {
            charged_bytes += client->identity.uid == uid ? client_charged_bytes(client) : 0;
        }
        EXPECT(charged_bytes == num_bytes);
    }
}

/* Each refusal that is told is counted, and what was asked again is one of them. */
static void check_refusals(void)
{
    struct peer peer = {.role = PEER_OBSERVER};
    const Kmem__Response *response =
        ask(&peer, request_plain(NEW_REQUEST, KMEM__REQUEST__BODY_REFUSALS));
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_REFUSALS);
    uint64_t n_told = 0;
    uint64_t n_counted = 0;
    for (size_t i = 0; i < response->refusals->n_refusals; i++) {
        n_told += response->refusals->refusals[i]->n_times;
    }
    for (size_t i = 0; i < response->refusals->n_counts; i++) {
        n_counted += response->refusals->counts[i]->n_times;
    }
    EXPECT(n_told <= n_counted);
    peer_fini(&core, &peer);
}

/* Nothing has more than it may. */
static void check_limits(void)
{
    struct peer peer = {.role = PEER_OBSERVER};
    const Kmem__Response *response =
        ask(&peer, request_plain(NEW_REQUEST, KMEM__REQUEST__BODY_LIMITS));
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_LIMITS);
    for (size_t i = 0; i < response->limits->n_limits; i++) {
        const Kmem__Limit *limit = response->limits->limits[i];
        EXPECT(limit->limit == 0 || limit->used <= limit->limit);
    }
    peer_fini(&core, &peer);
}

/* The daemon's own sum by user. */
static void check_roll_up(void)
{
    struct peer peer = {.role = PEER_OBSERVER};
    uint64_t n_blocks = 0;
    const Kmem__Response *response =
        ask(&peer, request_ledger(NEW_REQUEST, KMEM__GROUP_BY__GROUP_BY_UID, 0));
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_LEDGER);
    for (size_t row = 0; row < response->ledger->n_rows; row++) {
        const Kmem__LedgerRow *is = response->ledger->rows[row];
        uint64_t num_bytes = 0;
        for (uint32_t i = 0; i < model.n_blocks; i++) {
            num_bytes += user_of(&model.blocks[i]) == is->uid ? model.blocks[i].num_bytes : 0;
        }
        EXPECT(is->num_bytes == num_bytes);
        n_blocks += is->n_blocks;
    }
    EXPECT(n_blocks == model.n_blocks);
    peer_fini(&core, &peer);
}

/* What it held, or, if a server was killed while it was taken back, a part of that. */
static void check_obituary(uint64_t number)
{
    const struct obituary *obituary = obituaries_next(&core.obituaries, number);
    const struct client_identity identity = identity_of(op.client);
    const struct model_client *const ended = model_client(&model_before, identity.pid);
    const uint64_t n_blocks = ended ? ended->n_blocks : 0;
    EXPECT(obituary != NULL);
    EXPECT(obituary->number == number);
    EXPECT(obituary->identity.pid == identity.pid);
    EXPECT(obituary->identity.start_time == identity.start_time);
    EXPECT(strcmp(obituary->identity.command, identity.command) == 0);
    if (op_ends() && number == obituaries_before + 1) {
        EXPECT(obituary->left == (op.kind != OP_END));
        EXPECT(obituary->n_blocks == n_blocks || (obituary->n_blocks < n_blocks && !is_told));
    } else {
        EXPECT(obituary->n_blocks == 0);
    }
}

/* Whoever ended has one obituary, however often it was begun; who was killed with the server while
   it joined may have one, too. */
static void check_obituaries(void)
{
    const uint64_t n_new = core.obituaries.n_written - obituaries_before;
    const bool may_have_joined = !is_told && (op.kind == OP_JOIN || op.kind == OP_REJOIN);
    EXPECT(n_new >= op_ends());
    EXPECT(n_new <= (uint64_t)op_ends() + may_have_joined);
    for (uint64_t i = 1; i <= n_new; i++) {
        check_obituary(obituaries_before + i);
    }
}

static bool is_given(uint32_t page)
{
    return core.state.maybe_dirty[page / 64] >> page % 64 & 1;
}

/* What a client has, or may have had a moment ago, is not taken for zero. */
static void check_given_page(uint32_t page)
{
    const bool was_given = given_before[page / 64] >> page % 64 & 1;
    EXPECT(is_given(page) || !was_given);
    for (uint32_t slot = 0; slot < SLOTS_SAVED; slot++) {
        EXPECT(is_given(page) || !has_ledger[slot] ||
               (lease_state_of(states_in(slot), page) & LEASE_STATE_MASK) == LEASE_NONE);
    }
}

void check_given(void)
{
    uint32_t end;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        check_given_page(page);
    }
    for (uint32_t page = 0; page < N_PAGES; page = end) {
        const uint64_t word = core.state.page_words[page];
        end = page + PAGE_WORD_PAGES(word);
        for (uint32_t i = page; i < end && PAGE_WORD_STATE(word) == PAGE_DIRECT; i++) {
            EXPECT(is_given(i));
        }
    }
}

void check(void)
{
    EXPECT(core_check(&core) == 0);
    EXPECT(core.pages.n_pages == model.n_pages);
    check_given();
    check_clients();
    EXPECT(model_blocks_equal(&model, &core));
    check_leases();
    check_charges();
    check_obituaries();
    if (at_j == 0 && at_i == 0) {
        check_roll_up();
        check_refusals();
        check_limits();
    }
}

void check_end(void)
{
    struct client *client = clients_next(&core.clients, 0);
    for (; client; client = clients_next(&core.clients, client->slot + 1)) {
        core_end(&core, client, false, NOW_MS);
    }
    world_reap();
    EXPECT(core_check(&core) == 0);
    EXPECT(core_free_bytes(&core) == (core.pages.n_pages - 1) * PAGE_BYTES);
    EXPECT(core.pages.state->page_words[1] == PAGE_WORD(PAGE_FREE, 0, core.pages.n_pages - 1));
    EXPECT(core.clients.n_live + core.clients.n_ended == 0);
    EXPECT(core.direct.n_blocks == 0);
    EXPECT(core.leases.n_pages == 0);
    EXPECT(core.reasons.n_live == 0);
    for (uint32_t slot = 0; slot < SLOTS_SAVED; slot++) {
        EXPECT(!has_ledger[slot]);
    }
}
