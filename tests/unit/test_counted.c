/* SPDX-License-Identifier: MIT */
/*
 * test_counted.c - what clients count, what the server counts, and what is left of it after a death
 */
#include <string.h>

#include "daemon/core/counted.h"
#include "proto/lease.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 64
#define CLIENTS 8

static struct client *client;
static struct ledger_counts *counts;

static int set_up(void **state)
{
    fixture_init(&fixture, N_PAGES, CLIENTS);
    client = fixture_join(&fixture, 3);
    counts = fixture_ledger(&fixture, client)->counts;
    return 0;
}

static int tear_down(void **state)
{
    fixture_fini(&fixture);
    return 0;
}

static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&fixture, why), 0);
}

static void test_counted_read_adds_up_all_threads(void **state)
{
    counts->n_threads = 2;
    counts->n_releases = 1000;
    counts->threads[COUNTS_THREADS - 1].n_releases = 100;
    counts->threads[COUNTS_THREADS - 2].n_releases = 10;
    counts->threads[COUNTS_THREADS - 3].n_releases = 1; /* not in use */
    counts->n_misuses = 2;
    counts->n_too_large = 3;
    counts->n_invalid = 4;

    const struct counted counted = counted_read(client);

    assert_int_equal(counted.n_releases, 1110);
    assert_int_equal(counted.n_misuses, 2);
    assert_int_equal(counted.n_too_large, 3);
    assert_int_equal(counted.n_invalid, 4);
}

static void test_counted_read_of_a_client_without_ledger_is_zero(void **state)
{
    const struct client *other = fixture_join(&fixture, 4);
    const struct counted zero = {0};

    const struct counted counted = counted_read(other);

    assert_memory_equal(&counted, &zero, sizeof(zero));
}

/* Whatever is there: nothing is read behind the end, and no sum of all clients wraps. */
static void test_counted_read_of_nonsense_stays_in_bounds(void **state)
{
    const uint64_t most = UINT64_C(1) << 53;
    memset(counts, 0xff, sizeof(*counts));

    const struct counted counted = counted_read(client);

    assert_int_equal(counted.n_releases, most);
    assert_int_equal(counted.n_misuses, most);
    assert_int_equal(counted.n_too_large, most);
    assert_int_equal(counted.n_invalid, most);
    assert_int_equal(counted_live_bytes(client), 0);
    assert_int_equal(counted_peak_bytes(client), 0);
    memset(counts, 0, sizeof(*counts));
}

static void test_counted_read_believes_no_more_bytes_than_were_given(void **state)
{
    (void)fixture_allocate(&fixture, client, 100, "direct");
    (void)fixture_lease(&fixture, client, 2);
    counts->live_bytes = UINT64_C(1) << 40;
    counts->peak_bytes = UINT64_C(1) << 40;

    assert_int_equal(counted_live_bytes(client), 100 + 2 * PAGE_BYTES);
    assert_int_equal(counted_peak_bytes(client), 100 + 2 * PAGE_BYTES);
}

static void test_counted_note_peaks_adds_up_what_clients_have_at_one_moment(void **state)
{
    struct client *other = fixture_join(&fixture, 4);
    (void)fixture_lease(&fixture, client, 2);
    (void)fixture_allocate(&fixture, other, 500, "it counts nothing itself");
    counts->live_bytes = 3000;
    counts->peak_bytes = 7000;

    counted_note_peaks(&core->clients, core->state.counters);

    assert_int_equal(core->state.counters->peak_used_bytes, 7000);
    assert_int_equal(client->stored->peak_used_bytes, 7000);
    assert_int_equal(other->stored->peak_used_bytes, 500);
    counts->live_bytes = 6600;
    counted_note_peaks(&core->clients, core->state.counters);
    assert_int_equal(core->state.counters->peak_used_bytes, 7100);
}

static void test_obituaries_counted_all_keeps_what_the_ended_have_counted(void **state)
{
    const uint32_t page = fixture_lease(&fixture, client, 2);
    fixture_carve_large(&fixture, client, page, 1, 5000);
    counts->n_releases = 70;
    counts->n_misuses = 5;

    fixture_end(&fixture, client, false);
    client = fixture_join(&fixture, 5);
    counts = fixture_ledger(&fixture, client)->counts;
    counts->n_releases = 3;

    /* One block was taken back. */
    assert_int_equal(obituaries_counted_all(&core->obituaries, &core->clients).n_releases,
                     70 + 1 + 3);
    assert_int_equal(obituaries_counted_all(&core->obituaries, &core->clients).n_misuses, 5);
}

static void test_counters_and_peaks_outlive_the_server(void **state)
{
    struct state_counters *counters = core->state.counters;
    struct client *other = fixture_join(&fixture, 4);
    const struct seg_off off = fixture_allocate(&fixture, client, 1000, "one");
    (void)fixture_allocate(&fixture, client, 200, "two");
    fixture_release(&fixture, client, off);
    fixture_end(&fixture, other, true);
    counters->requests = 77;
    counters->refusals_no_room = 6;
    counts->n_releases = 9;

    restart();

    client = clients_next(&core->clients, 0);
    assert_int_equal(core->state.counters->allocations, 2);
    assert_int_equal(core->state.counters->releases, 1);
    assert_int_equal(core->state.counters->requests, 77);
    assert_int_equal(core->state.counters->refusals_no_room, 6);
    assert_int_equal(core->state.counters->peak_bytes, 1200);
    assert_int_equal(client->stored->peak_bytes, 1200);
    assert_int_equal(client->stored->peak_used_bytes, 1200);
    assert_int_equal(obituaries_counted_all(&core->obituaries, &core->clients).n_releases, 9);
    assert_int_equal(core->n_clients_seen, 2);
}

/* Killed between giving out and counting: the block is there, and counted by the next server. */
static void test_direct_recovered_counts_what_its_server_could_not(void **state)
{
    (void)fixture_allocate(&fixture, client, 1000, "one");
    core->state.counters->allocations--;
    restart();
    assert_int_equal(core->state.counters->allocations, 1);
    assert_int_equal(core->state.counters->releases, 0);

    core->state.counters->allocations++; /* as if one had been released, and not counted */
    restart();
    assert_int_equal(core->state.counters->allocations, 2);
    assert_int_equal(core->state.counters->releases, 1);
    client = clients_next(&core->clients, 0);
}

static void test_counted_releases_are_not_known_without_ledger_or_of_too_many_threads(void **state)
{
    uint64_t n_releases = 0;
    counts->n_releases = 5;
    assert_true(counted_releases(client, &n_releases));
    assert_int_equal(n_releases, 5);

    counts->n_threads = COUNTS_THREADS;
    assert_false(counted_releases(client, &n_releases));
    assert_false(counted_releases(fixture_join(&fixture, 4), &n_releases));
    counts->n_threads = 0;
}

#define COUNTED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        COUNTED_TEST(test_counted_read_adds_up_all_threads),
        COUNTED_TEST(test_counted_read_of_a_client_without_ledger_is_zero),
        COUNTED_TEST(test_counted_read_of_nonsense_stays_in_bounds),
        COUNTED_TEST(test_counted_read_believes_no_more_bytes_than_were_given),
        COUNTED_TEST(test_counted_note_peaks_adds_up_what_clients_have_at_one_moment),
        COUNTED_TEST(test_obituaries_counted_all_keeps_what_the_ended_have_counted),
        COUNTED_TEST(test_counters_and_peaks_outlive_the_server),
        COUNTED_TEST(test_direct_recovered_counts_what_its_server_could_not),
        COUNTED_TEST(test_counted_releases_are_not_known_without_ledger_or_of_too_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
