/* SPDX-License-Identifier: MIT */
/*
 * test_shortage.c - when memory is short, and what comes back then
 */

#include "daemon/core/shortage.h"
#include "proto/lease.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define BORDER (N_PAGES / 2)
#define ENOUGH (N_PAGES / 16 * 9)

static struct shortage *const shortage = &fixture.core.shortage;
static struct client *client;
static struct ledger *ledger;

static int shortage_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 4);
    client = fixture_join(&fixture, 1);
    ledger = fixture_ledger(&fixture, client);
    return 0;
}

/* A lease of n_pages, of which the client says that it uses some; it takes as many as it says. */
static uint32_t lease_and_use(uint32_t n_pages, uint32_t n_used)
{
    bool zero;
    const uint32_t page = fixture_lease(&fixture, client, n_pages);
    assert_true(n_used == 0 || lease_take(client->states, page, n_used, &zero));
    atomic_fetch_add(&ledger->header->n_used_pages, n_used);
    return page;
}

static void test_memory_is_short_below_half(void **state)
{
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, N_PAGES - 1 - BORDER);
    (void)lease_and_use(N_PAGES - 1 - BORDER - 1, N_PAGES - 1 - BORDER - 1);
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, 1);
    (void)lease_and_use(1, 1);
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, 0);
}

static void test_what_is_leased_and_unused_is_to_be_had(void **state)
{
    (void)lease_and_use(200, 10);
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, N_PAGES - 1 - 10 - BORDER);
    assert_int_equal(client->leased_pages, 200); /* there is plenty: it keeps it */
}

static void test_what_is_unused_comes_back_when_memory_is_short(void **state)
{
    (void)lease_and_use(200, 150);
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, 0);
    assert_int_equal(client->leased_pages, 150);
    assert_int_equal(core_check(core), 0);
}

/* It ends at 9/16, not at half. */
static void test_shortage_ends_above_where_it_began(void **state)
{
    const uint32_t page = lease_and_use(128, 128);
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, 0);
    lease_give(client->states, page, ENOUGH - BORDER + 1);
    atomic_fetch_sub(&ledger->header->n_used_pages, ENOUGH - BORDER + 1);
    shortage_look(shortage); /* ENOUGH pages are to be had */
    assert_int_equal(shortage->n_spare_pages, 0);
    lease_give(client->states, page + ENOUGH - BORDER + 1, 1);
    atomic_fetch_sub(&ledger->header->n_used_pages, 1);
    shortage_look(shortage);
    assert_int_equal(shortage->n_spare_pages, 1);
    shortage_look(shortage); /* and from now on it is half again */
    assert_int_equal(shortage->n_spare_pages, ENOUGH + 1 - BORDER);
}

/* More than it has, more than there is, or less than is true: a hint, and what is used stays. */
static void test_client_that_lies_about_what_it_uses(void **state)
{
    static const uint64_t lies[] = {0, 101, N_PAGES, N_PAGES + 1, UINT32_MAX, UINT64_MAX};
    shortage->gives_back = true;
    (void)lease_and_use(100, 100);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        atomic_store(&ledger->header->n_used_pages, lies[i]);
        for (int tick = 0; tick < 20; tick++) {
            shortage_tick(shortage);
            assert_true(shortage->n_spare_pages <= N_PAGES - 1 - BORDER);
        }
        assert_int_equal(client->leased_pages, 100);
    }
    assert_int_equal(core_check(core), 0);
}

static void test_what_is_not_used_for_a_while_is_given_back(void **state)
{
    shortage->gives_back = true;
    (void)lease_and_use(100, 60);
    for (int tick = 0; tick < 4; tick++) {
        assert_int_equal(client->leased_pages, 100);
        shortage_tick(shortage);
    }
    assert_int_equal(client->leased_pages, 60);
}

/* In use for one tick of them: it is wanted now and then. */
static void test_what_was_used_meanwhile_stays(void **state)
{
    bool zero;
    shortage->gives_back = true;
    const uint32_t page = lease_and_use(100, 60);
    shortage_tick(shortage);
    assert_true(lease_take(client->states, page + 60, 30, &zero));
    atomic_fetch_add(&ledger->header->n_used_pages, 30);
    shortage_tick(shortage);
    lease_give(client->states, page + 60, 30);
    atomic_fetch_sub(&ledger->header->n_used_pages, 30);
    shortage_tick(shortage);
    shortage_tick(shortage);
    assert_int_equal(client->leased_pages, 90);
}

static void test_nothing_is_given_back_where_it_would_not_help(void **state)
{
    (void)lease_and_use(100, 60);
    for (int tick = 0; tick < 20; tick++) {
        shortage_tick(shortage);
    }
    assert_int_equal(client->leased_pages, 100);
}

static void test_look_is_due_when_a_64th_was_given_out(void **state)
{
    shortage_look(shortage);
    (void)lease_and_use(N_PAGES / 64, 0);
    assert_false(shortage_is_due(shortage));
    (void)lease_and_use(1, 0);
    assert_true(shortage_is_due(shortage));
    shortage_look(shortage);
    assert_false(shortage_is_due(shortage));
}

static void test_nothing_is_given_back_by_who_has_leased_nothing(void **state)
{
    shortage->gives_back = true;
    for (int tick = 0; tick < 4; tick++) {
        shortage_tick(shortage);
    }
    (void)lease_and_use(100, 60);
    assert_int_equal(shortage->low[client->slot], UINT32_MAX);
    assert_int_equal(client->leased_pages, 100);
}

#define SHORTAGE_TEST(test) cmocka_unit_test_setup_teardown(test, shortage_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHORTAGE_TEST(test_memory_is_short_below_half),
        SHORTAGE_TEST(test_what_is_leased_and_unused_is_to_be_had),
        SHORTAGE_TEST(test_what_is_unused_comes_back_when_memory_is_short),
        SHORTAGE_TEST(test_shortage_ends_above_where_it_began),
        SHORTAGE_TEST(test_client_that_lies_about_what_it_uses),
        SHORTAGE_TEST(test_what_is_not_used_for_a_while_is_given_back),
        SHORTAGE_TEST(test_what_was_used_meanwhile_stays),
        SHORTAGE_TEST(test_nothing_is_given_back_where_it_would_not_help),
        SHORTAGE_TEST(test_look_is_due_when_a_64th_was_given_out),
        SHORTAGE_TEST(test_nothing_is_given_back_by_who_has_leased_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
