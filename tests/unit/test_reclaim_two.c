/* SPDX-License-Identifier: MIT */
/*
 * test_reclaim_two.c - slabs of two clients are taken back, and some have changed meanwhile
 */
#include "proto/lease.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 1024
#define N_LEASED 40 /* more than a step takes */

static struct reclaim *const reclaim = &fixture.core.reclaim;
static struct client *clients[2];
static uint32_t first[2];
static client_ledger_read_fn read_really;

static bool barrier(void)
{
    return true;
}

static void open_slabs(uint32_t client, uint32_t n_slabs)
{
    for (uint32_t i = 0; i < n_slabs; i++) {
        fixture_carve(&fixture, clients[client], first[client] + i, 0);
        lease_open_slab(clients[client]->states, first[client] + i, 1);
    }
}

static int two_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 4);
    reclaim->barrier = barrier;
    read_really = core->client_ledger.read;
    for (uint32_t i = 0; i < 2; i++) {
        clients[i] = fixture_join(&fixture, 1 + i);
        struct ledger *ledger = fixture_ledger(&fixture, clients[i]);
        atomic_store(&ledger->header->is_fenced, 1);
        first[i] = fixture_lease(&fixture, clients[i], N_LEASED);
    }
    return 0;
}

static void test_slabs_of_two_are_asked_for_at_once(void **state)
{
    open_slabs(0, 1);
    open_slabs(1, 2);
    assert_int_equal(reclaim_step(reclaim), 3);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(lease_is_announced(fixture.ledgers[clients[i]->slot].asked));
    }
}

static bool is_of_heads(uint64_t at)
{
    const uint64_t heads_at = fixture.ledger_layout.heads_at;
    return at >= heads_at && at < heads_at + N_PAGES * sizeof(struct ledger_head);
}

static bool read_no_head(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    return !is_of_heads(at) && read_really(user, slot, at, buffer, n_bytes);
}

static void test_slabs_whose_heads_can_not_be_read_stay(void **state)
{
    open_slabs(0, 3);
    core->client_ledger.read = read_no_head;
    assert_int_equal(reclaim_step(reclaim), 0);
    core->client_ledger.read = read_really;
    assert_int_equal(clients[0]->leased_pages, N_LEASED);
}

/* When its entries have been read, and before it is asked for, its client closes it. */
static bool has_read_head;

static bool read_and_close(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    const bool is_read = read_really(user, slot, at, buffer, n_bytes);
    if (has_read_head && !is_of_heads(at)) {
        (void)lease_close_slab(clients[0]->states, first[0], 1);
    }
    has_read_head = has_read_head || is_of_heads(at);
    return is_read;
}

static void test_slab_that_is_closed_before_it_is_asked_for_is_not_taken(void **state)
{
    open_slabs(0, 1);
    has_read_head = false;
    core->client_ledger.read = read_and_close;
    assert_int_equal(reclaim_step(reclaim), 0);
    core->client_ledger.read = read_really;
    assert_false(lease_is_announced(fixture.ledgers[clients[0]->slot].asked));
}

/* A step ends within a lease, the rest of which has come back when the next one begins. */
static void come_back(void)
{
    open_slabs(0, N_LEASED);
    assert_int_equal(reclaim_step(reclaim), 32);
    assert_int_equal(clients[0]->idle_page, first[0] + 32);
    for (uint32_t i = 0; i < N_LEASED; i++) {
        (void)lease_close_slab(clients[0]->states, first[0] + i, 1);
    }
    (void)leases_return(&core->leases, clients[0], first[0], first[0] + N_LEASED);
    assert_int_equal(clients[0]->leased_pages, 0);
}

static void test_lease_that_came_back_between_two_steps_is_left(void **state)
{
    come_back();
    assert_int_equal(reclaim_step(reclaim), 0);
    assert_int_equal(clients[0]->idle_page, 0);
}

static void test_lease_that_is_anothers_between_two_steps_is_left(void **state)
{
    come_back();
    first[1] = fixture_lease(&fixture, clients[1], N_LEASED);
    assert_int_equal(first[1], first[0]);
    open_slabs(1, N_LEASED);
    while (clients[0]->idle_page != 0) {
        (void)reclaim_step(reclaim);
    }
    assert_int_equal(core_check(core), 0);
}

static void test_nothing_is_begun_where_nothing_is_leased(void **state)
{
    uint64_t until;
    assert_true(reclaim_begin(reclaim, 0, &until));
    for (uint32_t i = 0; i < 2; i++) {
        (void)leases_return(&core->leases, clients[i], first[i], first[i] + N_LEASED);
    }
    assert_false(reclaim_begin(reclaim, 0, &until));
    assert_int_equal(reclaim_at_most(reclaim), 0);
}

/* A pass knows whom it has yet to look at; they may be gone when it comes there. */
static void test_clients_that_are_gone_before_their_turn_are_passed_over(void **state)
{
    const bool is_reaped[] = {false, true};
    for (uint32_t i = 0; i < 2; i++) {
        const uint64_t n_passes = reclaim->n_passes;
        open_slabs(0, N_LEASED);
        assert_int_equal(reclaim_step(reclaim), 32);
        core_end(core, clients[1], false, fixture.now_ms);
        assert_int_equal(reclaim_at_most_of(reclaim, clients[1]), 0);
        while (is_reaped[i] && core_has_dead(core)) {
            fixture_reap(&fixture, UINT32_MAX);
        }
        while (reclaim->n_passes == n_passes) {
            (void)reclaim_step(reclaim);
        }
        assert_int_equal(clients[0]->leased_pages, 0);
        (void)core_teardown(NULL);
        (void)two_setup(NULL);
    }
}

/* The first of them has gone: the slot that is looked for is before the next that is in use. */
static void test_client_that_is_gone_before_others_is_passed_over(void **state)
{
    const uint64_t n_passes = reclaim->n_passes;
    struct client *third = fixture_join(&fixture, 3);
    assert_true(third->slot > clients[1]->slot);
    open_slabs(0, N_LEASED);
    open_slabs(1, 1);
    assert_int_equal(reclaim_step(reclaim), 32);
    fixture_end(&fixture, clients[1], false);
    while (reclaim->n_passes == n_passes) {
        (void)reclaim_step(reclaim);
    }
    assert_int_equal(core->leases.n_pages, 0);
}

/* The step is full with the last slab of a client, and does not go on to the next one. */
static void test_step_that_a_client_fills_exactly_ends_with_it(void **state)
{
    open_slabs(0, 32);
    open_slabs(1, 1);
    for (uint32_t page = first[0] + 32; page < first[0] + N_LEASED; page++) {
        (void)leases_return(&core->leases, clients[0], page, page + 1);
    }
    assert_int_equal(clients[0]->leased_pages, 32);
    assert_int_equal(reclaim_step(reclaim), 32);
    assert_int_equal(clients[1]->leased_pages, N_LEASED);
    assert_int_equal(reclaim_step(reclaim), 1);
}

#define TWO_TEST(test) cmocka_unit_test_setup_teardown(test, two_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TWO_TEST(test_slabs_of_two_are_asked_for_at_once),
        TWO_TEST(test_slabs_whose_heads_can_not_be_read_stay),
        TWO_TEST(test_slab_that_is_closed_before_it_is_asked_for_is_not_taken),
        TWO_TEST(test_lease_that_came_back_between_two_steps_is_left),
        TWO_TEST(test_lease_that_is_anothers_between_two_steps_is_left),
        TWO_TEST(test_nothing_is_begun_where_nothing_is_leased),
        TWO_TEST(test_clients_that_are_gone_before_their_turn_are_passed_over),
        TWO_TEST(test_client_that_is_gone_before_others_is_passed_over),
        TWO_TEST(test_step_that_a_client_fills_exactly_ends_with_it),
    };
    return cmocka_run_group_tests_name("reclaim_two", tests, NULL, NULL);
}
