/* SPDX-License-Identifier: MIT */
/*
 * test_history_limits.c - history at its ends: figures that do not fit, and reports of nothing
 */
#include <string.h>

#include "daemon/core/scan.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define MINUTE UINT64_C(60000)
#define DAY (1440 * MINUTE)

static struct history *history;

static int limits_setup(void **state)
{
    talk_begin(256, 8);
    history = &talk.core->history;
    talk.fixture.now_ms = 100 * MINUTE;
    assert_int_equal(ask_allocate(&talk, &alice, 1000, "camera", 6), DISPATCH_OK);
    return 0;
}

/* A look, in which the first reason has so much. */
static void look_at(uint64_t num_bytes, uint64_t n_blocks)
{
    struct scan_reader reader = {.waits = false};
    struct scan *scan = fixture_scan(&talk.fixture, &reader, SCAN_BY_REASON);
    struct rollup_group *group = (struct rollup_group *)(uintptr_t)rollup_group(scan->rollup, 0);
    group->num_bytes = num_bytes;
    group->n_blocks = n_blocks;
    assert_true(history_note(history, scan->rollup, &scan->look));
    scans_leave(&talk.core->scans, &reader);
    assert_int_equal(history_check(history), 0);
}

static const Kmem__HistoryReport *report(Kmem__HistoryStep step, const char *reason,
                                         uint64_t from_number)
{
    struct request request;
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_HISTORY);
    base->history->step = step;
    base->history->from_number = from_number;
    base->history->reason.data = (uint8_t *)(uintptr_t)reason;
    base->history->reason.len = strlen(reason);
    assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_HISTORY);
    return talk.reply->response.history;
}

#define SECONDS KMEM__HISTORY_STEP__STEP_SECOND
#define MINUTES KMEM__HISTORY_STEP__STEP_MINUTE

static void test_figures_that_do_not_fit_are_the_most_that_do(void **state)
{
    look_at(FIGURE_BYTES_MAX + 7, FIGURE_BLOCKS_MAX + 7);
    const Kmem__HistoryPoint *point = report(SECONDS, "camera", 0)->points[0];
    assert_int_equal(point->series_bytes[0], FIGURE_BYTES_MAX);
    assert_int_equal(point->series_blocks[0], FIGURE_BLOCKS_MAX);
}

/* The weight has halved more often than it has bits; the time between has more ms than 32 bits. */
static void test_looks_of_years_apart_are_noted(void **state)
{
    look_at(1000, 1);
    talk.fixture.now_ms += 3650 * DAY;
    look_at(2000, 1);
    const Kmem__HistoryReport *said = report(SECONDS, "camera", 0);
    assert_int_equal(said->points[said->n_points - 1]->span_ms, UINT32_MAX);
    assert_int_equal(said->points[said->n_points - 1]->series_bytes[0], 2000);
}

static void test_minutes_of_no_look_are_none(void **state)
{
    assert_int_equal(report(MINUTES, "", 0)->n_points, 0);
}

static void test_minutes_from_behind_the_last_are_none(void **state)
{
    look_at(1000, 1);
    const Kmem__HistoryReport *said = report(MINUTES, "", 0);
    assert_int_equal(said->n_points, 1);
    const uint64_t last = said->points[0]->number;
    assert_int_equal(report(MINUTES, "", last)->n_points, 1);
    assert_int_equal(report(MINUTES, "", last + 1)->n_points, 0);
}

/* Without reasons a row is short: as many as there may be are less than a frame. */
static void test_points_without_reasons_are_so_many_rows(void **state)
{
    for (uint32_t i = 0; i < 520; i++) {
        talk.fixture.now_ms += 1000;
        look_at(1000, 1);
    }
    const Kmem__HistoryReport *said = report(SECONDS, "", 0);
    assert_int_equal(said->n_points, 512);
    assert_true(said->more);
    assert_int_equal(report(SECONDS, "", said->next_number)->n_points, 8);
}

static void test_place_with_a_reason_that_is_too_long_is_nobodys(void **state)
{
    look_at(1000, 1);
    assert_int_equal(report(SECONDS, "camera", 0)->n_series, 1);
    uint32_t place = 0;
    while (series_since(&history->series[place]) == 0) {
        place++;
    }
    const uint8_t n_bytes = history->series[place].n_bytes;
    history->series[place].n_bytes = REASON_MAX_BYTES + 1;
    assert_int_equal(report(SECONDS, "camera", 0)->n_series, 0);
    history->series[place].n_bytes = n_bytes;
}

#define LIMITS_TEST(test) cmocka_unit_test_setup_teardown(test, limits_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMITS_TEST(test_figures_that_do_not_fit_are_the_most_that_do),
        LIMITS_TEST(test_looks_of_years_apart_are_noted),
        LIMITS_TEST(test_minutes_of_no_look_are_none),
        LIMITS_TEST(test_minutes_from_behind_the_last_are_none),
        LIMITS_TEST(test_points_without_reasons_are_so_many_rows),
        LIMITS_TEST(test_place_with_a_reason_that_is_too_long_is_nobodys),
    };
    return cmocka_run_group_tests_name("history_limits", tests, NULL, NULL);
}
