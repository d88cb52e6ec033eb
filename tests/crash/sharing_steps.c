/* SPDX-License-Identifier: MIT */
/*
 * sharing_steps.c - random requests about shared blocks, servers killed in them, beside a model
 *
 * Four clients allocate, share, attach, hand over, publish, unpublish, follow names and let go, one
 * by one and many at a time; they take home what comes back to their leases, end, and join anew.
 * In every third request, and in reapings, the server is killed: at a store that outlives it or a
 * crash point, any of them. Now and then the next one is killed in its start. Then the clients come
 * back, and the one that has had no answer asks again, or ends instead. After each step the core
 * and what the model says are compared: an answer that was given twice has happened once.
 *
 * crash_sharing_steps [STEPS [SEED]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/reap.h"
#include "tests/crash/places.h"
#include "tests/crash/sharing_asked.h"
#include "tests/unit/sharing_model.h"

#define N_PAGES 512
#define LEASE_PAGES 12
/* So few places of its ring a client leaves: what it takes it says late. */
#define RING_ROOM 3

static struct core *const core = &talk.fixture.core;
static uint32_t n_steps = 100000;
static struct peer peers[N_HONEST];
static uint32_t pids[N_HONEST];
static uint64_t sequences[N_HONEST];
static uint32_t lease[N_HONEST]; /* its first page: a slab */
static uint64_t n_taken[N_HONEST];
static uint32_t n_pids = 1;
static uint32_t n_home;
static uint32_t n_kills;
static uint32_t n_start_kills;
static uint32_t n_ended_instead;

/* ------------------------------------------------------------------------------ the killer ---- */

/* Most things have fewer places than 16; an adoption has more than 64. */
static uint32_t some_place(void)
{
    return one_in(2) ? PLACE_NEVER : one_in(4) ? below(100) : below(8);
}

static void start_again(void)
{
    char why[FIXTURE_WHY_BYTES] = "";
    if (fixture_restart(&talk.fixture, why) != 0) {
        fail_msg("step %u: %s", n_step, why);
    }
}

/* Another server goes on; those that live come back to it. */
static void restart(void)
{
    for (uint32_t who = 0; who < N_HONEST; who++) {
        if (slots[who] != NONE && pids[who] != 0) {
            peer_close(&talk, &peers[who]);
        }
    }
    while (is_killed(one_in(4) ? below(8) : PLACE_NEVER, start_again)) {
        n_start_kills++;
    }
    for (uint32_t who = 0; who < N_HONEST; who++) {
        if (slots[who] != NONE && pids[who] != 0) {
            share_talk_come_back(&peers[who]);
        }
    }
}

/* ---------------------------------------------------------------------------------- asking ---- */

static void end(uint32_t who);

/* Asks until there is an answer. Return: whether there is: the client may end instead, if it comes
   to the same whether the request was done. */
static bool put(uint32_t who, void (*send)(void), bool may_end)
{
    asked.peer = &peers[who];
    talk.sequence = ++sequences[who];
    while (is_killed(some_place(), send)) {
        n_kills++;
        restart();
        if (may_end && one_in(8)) {
            talk.sequence = 0;
            n_ended_instead++;
            end(who);
            return false;
        }
    }
    talk.sequence = 0;
    return true;
}

/* ----------------------------------------------------------------------------------- steps ---- */

/* The owner's entry of a leased block goes with the block. */
static void retire(uint32_t who, struct seg_off off)
{
    struct ledger *ledger = &talk.fixture.ledgers[slots[who]];
    struct ledger_block block;
    EXPECT(ledger_find(ledger, off, &block) == 0);
    EXPECT(entry_is_shared(atomic_load(&block.entry->word)));
    ledger_give(ledger, &block);
}

/* A client is told whether others keep what it has let go of; else what is of its lease is its. */
static void let_go_of(uint32_t i, uint32_t who, bool kept)
{
    const struct model_block *block = &blocks[i];
    const bool is_last = model_is_last(i, who);
    EXPECT(kept == !is_last);
    if (is_last && block->is_leased && block->owner == who) {
        retire(who, block->off);
    }
    model_release(i, who);
}

static void step_allocate(uint32_t who)
{
    const uint32_t i = free_block();
    const struct ledger *ledger = &talk.fixture.ledgers[slots[who]];
    if (i == NONE) {
        return;
    }
    struct model_block fresh = {.is_used = true, .owner = who, .owner_holds = true, .giver = NONE};
    fresh.is_leased = one_in(2) && !ledger_slab_is_full(&ledger->heads[lease[who]]);
    if (fresh.is_leased) {
        fresh.off = fixture_take(&talk.fixture, peers[who].client, lease[who], BLOCK_BYTES);
    } else if (put(who, send_allocate, true)) {
        EXPECT(said(KMEM__RESPONSE__BODY_ALLOCATED));
        fresh.off.bytes = talk.reply->response.allocated->offset;
    } else {
        return;
    }
    blocks[i] = fresh;
}

static void step_share(uint32_t who)
{
    const uint32_t i = pick_block();
    if (i == NONE) {
        return;
    }
    struct model_block *block = &blocks[i];
    asked.offsets[0] = block->off.bytes;
    asked.is_set = one_in(4);
    (void)put(who, send_share, false);
    if (!model_may_give(block, who)) {
        EXPECT(said_not_held());
        return;
    }
    const struct share_handle handle = said_handle();
    EXPECT(!block->is_shared || memcmp(&handle, &block->handle, sizeof(handle)) == 0);
    block->is_shared = true;
    block->is_read_only = asked.is_set;
    block->handle = handle;
}

/* Some blocks, no two of them the same. Return: how many. */
static uint32_t pick_many(uint32_t n_wanted, uint32_t picked[MANY], uint32_t (*pick)(uint32_t who),
                          uint32_t who)
{
    uint32_t n = 0;
    for (uint32_t tries = 0; tries < 4 * n_wanted && n < n_wanted; tries++) {
        const uint32_t i = pick(who);
        bool is_new = i != NONE;
        for (uint32_t j = 0; j < n; j++) {
            is_new = is_new && picked[j] != i;
        }
        picked[n] = i;
        n += is_new;
    }
    return n;
}

static uint32_t pick_any(uint32_t who)
{
    (void)who;
    return pick_block();
}

/* All are attached, or none. */
static void step_attach(uint32_t who)
{
    uint32_t picked[MANY];
    int refused = 0;
    bool may_end = true;
    asked.n = pick_many(one_in(2) ? 1 : 1 + below(MANY), picked, pick_any, who);
    asked.is_set = one_in(2);
    if (asked.n == 0) {
        return;
    }
    for (uint32_t j = 0; j < asked.n; j++) {
        const bool is_gone = !blocks[picked[j]].is_shared || one_in(16);
        asked.handles[j] = is_gone ? stale : blocks[picked[j]].handle;
        const int r =
            is_gone ? SHARING_E_STALE : model_may_attach(&blocks[picked[j]], who, asked.is_set);
        refused = refused ? refused : r;
        may_end = may_end && !blocks[picked[j]].is_offered; /* who took it up takes it along */
    }
    if (!put(who, send_attach, may_end)) {
        return;
    }
    if (refused) {
        EXPECT(said_error(refused == SHARING_E_STALE ? KMEM__ERROR_CODE__ERROR_STALE
                                                     : KMEM__ERROR_CODE__ERROR_DENIED));
        return;
    }
    EXPECT(said(KMEM__RESPONSE__BODY_ATTACHED));
    EXPECT(talk.reply->response.attached->n_blocks == asked.n);
    for (uint32_t j = 0; j < asked.n; j++) {
        const Kmem__AttachedBlock *row = talk.reply->response.attached->blocks[j];
        EXPECT(row->offset == blocks[picked[j]].off.bytes);
        EXPECT(row->is_own == (blocks[picked[j]].owner == who));
        model_attach(picked[j], who);
    }
}

/* A client takes a block of its own lease home by itself, and asks about no other's. */
static bool can_ask_for(uint32_t i)
{
    return blocks[i].is_shared || !blocks[i].is_leased;
}

static void step_release(uint32_t who)
{
    const uint32_t i = pick_held(who);
    if (i == NONE || !can_ask_for(i)) {
        return;
    }
    asked.offsets[0] = blocks[i].off.bytes;
    if (!put(who, send_release, true)) {
        return;
    }
    if (!model_is_held_by(&blocks[i], who)) {
        EXPECT(said_not_held());
        return;
    }
    EXPECT(said(KMEM__RESPONSE__BODY_RELEASED));
    let_go_of(i, who, talk.reply->response.released->kept);
}

static void step_release_many(uint32_t who)
{
    uint32_t picked[MANY] = {0};
    asked.n = pick_many(1 + below(MANY), picked, pick_held, who);
    for (uint32_t j = 0; j < asked.n; j++) {
        if (!can_ask_for(picked[j])) {
            return;
        }
        asked.offsets[j] = blocks[picked[j]].off.bytes;
    }
    if (asked.n == 0 || !put(who, send_release_many, true)) {
        return;
    }
    EXPECT(said(KMEM__RESPONSE__BODY_RELEASED_MANY));
    const Kmem__ReleasedMany *answer = talk.reply->response.released_many;
    uint32_t n = 0;
    for (; n < asked.n && model_is_held_by(&blocks[picked[n]], who); n++) {
        EXPECT(n < answer->n_released);
        let_go_of(picked[n], who, answer->released[n]->kept);
    }
    EXPECT(answer->n_released == n);
    EXPECT((answer->refused != NULL) == (n < asked.n));
}

static void step_transfer(uint32_t who)
{
    const uint32_t i = pick_held(who);
    if (i == NONE) {
        return;
    }
    asked.offsets[0] = blocks[i].off.bytes;
    asked.is_set = one_in(2);
    (void)put(who, send_transfer, false);
    if (!model_may_give(&blocks[i], who)) {
        EXPECT(said_not_held());
    } else if (!model_is_last(i, who)) {
        EXPECT(said_error(KMEM__ERROR_CODE__ERROR_HELD));
    } else {
        blocks[i].is_shared = true;
        blocks[i].handle = said_handle();
        model_offer(i, who, asked.is_set);
    }
}

/* What an unshared block's handle is, that a name means from now on. */
static void learn_handle(uint32_t i)
{
    blocks[i].is_shared = true;
    blocks[i].handle = shares_handle(&core->shares, shares_at(&core->shares, blocks[i].off));
}

static void step_publish(uint32_t who)
{
    const uint32_t i = pick_held(who);
    const uint32_t which = below(N_NAMES);
    char text[8];
    if (i == NONE) {
        return;
    }
    asked.name = name_text(which, text).text;
    asked.offsets[0] = blocks[i].off.bytes;
    asked.flags = (one_in(2) ? GIVE : 0) | (one_in(4) ? KEEP : 0) | (one_in(4) ? EXCLUSIVE : 0);
    (void)put(who, send_publish, false);
    const uint32_t former = names[which].block;
    if (former != NONE && (asked.flags & EXCLUSIVE) != 0 && names[which].owner != who) {
        EXPECT(said_error(KMEM__ERROR_CODE__ERROR_EXISTS));
        return;
    }
    if (!model_is_held_by(&blocks[i], who)) {
        EXPECT(said_not_held());
        return;
    }
    EXPECT(said(KMEM__RESPONSE__BODY_PUBLISHED));
    const Kmem__Published *published = talk.reply->response.published;
    EXPECT(former == NONE || published->version > names[which].version);
    names[which] = (struct model_name){i, who, (asked.flags & KEEP) != 0, published->version};
    if (!blocks[i].is_shared) {
        learn_handle(i);
    }
    if (former != NONE) {
        model_settle(former);
    }
    if ((asked.flags & GIVE) != 0) {
        let_go_of(i, who, published->kept);
    }
}

static void step_unpublish(uint32_t who)
{
    const uint32_t which = below(N_NAMES);
    const uint32_t former = names[which].block;
    char text[8];
    asked.name = name_text(which, text).text;
    (void)put(who, send_unpublish, false);
    if (former == NONE) {
        EXPECT(said_error(KMEM__ERROR_CODE__ERROR_NO_NAME));
        return;
    }
    EXPECT(said(KMEM__RESPONSE__BODY_UNPUBLISHED)); /* all are of one user */
    names[which].block = NONE;
    model_settle(former);
}

static void next_let_go(uint32_t old, uint32_t target, uint32_t who)
{
    if (old == NONE) {
        EXPECT(said_released() == NULL);
        return;
    }
    EXPECT(said_released() != NULL);
    if (old == target) {
        EXPECT(said_released()->kept); /* it is held on */
    } else {
        let_go_of(old, who, said_released()->kept);
    }
}

static void step_next(uint32_t who)
{
    const uint32_t which = below(N_NAMES);
    const bool is_old = one_in(4);
    const uint32_t old = one_in(2) ? pick_held(who) : NONE;
    char text[8];
    if (old != NONE && !can_ask_for(old)) {
        return;
    }
    asked.next = (struct asked_next){
        .name = name_text(which, text).text,
        .after = is_old ? names[which].version : 0,
        .release_offset = old != NONE ? blocks[old].off.bytes : 0,
        .write = one_in(2),
        .only_wait = one_in(8),
    };
    if (!put(who, send_next, true)) {
        return;
    }
    if (old != NONE && !model_is_held_by(&blocks[old], who)) {
        EXPECT(said_not_held());
        return;
    }
    const uint32_t i = names[which].block;
    const bool is_newer = i != NONE && !is_old;
    next_let_go(old, is_newer && !asked.next.only_wait ? i : NONE, who);
    if (!is_newer) {
        EXPECT(
            said_error(i == NONE ? KMEM__ERROR_CODE__ERROR_NO_NAME : KMEM__ERROR_CODE__ERROR_OLD));
    } else if (asked.next.only_wait) {
        EXPECT(said(KMEM__RESPONSE__BODY_NEXTED));
        EXPECT(talk.reply->response.nexted->version == names[which].version);
    } else if (model_may_attach(&blocks[i], who, asked.next.write) != 0) {
        EXPECT(said_error(KMEM__ERROR_CODE__ERROR_DENIED));
        if (old == i) {
            model_release(i, who); /* it is let go of, whatever else is true */
        }
    } else {
        EXPECT(said(KMEM__RESPONSE__BODY_NEXTED));
        EXPECT(talk.reply->response.nexted->version == names[which].version);
        EXPECT(talk.reply->response.nexted->block->offset == blocks[i].off.bytes);
        model_attach(i, who);
    }
}

/* ------------------------------------------------------------------------ coming and going ---- */

static void join(uint32_t who)
{
    const uint32_t size_class = size_class_of(BLOCK_BYTES);
    pids[who] = 3 * n_pids++; /* all of one user */
    peer_open_member(&talk, &peers[who], pids[who]);
    struct client *client = peers[who].client;
    struct ledger *ledger = fixture_ledger(&talk.fixture, client);
    slots[who] = client->slot;
    sequences[who] = 0;
    lease[who] = fixture_lease(&talk.fixture, client, LEASE_PAGES);
    fixture_carve(&talk.fixture, client, lease[who], size_class);
    n_taken[who] = 0;
    atomic_store(&ledger->returns->n_taken, (uint64_t)0 - (RETURNS_MAX - RING_ROOM));
}

static struct {
    uint32_t slot;
    uint32_t budget;
    bool left;
} ending;

static void perform_end(void)
{
    if (clients_has(&core->clients, ending.slot) &&
        clients_get(&core->clients, ending.slot)->client_state == CLIENT_LIVE) {
        core_end(core, clients_get(&core->clients, ending.slot), ending.left, talk.fixture.now_ms);
    }
    while (core_has_dead(core)) {
        fixture_reap(&talk.fixture, ending.budget);
    }
}

static void end(uint32_t who)
{
    peer_close(&talk, &peers[who]);
    ending.slot = slots[who];
    ending.budget = 1 + below(2000);
    ending.left = one_in(2);
    pids[who] = 0; /* it does not come back */
    while (is_killed(one_in(2) ? below(100) : PLACE_NEVER, perform_end)) {
        n_kills++;
        restart();
    }
    fixture_ledger_close(&talk.fixture, slots[who]);
    model_end(who);
    slots[who] = NONE;
}

/* The client takes what has come home; each block once. */
static void step_take_home(uint32_t who)
{
    struct ledger_returns *ring = talk.fixture.ledgers[slots[who]].returns;
    sharing_deliver(core, peers[who].client);
    for (; n_taken[who] != atomic_load(&ring->n_put); n_taken[who]++, n_home++) {
        const uint64_t said = atomic_load(&ring->offsets[n_taken[who] % RETURNS_MAX]);
        const uint64_t offset = said & ~RETURNS_WRITTEN;
        uint32_t i = 0;
        while (i < N_BLOCKS && !(blocks[i].is_coming && blocks[i].off.bytes == offset)) {
            i++;
        }
        EXPECT(i < N_BLOCKS && blocks[i].owner == who);
        retire(who, blocks[i].off);
        model_forget(i);
    }
    atomic_store(&ring->n_taken, n_taken[who] - (RETURNS_MAX - RING_ROOM));
}

/* ---------------------------------------------------------------------------------- a step ---- */

static void (*const kinds[])(uint32_t who) = {
    step_release,  step_release_many, step_allocate,  step_share, step_attach,    step_attach,
    step_transfer, step_publish,      step_unpublish, step_next,  step_take_home, step_next,
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void step(void)
{
    for (uint32_t who = 0; who < N_HONEST; who++) {
        if (slots[who] == NONE && one_in(10)) {
            join(who);
        }
    }
    const uint32_t who = pick_honest();
    if (who == NONE) {
        return;
    }
    const uint32_t kind = below(N_KINDS + 1);
    if (kind < N_KINDS) {
        kinds[kind](who);
    } else if (one_in(4)) {
        leases_return_all(&core->leases);
    } else if (one_in(4)) {
        end(who);
    }
}

static void test_steps_of_sharing_with_server_kills_are_like_the_model(void **state)
{
    (void)state;
    print_message("seed %llu, %u steps\n", (unsigned long long)seeded.state, n_steps);
    conversation_init(&talk, N_PAGES, CLIENTS_MAX);
    memset(names, 0xff, sizeof(names));
    memset(slots, 0xff, sizeof(slots));
    for (uint32_t who = 0; who < N_HONEST; who++) {
        join(who);
    }
    for (n_step = 0; n_step < n_steps; n_step++) {
        step();
        model_check(core);
    }
    print_message("%u servers were killed, %u of those in their start; %u clients ended for want "
                  "of an answer; %u blocks were adopted, %u came home\n",
                  n_kills + n_start_kills, n_start_kills, n_ended_instead, n_adopted, n_home);
    assert_true(n_kills > n_steps / 20);
    assert_true(n_start_kills > n_steps / 200);
    assert_true(n_ended_instead > n_steps / 1000);
    assert_true(n_adopted > n_steps / 500);
    assert_true(n_home > n_steps / 500);
    for (uint32_t who = 0; who < N_HONEST; who++) {
        if (slots[who] != NONE) {
            peer_close(&talk, &peers[who]);
        }
    }
    conversation_fini(&talk);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_of_sharing_with_server_kills_are_like_the_model),
    };
    n_steps = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : n_steps;
    seeded.state = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261130;
    return cmocka_run_group_tests_name("sharing_steps", tests, NULL, NULL);
}
