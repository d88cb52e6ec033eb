/* SPDX-License-Identifier: MIT */
/*
 * test_recover_lost.c - clients that have lost their ledgers while no server was there
 */
#include <errno.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/recover.h"
#include "daemon/core/stretch.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 256

static char why[FIXTURE_WHY_BYTES];

static int lost_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 8);
    return 0;
}

static struct client_identity watched;
static int watch_answer;

static int watch(uint32_t slot, const struct client_identity *identity, void *user)
{
    assert_ptr_equal(user, &fixture);
    assert_int_equal(slot, 0);
    watched = *identity;
    return watch_answer;
}

/* Restarts when a client of two blocks and a lease has no ledger any more. */
static int restart_without_ledger(struct seg_off ret_offs[2])
{
    struct client *client = fixture_join(&fixture, 1);
    (void)fixture_ledger(&fixture, client);
    ret_offs[0] = fixture_allocate(&fixture, client, 100, "held");
    ret_offs[1] = fixture_allocate(&fixture, client, 100000, "held");
    (void)fixture_lease(&fixture, client, 8);
    fixture.config.watch = watch;
    fixture.config.watch_user = &fixture;
    fixture_ledger_close(&fixture, client->slot);
    return fixture_restart(&fixture, why);
}

static void test_recover_leaves_a_living_client_without_ledger_what_it_has(void **state)
{
    struct seg_off offs[2];
    const struct client_identity identity = fixture_identity(1);
    watch_answer = 0;

    assert_int_equal(restart_without_ledger(offs), 0);

    struct client *client = clients_find(&core->clients, &identity);
    struct client *again = NULL;
    assert_int_equal(watched.pid, identity.pid);
    assert_int_equal(watched.start_time, identity.start_time);
    assert_true(client->lost);
    assert_int_equal(client->n_blocks, 2);
    assert_int_equal(client->leased_pages, 8);
    assert_int_equal(leases_make_room(&core->leases, N_PAGES), LEASES_E_FULL);
    leases_return_all(&core->leases);
    assert_int_equal(client->leased_pages, 8);
    assert_int_equal(leases_n_unused(&core->leases), 0);
    assert_int_equal(core_resume(core, &identity, FIXTURE_NONCE(1), &again), CLIENTS_E_LOST);
    assert_int_equal(fixture_restart(&fixture, why), 0); /* once more */
    client = clients_find(&core->clients, &identity);
    assert_true(client->lost);
    fixture_end(&fixture, client, false);
    assert_int_equal(core_free_bytes(core), (N_PAGES - 1) * PAGE_BYTES);
}

static void test_recover_ends_a_client_without_ledger_that_has_ended(void **state)
{
    struct seg_off offs[2];
    watch_answer = CLIENTS_E_GONE;

    assert_int_equal(restart_without_ledger(offs), 0);

    assert_int_equal(core->clients.n_ended, 1);
}

static void test_recover_when_a_client_can_not_be_looked_for_fails_and_changes_nothing(void **state)
{
    struct seg_off offs[2];
    watch_answer = -EMFILE;

    assert_int_equal(restart_without_ledger(offs), -EMFILE);

    watch_answer = 0;
    assert_int_equal(recover(core, &fixture.config, fixture.state_base, fixture_states, &fixture,
                             fixture.now_ms, why, sizeof(why)),
                     0);
    assert_int_equal(core_check(core), 0);
    assert_int_equal(core->clients.n_live, 1);
    assert_int_equal(core->leases.n_pages, 8);
}

/* Its lease is in use, for what nobody can tell any more. */
static void test_what_a_client_without_ledger_has_is_told_as_far_as_it_is_known(void **state)
{
    struct seg_off offs[2];
    struct scan_reader reader = {.uid = 1000, .pid = 1};
    struct stretch stretch;
    struct block block;
    struct slab slab;
    uint32_t spent = 0;
    watch_answer = 0;
    assert_int_equal(restart_without_ledger(offs), 0);
    const struct client_identity identity = fixture_identity(1);
    struct client *client = clients_find(&core->clients, &identity);
    const uint32_t page = pages_leased_first(&core->pages, client->slot);

    stretch_find(core, page, page, &spent, &stretch);
    assert_int_equal(stretch.state, STRETCH_LEASED);
    assert_int_equal(stretch.n_pages, 8);
    assert_false(
        block_find_leased(core, (struct seg_off){(uint64_t)page << PAGE_SHIFT}, &block, &slab));
    const struct scan *scan = fixture_scan(&fixture, &reader, SCAN_LEASED);
    assert_int_equal(scan->n_leased_blocks, 0);
    scans_leave(&core->scans, &reader);
    fixture_end(&fixture, client, false);
}

/* Nothing but a lease: such a process is watched as well. */
static void test_recover_watches_a_client_that_has_a_lease_alone(void **state)
{
    struct client *client = fixture_join(&fixture, 1);
    watch_answer = 0;
    (void)fixture_ledger(&fixture, client);
    (void)fixture_lease(&fixture, client, 8);
    fixture.config.watch = watch;
    fixture.config.watch_user = &fixture;
    fixture_ledger_close(&fixture, client->slot);
    assert_int_equal(fixture_restart(&fixture, why), 0);
    const struct client_identity identity = fixture_identity(1);
    client = clients_find(&core->clients, &identity);
    assert_true(client->lost);
    fixture_end(&fixture, client, false);
}

#define LOST_TEST(test) cmocka_unit_test_setup_teardown(test, lost_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOST_TEST(test_recover_leaves_a_living_client_without_ledger_what_it_has),
        LOST_TEST(test_recover_ends_a_client_without_ledger_that_has_ended),
        LOST_TEST(test_recover_when_a_client_can_not_be_looked_for_fails_and_changes_nothing),
        LOST_TEST(test_what_a_client_without_ledger_has_is_told_as_far_as_it_is_known),
        LOST_TEST(test_recover_watches_a_client_that_has_a_lease_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
