/* SPDX-License-Identifier: MIT */
/*
 * test_scan.c - roll-ups that are made in steps, while others go on
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/report.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/fixture.h"
#include "tests/unit/seeded.h"

#define N_PAGES 4096

static struct fixture fixture;
static struct core *core;
static struct client *client;

static int scan_setup(void **state)
{
    (void)state;
    fixture_init(&fixture, N_PAGES, 100);
    core = &fixture.core;
    client = fixture_join(&fixture, 1);
    return 0;
}

static int scan_teardown(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static void begin(struct scan **place, enum tally_by by)
{
    *place = NULL;
    assert_int_equal(scan_begin(core, SCAN_FOR_LEDGER, by, 0, place), 0);
}

static void finish(struct scan *scan)
{
    while (!scan->done) {
        scan_step(scan, core, 0);
    }
}

static const struct tally_group *group_of(const struct scan *scan, const char *key)
{
    for (size_t i = 0; i < tally_n_groups(scan->tally); i++) {
        if (strcmp(tally_group(scan->tally, i)->key, key) == 0) {
            return tally_group(scan->tally, i);
        }
    }
    fail_msg("no group %s", key);
    return NULL;
}

static void test_scan_step_looks_at_a_budget_at_a_time(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        (void)fixture_allocate(&fixture, client, 16, "many");
    }
    struct scan *scan;
    begin(&scan, TALLY_BY_REASON);

    uint32_t n_steps = 0;
    for (; !scan->done; n_steps++) {
        scan_step(scan, core, UINT64_C(10) * (n_steps + 1));
    }

    assert_in_range(n_steps, 100000 / SCAN_BUDGET, 1 + 100000 / SCAN_BUDGET);
    assert_int_equal(scan->took_us, 10 * n_steps);
    assert_int_equal(group_of(scan, "many")->n_blocks, 100000);
    scan_end(core, &scan);
}

/* Blocks that live through all of the scan are counted once, whatever happens around them. */
static void test_scan_counts_what_stays_exactly_once(void **state)
{
    (void)state;
    struct seeded seeded = {31337};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    static struct seg_off offs[60000];
    uint64_t n_staying = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        const bool stays = i % 4 == 0;
        offs[i] = fixture_allocate(&fixture, client, 1 + seeded_below(&seeded, 500),
                                   stays ? "stays" : "goes");
        n_staying += stays;
    }
    struct scan *scan;
    begin(&scan, TALLY_BY_REASON);
    uint32_t n_steps = 0;

    for (; !scan->done; n_steps++) {
        scan_step(scan, core, 0);
        for (uint32_t n = 0; n < 2000; n++) {
            const uint32_t i = seeded_below(&seeded, 60000);
            if (i % 4 != 0) {
                char reason[24];
                (void)snprintf(reason, sizeof(reason), "goes/%u", seeded_below(&seeded, 100));
                fixture_release(&fixture, client, offs[i]);
                offs[i] =
                    fixture_allocate(&fixture, client, 1 + seeded_below(&seeded, 4000), reason);
            }
        }
        assert_int_equal(core_check(core), 0);
    }

    assert_true(n_steps > 2);
    assert_int_equal(group_of(scan, "stays")->n_blocks, n_staying);
    scan_end(core, &scan);
}

static void test_scan_by_client_while_clients_die_and_slots_change_hands(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        struct client *other = fixture_join(&fixture, 100 + i);
        for (uint32_t n = 0; n < 1000; n++) {
            (void)fixture_allocate(&fixture, other, 20, "short life");
        }
    }
    for (uint32_t n = 0; n < 20000; n++) {
        (void)fixture_allocate(&fixture, client, 16, "long life");
    }
    struct scan *scan;
    begin(&scan, TALLY_BY_CLIENT);
    uint32_t pid = 1000;

    while (!scan->done) {
        scan_step(scan, core, 0);
        for (uint32_t slot = 1; slot < 20; slot++) {
            fixture_end(&fixture, clients_get(&core->clients, slot), false);
        }
        for (uint32_t n = 0; n < 19; n++) {
            (void)fixture_allocate(&fixture, fixture_join(&fixture, pid++), 100, "new");
        }
    }

    assert_int_equal(group_of(scan, "worker-1")->n_blocks, 20000);
    assert_int_equal(core_check(core), 0);
    scan_end(core, &scan);
}

/* -------------------------------------------------------------------------------- how many ---- */

static void test_scan_begin_beyond_the_limit_drops_the_oldest_complete_one(void **state)
{
    (void)state;
    struct scan *scans[SCANS_MAX + 2] = {NULL};
    for (uint32_t i = 0; i < SCANS_MAX; i++) {
        begin(&scans[i], TALLY_BY_REASON);
    }
    finish(scans[2]);
    finish(scans[1]);

    begin(&scans[SCANS_MAX], TALLY_BY_REASON);
    assert_null(scans[1]);
    assert_non_null(scans[2]);
    begin(&scans[SCANS_MAX + 1], TALLY_BY_REASON);
    assert_null(scans[2]);

    assert_int_equal(core->n_scans, SCANS_MAX);
    for (uint32_t i = 0; i < SCANS_MAX + 2; i++) {
        scan_end(core, &scans[i]);
    }
    assert_int_equal(core->n_scans, 0);
}

static void test_scan_begin_while_as_many_are_being_made_is_busy(void **state)
{
    (void)state;
    struct scan *scans[SCANS_MAX];
    struct scan *one_more = NULL;
    for (uint32_t i = 0; i < SCANS_MAX; i++) {
        begin(&scans[i], TALLY_BY_REASON);
    }

    assert_int_equal(scan_begin(core, SCAN_FOR_LEDGER, TALLY_BY_UID, 0, &one_more), SCAN_E_BUSY);

    assert_null(one_more);
    scan_end(core, &scans[1]);
    begin(&one_more, TALLY_BY_UID);
    scan_end(core, &one_more);
    scan_end(core, &scans[3]);
    scan_end(core, &scans[0]);
    scan_end(core, &scans[2]);
    assert_int_equal(core->n_scans, 0);
}

static void test_scan_begin_for_a_refusal_leaves_two_places_to_those_who_ask(void **state)
{
    (void)state;
    struct scan *refusals[SCANS_MAX] = {NULL};
    struct scan *asked[2];
    for (uint32_t i = 0; i < SCANS_MAX; i++) {
        const int r = scan_begin(core, SCAN_FOR_REFUSAL, TALLY_BY_REASON, 0, &refusals[i]);
        assert_int_equal(r, i < SCANS_MAX - 2 ? 0 : SCAN_E_BUSY);
    }

    begin(&asked[0], TALLY_BY_REASON);
    begin(&asked[1], TALLY_BY_CLIENT);

    assert_int_equal(core->n_scans, SCANS_MAX);
    scan_end(core, &refusals[0]);
    scan_end(core, &asked[0]);
    const int r = scan_begin(core, SCAN_FOR_REFUSAL, TALLY_BY_REASON, 0, &refusals[0]);
    assert_int_equal(r, 0); /* there is one less now */
    scan_end(core, &asked[1]);
    for (uint32_t i = 0; i < SCANS_MAX; i++) {
        scan_end(core, &refusals[i]);
    }
}

static void test_scan_begin_in_a_place_that_holds_one_is_a_bug(void **state)
{
    (void)state;
    struct scan *scan;
    begin(&scan, TALLY_BY_REASON);

    assert_broken(
        assert_int_equal(scan_begin(core, SCAN_FOR_LEDGER, TALLY_BY_REASON, 0, &scan), 0));
    scan_end(core, &scan);
    scan_end(core, &scan); /* of none: nothing */
}

/* -------------------------------------------------------------------------- without memory ---- */

static void test_scan_begin_without_memory_is_busy(void **state)
{
    (void)state;
    struct scan *scan = NULL;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = scan_begin(core, SCAN_FOR_LEDGER, TALLY_BY_REASON, 0, &scan);
        const bool failed = fail_end();
        assert_int_equal(r, failed ? SCAN_E_BUSY : 0);
        assert_int_equal(core->n_scans, failed ? 0 : 1);
        assert_int_equal(failed, scan == NULL);
    }
    scan_end(core, &scan);
}

static void test_scan_step_without_memory_has_failed(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        char reason[24];
        (void)snprintf(reason, sizeof(reason), "reason/%u", i);
        (void)fixture_allocate(&fixture, client, 16, reason);
    }
    unsigned n_failures = 0;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct scan *scan = NULL;
        if (scan_begin(core, SCAN_FOR_LEDGER, TALLY_BY_REASON, 0, &scan) == 0) {
            finish(scan);
        }
        const bool failed = fail_end();
        assert_true(scan == NULL || scan->failed == failed);
        n_failures += failed;
        scan_end(core, &scan);
    }
    assert_true(n_failures > 200); /* the scan, its tally, each row, the table, the sorted array */
}

#define SCAN_TEST(test) cmocka_unit_test_setup_teardown(test, scan_setup, scan_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCAN_TEST(test_scan_step_looks_at_a_budget_at_a_time),
        SCAN_TEST(test_scan_counts_what_stays_exactly_once),
        SCAN_TEST(test_scan_by_client_while_clients_die_and_slots_change_hands),
        SCAN_TEST(test_scan_begin_beyond_the_limit_drops_the_oldest_complete_one),
        SCAN_TEST(test_scan_begin_while_as_many_are_being_made_is_busy),
        SCAN_TEST(test_scan_begin_for_a_refusal_leaves_two_places_to_those_who_ask),
        SCAN_TEST(test_scan_begin_in_a_place_that_holds_one_is_a_bug),
        SCAN_TEST(test_scan_begin_without_memory_is_busy),
        SCAN_TEST(test_scan_step_without_memory_has_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
