/* SPDX-License-Identifier: MIT */
/*
 * test_sampler.c - when the history looks: once, then it rests; and once more when all have gone;
 *                  and what a look sees of budgets
 */
#include "daemon/core/sampler.h"

#include <stdio.h>

#include "daemon/core/scan.h"
#include "tests/unit/core_fixture.h"

#define N_PAGES 64
#define LATER_MS 2000 /* longer than any rest here */

static int sampler_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    return 0;
}

static struct now now(void)
{
    return (struct now){.ms = fixture.now_ms, .us = fixture.now_ms * 1000};
}

/* A look from its beginning to its end, that took so much of the processor. Return: the budgets
   that it found exceeded. */
static uint32_t look(uint64_t spent_us)
{
    uint32_t exceeded = 0;
    sampler_tick(core, now());
    assert_true(sampler_has_work(core));
    while (sampler_has_work(core)) {
        exceeded |= sampler_work(core, now());
    }
    sampler_worked(core, spent_us, now());
    return exceeded;
}

static void test_sampler_rests_a_hundred_times_as_long_as_a_look_took(void **state)
{
    (void)fixture_join(&fixture, 1);
    (void)look(30000);
    fixture.now_ms += 2999;
    sampler_tick(core, now());
    assert_false(sampler_has_work(core));
    fixture.now_ms += 1;
    (void)look(0);
}

static void test_sampler_looks_once_a_second_at_most(void **state)
{
    (void)fixture_join(&fixture, 1);
    (void)look(0);
    sampler_tick(core, now());
    assert_false(sampler_has_work(core));
    fixture.now_ms += LATER_MS;
    (void)look(0);
}

static void test_sampler_begins_no_look_while_one_is_under_way(void **state)
{
    (void)fixture_join(&fixture, 1);
    sampler_tick(core, now());
    assert_true(sampler_has_work(core));
    const struct scan *scan = core->sampler.reader.scan;
    sampler_tick(core, now());
    assert_ptr_equal(core->sampler.reader.scan, scan);
    sampler_worked(core, 10, now()); /* a step: it is not at its end */
    assert_int_equal(core->sampler.spent_us, 10);
    (void)look(0);
}

static void test_sampler_looks_once_more_when_all_have_gone(void **state)
{
    struct client *client = fixture_join(&fixture, 1);
    (void)look(0);
    fixture_end(&fixture, client, true);
    assert_true(sampler_is_due(core));
    fixture.now_ms += LATER_MS;
    (void)look(0);
    assert_false(sampler_is_due(core));
    fixture.now_ms += LATER_MS;
    sampler_tick(core, now());
    assert_false(sampler_has_work(core));
    (void)fixture_join(&fixture, 2);
    assert_true(sampler_is_due(core));
    (void)look(0);
}

/* ---------------------------------------------------------------------------------- budgets -- */

static struct rules rules;

static void budget_begin(bool denies)
{
    rules = (struct rules){.n_budgets = 1};
    rules.budgets[0] =
        (struct rules_budget){.pattern = "**", .max_bytes = 3 * PAGE_BYTES, .denies = denies};
    core_set_rules(core, &rules);
}

/* A leased block of two pages, and a direct one of as many. */
static struct client *exceed(void)
{
    struct client *client = fixture_join(&fixture, 1);
    (void)fixture_ledger(&fixture, client);
    const uint32_t page = fixture_lease(&fixture, client, 2);
    fixture_carve_large(&fixture, client, page, 2, 2 * PAGE_BYTES);
    (void)fixture_allocate(&fixture, client, 2 * PAGE_BYTES, "direct");
    return client;
}

static uint32_t look_later(void)
{
    fixture.now_ms += LATER_MS;
    return look(0);
}

static void test_a_budget_that_warns_tells_once_that_it_is_exceeded(void **state)
{
    budget_begin(false);
    struct client *client = exceed();
    assert_int_equal(look(0), 1);
    assert_int_equal(budget_bytes(&core->budgets, 0), 4 * PAGE_BYTES);
    assert_int_equal(look_later(), 0); /* as before */
    fixture_end(&fixture, client, true);
    assert_int_equal(look_later(), 0);
    assert_int_equal(budget_bytes(&core->budgets, 0), 0);
    (void)exceed();
    assert_int_equal(look_later(), 1);
    core_set_rules(core, NULL);
}

static void test_a_budget_that_denies_shows_leased_blocks_and_tells_nothing(void **state)
{
    budget_begin(true);
    (void)exceed();
    assert_int_equal(look(0), 0);
    assert_int_equal(budget_bytes(&core->budgets, 0), 4 * PAGE_BYTES);
    core_set_rules(core, NULL);
}

/* Those with the most are compared; direct blocks count whatever a look has seen of them. */
static void test_a_budget_has_more_reasons_than_a_look_compares(void **state)
{
    enum { N_SEEN = 1024, N_REASONS = N_SEEN + 8 };
    char reason[32];
    struct client *client = fixture_join(&fixture, 1);
    for (uint32_t i = 0; i < N_REASONS; i++) {
        (void)snprintf(reason, sizeof(reason), "%u", i);
        (void)fixture_allocate(&fixture, client, 16, reason);
    }
    budget_begin(false);
    rules.budgets[0].max_bytes = UINT64_C(16) * N_REASONS;
    core_set_rules(core, &rules);
    assert_int_equal(look(0), 0);
    assert_int_equal(budget_bytes(&core->budgets, 0), N_REASONS * 16);
    assert_int_equal(core->budgets.seen_bytes[0], 0);
    core_set_rules(core, NULL);
}

/* Another look has made the point of this second meanwhile: one more is due, without clients. */
static void test_sampler_looks_again_when_its_look_was_not_noted(void **state)
{
    struct scan_reader other = {.uid = 1};
    struct client *client = fixture_join(&fixture, 1);
    (void)look(0);
    fixture_end(&fixture, client, true);
    fixture.now_ms += LATER_MS;
    sampler_tick(core, now());
    assert_true(sampler_has_work(core));
    struct scan *scan = fixture_scan(&fixture, &other, SCAN_BY_REASON);
    assert_true(history_note(&core->history, scan->rollup, &scan->look));
    scans_leave(&core->scans, &other);
    while (sampler_has_work(core)) {
        (void)sampler_work(core, now());
    }
    assert_true(sampler_is_due(core));
    fixture.now_ms += LATER_MS;
    (void)look(0);
    assert_false(sampler_is_due(core));
}

static void test_sampler_is_due_while_somebody_is_being_reaped(void **state)
{
    (void)look(0);
    assert_false(sampler_is_due(core));
    core_end(core, fixture_join(&fixture, 1), false, fixture.now_ms);
    assert_int_equal(core->clients.n_live, 0);
    assert_true(sampler_is_due(core));
}

/* The look that was to be the last one sees nobody, and then somebody is there. */
static void test_sampler_goes_on_when_somebody_joins_during_its_last_look(void **state)
{
    assert_true(sampler_is_due(core));
    fixture.now_ms += LATER_MS;
    sampler_tick(core, now());
    assert_true(sampler_has_work(core));
    (void)fixture_join(&fixture, 1);
    while (sampler_has_work(core)) {
        (void)sampler_work(core, now());
    }
    assert_false(core->sampler.is_done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sampler_rests_a_hundred_times_as_long_as_a_look_took,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(test_sampler_looks_once_a_second_at_most, sampler_setup,
                                        core_teardown),
        cmocka_unit_test_setup_teardown(test_sampler_begins_no_look_while_one_is_under_way,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(test_sampler_looks_once_more_when_all_have_gone,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(test_a_budget_that_warns_tells_once_that_it_is_exceeded,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_budget_that_denies_shows_leased_blocks_and_tells_nothing, sampler_setup,
            core_teardown),
        cmocka_unit_test_setup_teardown(test_a_budget_has_more_reasons_than_a_look_compares,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(test_sampler_looks_again_when_its_look_was_not_noted,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(test_sampler_is_due_while_somebody_is_being_reaped,
                                        sampler_setup, core_teardown),
        cmocka_unit_test_setup_teardown(
            test_sampler_goes_on_when_somebody_joins_during_its_last_look, sampler_setup,
            core_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
