/* SPDX-License-Identifier: MIT */
/*
 * test_leases_swept.c - a request that finds no room looks only where something may have come back
 *
 * The segment is full of runs of a page, which clients have in turns. What is counted is the runs
 * that are looked at.
 */

#include "daemon/core/core.h"
#include "proto/lease.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 4001
#define N_CLIENTS 40
#define RUNS_EACH ((N_PAGES - 1) / N_CLIENTS)

static struct leases *const leases = &fixture.core.leases;
static struct client *clients[N_CLIENTS];

static int swept_setup(void **state)
{
    bool zero;
    fixture_init(&fixture, N_PAGES, N_CLIENTS);
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        clients[i] = fixture_join(&fixture, 1 + i);
        (void)fixture_ledger(&fixture, clients[i]);
    }
    for (uint32_t page = 1; page < N_PAGES; page++) {
        struct client *client = clients[page % N_CLIENTS];
        assert_int_equal(fixture_lease(&fixture, client, 1), page);
        assert_true(lease_take(client->states, page, 1, &zero));
    }
    leases->n_looked = 0;
    return 0;
}

/* Return: how many runs that took. */
static uint64_t make_no_room(void)
{
    const uint64_t n_before = leases->n_looked;
    assert_int_equal(leases_make_room(leases, 2), LEASES_E_FULL);
    return leases->n_looked - n_before;
}

static void test_make_room_that_is_fruitless_looks_at_no_run_again(void **state)
{
    assert_true(make_no_room() > 0);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(make_no_room(), 0);
    }
}

static void test_make_room_looks_at_the_runs_of_those_that_gave_something_back(void **state)
{
    (void)make_no_room();
    lease_give(clients[7]->states, 7, 1);

    assert_in_range(make_no_room(), RUNS_EACH, 2 * RUNS_EACH);

    assert_int_equal(core_free_bytes(core), PAGE_BYTES);
    assert_int_equal(make_no_room(), 0);
}

static void test_make_room_looks_at_the_runs_of_those_that_closed_a_slab(void **state)
{
    (void)make_no_room();
    lease_open_slab(clients[7]->states, 7, 1);
    assert_true(lease_close_slab(clients[7]->states, 7, 1));

    assert_int_equal(leases_make_room(leases, 1), 0);
}

static void test_make_room_looks_at_what_was_granted_since(void **state)
{
    (void)make_no_room();
    lease_give(clients[7]->states, 7, 1);
    (void)make_no_room();
    assert_int_equal(fixture_lease(&fixture, clients[3], 1), 7);

    assert_int_equal(leases_make_room(leases, 1), 0); /* it has not taken it */
}

static void test_return_of_a_client_with_nothing_to_give_looks_at_no_run(void **state)
{
    assert_int_equal(leases_return(leases, clients[5], 0, N_PAGES), 0);
    assert_int_equal(leases->n_looked, RUNS_EACH);

    assert_int_equal(leases_return(leases, clients[5], 0, N_PAGES), 0);
    assert_int_equal(leases_return(leases, clients[5], 100, 200), 0);

    assert_int_equal(leases->n_looked, RUNS_EACH);
}

static void test_return_looks_at_the_clients_own_runs_only(void **state)
{
    lease_give(clients[5]->states, 5 + N_CLIENTS, 1);

    assert_int_equal(leases_return(leases, clients[5], 0, 2 * N_CLIENTS), 1);

    assert_int_equal(leases->n_looked, RUNS_EACH);
}

/* It was stopped before it could count. What is taken back now and then finds the page. */
static void test_return_all_finds_what_was_not_counted(void **state)
{
    (void)make_no_room();
    _Atomic uint64_t *states = clients[7]->states;
    lease_give(states, 7, 1);
    atomic_fetch_sub(states - LEASE_GIVEN_BEFORE_BYTES / sizeof(*states), 1);
    assert_int_equal(make_no_room(), 0);

    leases_return_all(leases);

    assert_int_equal(core_free_bytes(core), PAGE_BYTES);
}

/* Whatever a client counts, the daemon takes what is FREE and not more. */
static void test_client_that_counts_at_will_spoils_nothing(void **state)
{
    _Atomic uint64_t *states = clients[7]->states;
    for (uint32_t i = 0; i < 10; i++) {
        atomic_fetch_add(states - LEASE_GIVEN_BEFORE_BYTES / sizeof(*states), UINT64_MAX / 3);
        (void)make_no_room();
    }
    assert_int_equal(core_free_bytes(core), 0);
}

#define SWEPT_TEST(test) cmocka_unit_test_setup_teardown(test, swept_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SWEPT_TEST(test_make_room_that_is_fruitless_looks_at_no_run_again),
        SWEPT_TEST(test_make_room_looks_at_the_runs_of_those_that_gave_something_back),
        SWEPT_TEST(test_make_room_looks_at_the_runs_of_those_that_closed_a_slab),
        SWEPT_TEST(test_make_room_looks_at_what_was_granted_since),
        SWEPT_TEST(test_return_of_a_client_with_nothing_to_give_looks_at_no_run),
        SWEPT_TEST(test_return_looks_at_the_clients_own_runs_only),
        SWEPT_TEST(test_return_all_finds_what_was_not_counted),
        SWEPT_TEST(test_client_that_counts_at_will_spoils_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
