/* SPDX-License-Identifier: MIT */
/*
 * test_recover.c - a core goes on with the state that another one has left
 *
 * What a kill in the middle of something leaves behind is tested exhaustively in tests/crash.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/core/recover.h"
#include "proto/lease.h"
#include "proto/store.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define LIMIT 8

static char why[FIXTURE_WHY_BYTES];

static int recover_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, LIMIT);
    return 0;
}

static struct client *join(uint32_t pid)
{
    struct client *client = fixture_join(&fixture, pid);
    (void)fixture_ledger(&fixture, client);
    return client;
}

static void restart(void)
{
    assert_int_equal(fixture_restart(&fixture, why), 0);
}

/* Wants the state to be refused in these words, puts it in order again, and goes on with it. */
static void assert_refused_until(void (*mend)(void), const char *words)
{
    assert_int_equal(fixture_restart(&fixture, why), RECOVER_E_REFUSED);
    if (strstr(why, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, words);
    }
    mend();
    assert_int_equal(recover(core, &fixture.config, fixture.state_base, fixture_states, &fixture,
                             fixture.now_ms, why, sizeof(why)),
                     0);
    assert_int_equal(core_check(core), 0);
}

static void end(struct client *client)
{
    core_end(core, client, false, fixture.now_ms);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, UINT32_MAX);
    }
}

/* --------------------------------------------------------------------------- what is there ---- */

static void test_recover_of_an_empty_segment_is_one(void **state)
{
    restart();

    assert_int_equal(core_free_bytes(core), (N_PAGES - 1) * PAGE_BYTES);
    assert_int_equal(core->config.instance, UINT64_C(0x1234567890abcdef));
}

static void test_recover_finds_clients_blocks_and_reasons(void **state)
{
    struct client *alice = join(1);
    struct client *bob = join(2);
    const struct seg_off small = fixture_allocate(&fixture, alice, 100, "video/capture");
    const struct seg_off large = fixture_allocate(&fixture, bob, 100000, "video/capture");
    (void)fixture_allocate(&fixture, bob, 7, "");
    const struct client_identity identity = alice->identity;

    restart();

    struct block block;
    alice = clients_find(&core->clients, &identity);
    bob = clients_get(&core->clients, 1);
    assert_non_null(alice);
    assert_int_equal(alice->nonce, FIXTURE_NONCE(1));
    assert_false(alice->connected);
    assert_int_equal(bob->n_blocks, 2);
    assert_int_equal(bob->num_bytes, 100007);
    assert_int_equal(direct_find(&core->direct, alice, small, &block), 0);
    assert_int_equal(block.num_bytes, 100);
    assert_int_equal(direct_find(&core->direct, bob, large, &block), 0);
    assert_int_equal(reasons_totals(&core->reasons, block.reason).n_blocks, 2);
    assert_int_equal(core->reasons.n_live, 2);
    fixture_release(&fixture, alice, small);
    fixture_release(&fixture, bob, large);
}

static void test_recover_twice_is_recover_once(void **state)
{
    struct client *client = join(1);
    for (uint32_t i = 0; i < 300; i++) {
        (void)fixture_allocate(&fixture, client, 1 + i * 7, i % 3 ? "odd" : "even");
    }
    (void)fixture_lease(&fixture, client, 10);
    restart();
    const uint64_t free_bytes = core_free_bytes(core);
    const uint64_t used_bytes = core->direct.used_bytes;

    restart();

    assert_int_equal(core_free_bytes(core), free_bytes);
    assert_int_equal(core->direct.used_bytes, used_bytes);
    assert_int_equal(core->direct.n_blocks, 300);
    assert_int_equal(core->leases.n_pages, 10);
}

static void test_recover_gives_released_ids_and_slots_out_again(void **state)
{
    struct client *first = join(1);
    struct client *second = join(2);
    const struct seg_off off = fixture_allocate(&fixture, second, 10, "first reason");
    (void)fixture_allocate(&fixture, second, 10, "second reason");
    fixture_release(&fixture, second, off);
    fixture_end(&fixture, first, true);

    restart();

    assert_int_equal(core->reasons.n_free_ids, 1);
    assert_int_equal(core->clients.n_free_slots, 1);
    assert_int_equal(fixture_join(&fixture, 3)->slot, 0);
}

static void test_recover_keeps_those_who_are_beyond_the_new_limit(void **state)
{
    (void)join(1);
    (void)join(2);
    fixture.config.clients_limit = 1;

    restart();

    assert_int_equal(core->clients.n_live, 2);
    assert_int_equal(core->clients.limit, 2);
}

/* ----------------------------------------------------------------------------- who is gone ---- */

static void test_recover_ends_a_client_without_ledger(void **state)
{
    struct client *client = fixture_join(&fixture, 1); /* killed before the ledger was made */
    (void)client;

    restart();

    assert_int_equal(core->clients.n_ended, 1);
    fixture_reap(&fixture, UINT32_MAX);
    assert_int_equal(core->clients.n_ended, 0);
}

static void test_recover_goes_on_with_a_reaping(void **state)
{
    struct client *client = join(1);
    for (uint32_t i = 0; i < 500; i++) {
        (void)fixture_allocate(&fixture, client, 5000, "left behind");
    }
    (void)fixture_lease(&fixture, client, 10);
    core_end(core, client, true, fixture.now_ms);
    fixture_reap(&fixture, 10);
    assert_int_equal(core->clients.n_ended, 1);

    restart();

    assert_int_equal(core->clients.n_ended, 1);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, UINT32_MAX);
    }
    assert_true(fixture.last.left);
    assert_int_equal(core_free_bytes(core), (N_PAGES - 1) * PAGE_BYTES);
}

/* --------------------------------------------------------------------------------- leases ---- */

static void test_recover_leaves_pages_in_use_and_unused_leased(void **state)
{
    struct client *client = join(1);
    const uint32_t page = fixture_lease(&fixture, client, 8);
    bool zero;
    assert_true(lease_take(client->states, page + 2, 3, &zero));

    restart();

    assert_int_equal(clients_get(&core->clients, 0)->leased_pages, 8);
}

static void test_recover_takes_back_what_was_not_granted_or_was_being_revoked(void **state)
{
    struct client *client = join(1);
    uint32_t page = fixture_lease(&fixture, client, 8);
    const uint32_t first = page;
    assert_int_equal(lease_revoke(client->states, &page, page + 2), 2); /* killed here */
    lease_forget(client->states, first + 5, 3);                         /* never granted, say */

    restart();

    client = clients_get(&core->clients, 0);
    assert_int_equal(client->leased_pages, 3);
    assert_int_equal(lease_state_of(client->states, first), LEASE_NONE);
    assert_int_equal(lease_state_of(client->states, first + 2) & LEASE_STATE_MASK, LEASE_FREE);
    assert_int_equal(lease_state_of(client->states, first + 7), LEASE_NONE);
}

/* Page 1 was a direct block's, the next 8 are leased, and nobody ever had what is behind them. */
static void test_recover_knows_which_pages_may_be_other_than_zero(void **state)
{
    struct client *client = join(1);
    const struct seg_off off = fixture_allocate(&fixture, client, PAGE_BYTES, "direct");
    assert_int_equal(fixture_lease(&fixture, client, 8), 2);
    assert_int_equal(lease_state_of(client->states, 2), LEASE_FREE | LEASE_ZERO);
    fixture_release(&fixture, client, off);

    restart();

    assert_int_equal(core->pages.n_dirty, 1);
    client = clients_get(&core->clients, 0);
    assert_int_equal(leases_return(&core->leases, client, 0, N_PAGES), 8);
    assert_int_equal(core->pages.n_dirty, 9);
    assert_int_equal(fixture_lease(&fixture, client, 12), 1);
    for (uint32_t page = 1; page < 13; page++) {
        const uint32_t lease_state = lease_state_of(client->states, page);
        assert_int_equal(lease_state, page < 10 ? LEASE_FREE : LEASE_FREE | LEASE_ZERO);
    }
}

/* -------------------------------------------------------------------------------- refusals ---- */

static _Atomic uint64_t *damaged;
static uint64_t sound;

static void damage(_Atomic uint64_t *word, uint64_t value)
{
    damaged = word;
    sound = atomic_load(word);
    atomic_store(word, value);
}

static void undo_damage(void)
{
    atomic_store(damaged, sound);
}

static void test_recover_of_another_layout_is_refused(void **state)
{
    damage((_Atomic uint64_t *)&core->state.header->layout, 1);

    assert_refused_until(undo_damage, "another layout");
}

static void test_recover_of_runs_that_do_not_add_up_is_refused(void **state)
{
    _Atomic uint64_t *words = core->state.page_words;

    damage(&words[1], PAGE_WORD(PAGE_FREE, 0, N_PAGES));
    assert_refused_until(undo_damage, "the run at page 1 has 256 pages, of 255 that there are");
    words = core->state.page_words;
    damage(&words[1], PAGE_WORD(PAGE_FREE, 0, 0));
    assert_refused_until(undo_damage, "the run at page 1 has 0 pages");
    damage(&words[1], PAGE_WORD(9, 0, N_PAGES - 1));
    assert_refused_until(undo_damage, "the run at page 1 is of kind 9");
    damage(&words[0], PAGE_WORD(PAGE_FREE, 0, 1));
    assert_refused_until(undo_damage, "the run at page 0 is of kind 1");
}

static void test_recover_of_a_lease_of_nobody_is_refused(void **state)
{
    damage(&core->state.page_words[1], PAGE_WORD(PAGE_LEASED, 7, N_PAGES - 1));

    assert_refused_until(undo_damage, "the run at page 1 is leased to slot 7, which is nobody's");
}

static void test_recover_of_more_slots_than_there_can_be_is_refused(void **state)
{
    damage(&core->state.header->n_slots, CLIENTS_MAX + 1);

    assert_refused_until(undo_damage, "4097 slots of clients, of 4096");
}

/* The entry of the one block that there is. */
static struct ledger_entry *only_entry(struct seg_off off)
{
    struct ledger_block block;
    assert_int_equal(ledger_find(&core->state.ledger, off, &block), 0);
    return block.entry;
}

static void test_recover_of_blocks_that_can_not_be_is_refused(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, join(1), 100, "reason");
    const uint32_t page = (uint32_t)(off.bytes >> PAGE_SHIFT);
    struct ledger_entry *entry = only_entry(off);

    damage(&entry->word, ENTRY_WORD(100000, 2));
    assert_refused_until(undo_damage, "a block is larger than its place");
    damage(&entry->word, ENTRY_WORD(100, 60000));
    assert_refused_until(undo_damage, "a block has a reason without words");
    damage(&entry->word, ENTRY_WORD(100, REASONS_MAX));
    assert_refused_until(undo_damage, "a block has a reason without words");
    damage((_Atomic uint64_t *)(void *)&entry->born, UINT64_C(3) << 32);
    assert_refused_until(undo_damage, "a block is held by a client that is not there");
    damage(&core->state.page_words[page], PAGE_WORD(PAGE_DIRECT, 0, 2));
    atomic_store(&core->state.page_words[page + 2], PAGE_WORD(PAGE_FREE, 0, N_PAGES - page - 2));
    assert_refused_until(undo_damage, "its pages are not what its head says");
}

/* ------------------------------------------------------------------------------------ time ---- */

#define MANY_CLIENTS 1000
#define MANY_RUNS 100000
#define MANY_PAGES (2 * MANY_RUNS + 2)

/* One ledger for all: nobody's states matter to the others here. */
static _Atomic uint64_t *states_of_many(uint32_t slot, void *user)
{
    (void)slot;
    return user;
}

/* Every other page leased, to a thousand clients in turn; the ones between are free. */
static void lease_many(struct core *many, _Atomic uint64_t *states)
{
    struct client *client;
    for (uint32_t pid = 1; pid <= MANY_CLIENTS; pid++) {
        const struct client_identity identity = fixture_identity(pid);
        assert_int_equal(core_join(many, &identity, pid, 0, &client), 0);
        client->states = states;
    }
    for (uint32_t i = 0; i < MANY_RUNS; i++) {
        pages_take(&many->pages, 1 + 2 * i, 2, PAGE_LEASED, i % MANY_CLIENTS);
    }
    for (uint32_t i = 0; i < MANY_RUNS; i++) {
        pages_give_part(&many->pages, 2 + 2 * i, 1);
    }
    lease_grant(states, 1, 2 * MANY_RUNS, false);
}

/* ------------------------------------------------------------------------------ obituaries ---- */

static void test_recover_keeps_the_last_obituaries(void **state)
{
    for (uint32_t i = 1; i <= OBITUARIES_KEPT + 10; i++) {
        struct client *client = join(i);
        (void)fixture_allocate(&fixture, client, i, "left behind");
        end(client);
    }

    restart();
    end(join(5000));

    uint64_t number = 12; /* the new one has taken the place of number 11 */
    const struct obituary *obituary = obituaries_next(&core->obituaries, 0);
    for (; obituary->identity.pid != 5000; number++) {
        assert_int_equal(obituary->number, number);
        assert_int_equal(obituary->identity.pid, number);
        assert_int_equal(obituary->num_bytes, number);
        assert_string_equal(obituary->rows[0].reason, "left behind");
        obituary = obituaries_next(&core->obituaries, number + 1);
    }
    assert_int_equal(number, OBITUARIES_KEPT + 11);
}

/* Killed when all is back and written, and the slot is to be given up. */
static void test_recover_writes_no_obituary_twice(void **state)
{
    end(join(1));
    struct client *client = join(2);
    struct state_client *stored = &core->state.clients[client->slot];
    end(client);
    atomic_store(&stored->pid, PID_WORD(2));
    fixture.ledgers[0].states = NULL;

    restart();
    while (core_has_dead(core)) {
        fixture_reap(&fixture, UINT32_MAX);
    }

    assert_int_equal(core->obituaries.n_written, 2);
    end(join(3));
    assert_int_equal(core->obituaries.n_written, 3);
}

/* Killed when the slot knew the number, but nobody else did; then another comes first. */
static void test_recover_of_an_obituary_that_was_not_counted_writes_it(void **state)
{
    const uint32_t alice = join(1)->slot;
    struct client *bob = join(2);
    core_end(core, bob, false, fixture.now_ms);
    atomic_store(&core->state.clients[bob->slot].obituary, 1);

    restart();
    end(clients_get(&core->clients, alice));

    assert_int_equal(core->obituaries.n_written, 2);
    assert_int_equal(obituaries_next(&core->obituaries, 1)->identity.pid +
                         obituaries_next(&core->obituaries, 2)->identity.pid,
                     3);
}

static struct obituary sound_obituary;

static void mend_obituary(void)
{
    core->state.obituaries[1] = sound_obituary;
}

static void test_recover_of_an_obituary_that_can_not_be_is_refused(void **state)
{
    struct client *client = join(1);
    (void)fixture_allocate(&fixture, client, 10, "left behind");
    end(client);
    struct obituary *obituary = &core->state.obituaries[1];
    sound_obituary = *obituary;

    obituary->number = 2;
    assert_refused_until(mend_obituary, "of 1 obituaries one is none");
    obituary->n_rows = OBITUARY_ROWS + 1;
    assert_refused_until(mend_obituary, "of 1 obituaries one is none");
    memset(obituary->rows[0].reason, 'x', sizeof(obituary->rows[0].reason));
    assert_refused_until(mend_obituary, "of 1 obituaries one is none");
    memset(obituary->identity.command, 'x', COMMAND_BYTES);
    assert_refused_until(mend_obituary, "of 1 obituaries one is none");
}

static void count_alive(void *user)
{
    (*(uint32_t *)user)++;
}

/* Both passes send heartbeats now and then, and each stage when it is through. */
static void test_recover_of_1000_clients_and_100000_leases_sends_heartbeats(void **state)
{
    static struct core many;
    struct core_config config = fixture.config;
    uint32_t n_alive = 0;
    const uint64_t n_bytes = state_bytes(MANY_PAGES);
    void *base = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    _Atomic uint64_t *states = calloc(MANY_PAGES / 8 + 1, sizeof(*states));
    assert_non_null(states);
    config.n_pages = MANY_PAGES;
    config.clients_limit = MANY_CLIENTS;
    config.alive = count_alive;
    config.alive_user = &n_alive;
    assert_int_equal(core_init(&many, &config, base, 0), 0);
    lease_many(&many, states);
    core_abandon(&many);

    assert_int_equal(
        recover(&many, &config, base, states_of_many, (void *)states, 0, why, sizeof(why)), 0);

    assert_int_equal(many.clients.n_live, MANY_CLIENTS);
    assert_int_equal(many.leases.n_pages, MANY_RUNS);
    assert_in_range(n_alive, 2 + 2 * MANY_RUNS / 16384, 1000);
    assert_int_equal(core_check(&many), 0);
    core_abandon(&many);
    free((void *)states);
    assert_int_equal(munmap(base, n_bytes), 0);
}

/* ------------------------------------------------------------------------- without memory ---- */

static void test_recover_without_memory_fails_and_changes_nothing(void **state)
{
    struct client *client = join(1);
    const struct seg_off off = fixture_allocate(&fixture, client, 100, "small");
    (void)fixture_allocate(&fixture, client, 100000, "large");
    (void)fixture_lease(&fixture, client, 8);
    unsigned n_failed = 0;
    core_abandon(core);

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = recover(core, &fixture.config, fixture.state_base, fixture_states, &fixture,
                              fixture.now_ms, why, sizeof(why));
        const bool failed = fail_end();
        assert_int_equal(r, failed ? -ENOMEM : 0);
        n_failed += failed;
    }

    assert_true(n_failed > 10); /* each table, and each of the reasons */
    assert_int_equal(core_check(core), 0);
    client = clients_get(&core->clients, 0);
    assert_int_equal(client->n_blocks, 2);
    fixture_release(&fixture, client, off);
}

#define RECOVER_TEST(test) cmocka_unit_test_setup_teardown(test, recover_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECOVER_TEST(test_recover_of_an_empty_segment_is_one),
        RECOVER_TEST(test_recover_finds_clients_blocks_and_reasons),
        RECOVER_TEST(test_recover_twice_is_recover_once),
        RECOVER_TEST(test_recover_gives_released_ids_and_slots_out_again),
        RECOVER_TEST(test_recover_keeps_those_who_are_beyond_the_new_limit),
        RECOVER_TEST(test_recover_ends_a_client_without_ledger),
        RECOVER_TEST(test_recover_goes_on_with_a_reaping),
        RECOVER_TEST(test_recover_leaves_pages_in_use_and_unused_leased),
        RECOVER_TEST(test_recover_takes_back_what_was_not_granted_or_was_being_revoked),
        RECOVER_TEST(test_recover_knows_which_pages_may_be_other_than_zero),
        RECOVER_TEST(test_recover_of_another_layout_is_refused),
        RECOVER_TEST(test_recover_of_runs_that_do_not_add_up_is_refused),
        RECOVER_TEST(test_recover_of_a_lease_of_nobody_is_refused),
        RECOVER_TEST(test_recover_of_more_slots_than_there_can_be_is_refused),
        RECOVER_TEST(test_recover_of_blocks_that_can_not_be_is_refused),
        RECOVER_TEST(test_recover_keeps_the_last_obituaries),
        RECOVER_TEST(test_recover_writes_no_obituary_twice),
        RECOVER_TEST(test_recover_of_an_obituary_that_was_not_counted_writes_it),
        RECOVER_TEST(test_recover_of_an_obituary_that_can_not_be_is_refused),
        RECOVER_TEST(test_recover_of_1000_clients_and_100000_leases_sends_heartbeats),
        RECOVER_TEST(test_recover_without_memory_fails_and_changes_nothing),
    };
    return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
