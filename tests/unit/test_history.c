/* SPDX-License-Identifier: MIT */
/*
 * test_history.c - what was live before now: points, places and their reports
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/sampler.h"
#include "daemon/core/scan.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)

static struct core *core;
static struct history *history;
static struct scan_reader reader;

static int history_setup(void **state)
{
    talk_begin(N_PAGES, 100);
    core = talk.core;
    history = &core->history;
    talk.fixture.now_ms = 100 * MINUTE; /* where a minute begins */
    return 0;
}

static uint64_t hold(const char *reason, uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, &alice, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

static void drop(uint64_t offset)
{
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
}

/* A look, now. Return: whether there is a point of it. */
static bool look(void)
{
    struct scan *scan = fixture_scan(&talk.fixture, &reader, SCAN_BY_REASON);
    const bool is_noted = history_note(history, scan->rollup, &scan->look);
    scans_leave(&core->scans, &reader);
    assert_int_equal(history_check(history), 0);
    return is_noted;
}

static void look_after(uint64_t ms)
{
    talk.fixture.now_ms += ms;
    assert_true(look());
}

static const Kmem__HistoryReport *report(Kmem__HistoryStep step, const char *reason)
{
    struct request request;
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_HISTORY);
    base->history->step = step;
    base->history->reason.data = (uint8_t *)(uintptr_t)reason;
    base->history->reason.len = strlen(reason);
    assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_HISTORY);
    return talk.reply->response.history;
}

#define SECONDS(reason) report(KMEM__HISTORY_STEP__STEP_SECOND, reason)
#define MINUTES(reason) report(KMEM__HISTORY_STEP__STEP_MINUTE, reason)

/* Where a point has a reason; -1: nowhere. */
static int series_at(const Kmem__HistoryReport *said, size_t point, const char *reason)
{
    const Kmem__HistoryPoint *row = said->points[point];
    for (size_t i = 0; i < row->n_series; i++) {
        if (strcmp(said->series[row->series[i]], reason) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void assert_series(const Kmem__HistoryReport *said, size_t point, const char *reason,
                          uint64_t num_bytes, uint64_t n_blocks)
{
    const int at = series_at(said, point, reason);
    assert_true(at >= 0);
    assert_int_equal(said->points[point]->series_bytes[at], num_bytes);
    assert_int_equal(said->points[point]->series_blocks[at], n_blocks);
}

static void test_history_note_has_the_sum_and_the_reasons(void **state)
{
    (void)hold("camera/frame#1", 1000);
    (void)hold("camera/frame#2", 2000);
    (void)hold("log", 50);
    assert_true(look());
    const Kmem__HistoryReport *said = SECONDS("*");
    assert_int_equal(said->n_points, 1);
    assert_int_equal(said->points[0]->num_bytes, 3050);
    assert_int_equal(said->points[0]->n_blocks, 3);
    assert_int_equal(said->points[0]->n_looks, 1);
    assert_int_equal(said->n_series, 3);
    assert_series(said, 0, "camera/frame", 3000, 2);
    assert_series(said, 0, "log", 50, 1);
    assert_series(said, 0, OTHER_REASONS, 0, 0);
}

static void test_history_report_of_a_pattern(void **state)
{
    (void)hold("camera/frame", 1000);
    (void)hold("log", 50);
    assert_true(look());
    assert_int_equal(SECONDS("")->n_series, 0);
    assert_int_equal(SECONDS("")->points[0]->n_series, 0);
    const Kmem__HistoryReport *said = SECONDS("cam*");
    assert_int_equal(said->n_series, 1);
    assert_int_equal(said->points[0]->num_bytes, 1050);
    assert_series(said, 0, "camera/frame", 1000, 1);
}

static void assert_refused(Kmem__HistoryStep step, const char *reason, size_t n_bytes)
{
    struct request request;
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_HISTORY);
    base->history->step = step;
    base->history->reason.data = (uint8_t *)(uintptr_t)reason;
    base->history->reason.len = n_bytes;
    assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "");
}

static void test_history_report_of_what_can_not_be_meant(void **state)
{
    char long_glob[GLOB_MAX_BYTES + 1];
    memset(long_glob, 'x', sizeof(long_glob));
    assert_refused(KMEM__HISTORY_STEP__STEP_SECOND, "\xff", 1);
    assert_refused(KMEM__HISTORY_STEP__STEP_SECOND, long_glob, sizeof(long_glob));
    assert_refused((Kmem__HistoryStep)2, "*", 1);
}

static void test_history_spans_and_gaps(void **state)
{
    look_after(0);
    look_after(SECOND);
    look_after(7 * SECOND);
    history_pause(history);
    look_after(MINUTE);
    look_after(SECOND);
    const Kmem__HistoryReport *said = SECONDS("");
    const uint32_t spans[] = {0, SECOND, 7 * SECOND, 0, SECOND};
    assert_int_equal(said->n_points, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(said->points[i]->span_ms, spans[i]);
    }
    assert_int_equal(said->points[2]->number - said->points[1]->number, 7);
    assert_int_equal(said->points[4]->ms_ago, 0);
    assert_int_equal(said->points[0]->ms_ago, 69 * SECOND);
}

static void test_history_note_takes_one_look_a_second(void **state)
{
    assert_true(look());
    talk.fixture.now_ms += SECOND - 1;
    assert_false(history_wants(history, talk.fixture.now_ms));
    assert_false(look());
    talk.fixture.now_ms += 1;
    assert_true(history_wants(history, talk.fixture.now_ms));
    assert_true(look());
    assert_int_equal(SECONDS("")->n_points, 2);
}

static void test_history_peak_is_of_the_time_since_the_point_before(void **state)
{
    (void)hold("log", 50);
    history_note_peak(history, 700);
    history_note_peak(history, 600);
    look_after(0);
    look_after(SECOND);
    const Kmem__HistoryReport *said = SECONDS("");
    assert_int_equal(said->points[0]->peak_bytes, 700);
    assert_int_equal(said->points[1]->peak_bytes, 50);
}

static void test_history_keeps_an_hour_of_seconds(void **state)
{
    for (uint32_t i = 0; i < HISTORY_SECONDS + 10; i++) {
        look_after(SECOND);
    }
    const struct state_point *first = history_next(&history->seconds, 0);
    const uint64_t age_ms = talk.fixture.now_ms - first->at_ms;
    assert_int_equal(age_ms, (HISTORY_SECONDS - 1) * SECOND);
    uint32_t n_points = 0;
    for (const struct state_point *point = first; point;
         point = history_next(&history->seconds, state_load(&point->number) + 1)) {
        n_points++;
    }
    assert_int_equal(n_points, HISTORY_SECONDS);
}

static void test_history_points_older_than_the_ring_are_gone(void **state)
{
    look_after(0);
    look_after((HISTORY_SECONDS - 1) * SECOND);
    assert_int_equal(SECONDS("")->n_points, 2);
    look_after(SECOND);
    assert_int_equal(SECONDS("")->n_points, 2);
    look_after(SECOND * 2 * HISTORY_SECONDS);
    assert_int_equal(SECONDS("")->n_points, 1);
}

static void test_history_minute_has_the_last_look_and_the_most(void **state)
{
    const uint64_t large = hold("camera", 5000);
    (void)hold("log", 50);
    look_after(0);
    drop(large);
    (void)hold("camera", 1000);
    look_after(59 * SECOND);
    assert_int_equal(history->minutes.newest, 0); /* it is not over */
    assert_int_equal(MINUTES("")->n_points, 1);   /* and told all the same */
    look_after(SECOND);
    const Kmem__HistoryReport *said = MINUTES("*");
    assert_int_equal(said->n_points, 2);
    assert_int_equal(said->points[0]->n_looks, 2);
    assert_int_equal(said->points[0]->num_bytes, 1050);
    assert_int_equal(said->points[0]->peak_bytes, 5050);
    assert_int_equal(said->points[0]->span_ms, 59 * SECOND);
    assert_series(said, 0, "camera", 1000, 1);
    assert_int_equal(said->points[0]->series_peak_bytes[series_at(said, 0, "camera")], 5000);
    assert_int_equal(said->points[1]->n_looks, 1);
    assert_int_equal(said->points[1]->number - said->points[0]->number, 1);
}

static void test_history_keeps_a_week_of_minutes(void **state)
{
    for (uint32_t i = 0; i < HISTORY_MINUTES + 10; i++) {
        look_after(MINUTE);
    }
    const struct state_point *first = history_next(&history->minutes, 0);
    assert_int_equal(talk.fixture.now_ms - first->at_ms, (uint64_t)HISTORY_MINUTES * MINUTE);
}

static void test_history_report_is_paged(void **state)
{
    (void)hold("log", 50);
    for (uint32_t i = 0; i < 1500; i++) {
        look_after(SECOND);
    }
    struct request request;
    uint64_t next = 0;
    uint64_t last = 0;
    uint32_t n_points = 0;
    uint32_t n_pages = 0;
    do {
        Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_HISTORY);
        base->history->from_number = next;
        base->history->reason.data = (uint8_t *)(uintptr_t) "*";
        base->history->reason.len = 1;
        assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
        const Kmem__HistoryReport *said = talk.reply->response.history;
        for (size_t i = 0; i < said->n_points; i++) {
            assert_true(said->points[i]->number > last);
            last = said->points[i]->number;
        }
        n_points += (uint32_t)said->n_points;
        next = said->more ? said->next_number : 0;
        n_pages++;
    } while (next != 0);
    assert_int_equal(n_points, 1500);
    assert_true(n_pages > 1);
}

static void test_history_report_of_points_that_are_young_enough(void **state)
{
    struct request request;
    for (uint32_t i = 0; i < 10; i++) {
        look_after(SECOND);
    }
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_HISTORY);
    base->history->max_age_ms = 3 * SECOND;
    assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
    assert_int_equal(talk.reply->response.history->n_points, 4);
}

/* ------------------------------------------------------------------------------------ places -- */

static void hold_numbered(const char *format, uint32_t n_reasons, uint64_t num_bytes,
                          uint64_t *ret_offsets)
{
    char reason[32];
    for (uint32_t i = 0; i < n_reasons; i++) {
        (void)snprintf(reason, sizeof(reason), format, i);
        const uint64_t offset = hold(reason, num_bytes);
        if (ret_offsets) {
            ret_offsets[i] = offset;
        }
    }
}

static void test_history_more_reasons_than_places_are_the_rest(void **state)
{
    hold_numbered("large/%u", HISTORY_SERIES, 1000, NULL);
    hold_numbered("small/%u", 10, 20, NULL);
    look_after(0);
    const Kmem__HistoryReport *said = SECONDS("*");
    assert_int_equal(said->n_series, HISTORY_SERIES + 1);
    assert_series(said, 0, OTHER_REASONS, 200, 10);
    assert_series(said, 0, "large/0", 1000, 1);
}

static void test_history_first_reasons_always_have_a_place(void **state)
{
    uint64_t offsets[HISTORY_SERIES];
    hold_numbered("gone/%u", HISTORY_SERIES, 100000, offsets);
    look_after(0);
    for (uint32_t i = 0; i < HISTORY_SERIES; i++) {
        drop(offsets[i]);
    }
    hold_numbered("new/%u", HISTORY_TOP, 100, NULL);
    look_after(SECOND);
    const Kmem__HistoryReport *said = SECONDS("new/*");
    assert_int_equal(said->n_series, HISTORY_TOP);
    assert_int_equal(said->points[0]->n_series, 0); /* not known then */
    assert_int_equal(said->points[1]->n_series, HISTORY_TOP);
    said = SECONDS("*");
    assert_series(said, 0, OTHER_REASONS, UINT64_C(100000) * HISTORY_TOP, HISTORY_TOP); /* ousted */
    assert_series(said, 1, OTHER_REASONS, 0, 0);
}

static void test_history_weight_keeps_the_other_places_for_hours(void **state)
{
    uint64_t offsets[HISTORY_SERIES];
    hold_numbered("gone/%u", HISTORY_SERIES, 100000, offsets);
    look_after(0);
    for (uint32_t i = 0; i < HISTORY_SERIES; i++) {
        drop(offsets[i]);
    }
    hold_numbered("new/%u", HISTORY_SERIES, 30000, NULL);
    look_after(SECOND);
    assert_int_equal(SECONDS("new/*")->n_series, HISTORY_TOP);
    assert_int_equal(SECONDS("gone/*")->n_series, HISTORY_SERIES - HISTORY_TOP);
    look_after(HISTORY_HALF_LIFE_MS);
    assert_int_equal(SECONDS("new/*")->n_series, HISTORY_TOP); /* 50,000 against 30,000 */
    look_after(HISTORY_HALF_LIFE_MS);
    assert_int_equal(SECONDS("new/*")->n_series, HISTORY_SERIES);
}

static void test_history_many_reasons_take_no_place_from_those_with_more(void **state)
{
    hold_numbered("honest/%u", HISTORY_TOP, 100000, NULL);
    for (uint32_t round = 0; round < 20; round++) {
        uint64_t offsets[200];
        char format[32];
        (void)snprintf(format, sizeof(format), "made/up/%u/%%u", round);
        hold_numbered(format, 200, 1000, offsets);
        look_after(SECOND);
        for (uint32_t i = 0; i < 200; i++) {
            drop(offsets[i]);
        }
    }
    const Kmem__HistoryReport *said = SECONDS("honest/*");
    assert_int_equal(said->n_series, HISTORY_TOP);
    for (size_t i = 0; i < said->n_points; i++) {
        assert_int_equal(said->points[i]->n_series, HISTORY_TOP);
        assert_series(said, i, "honest/3", 100000, 1);
    }
}

static void test_history_note_leaves_a_look_whose_places_were_given(void **state)
{
    (void)hold("a", 100);
    struct scan *scan = fixture_scan(&talk.fixture, &reader, SCAN_BY_REASON);
    struct history_look look = scan->look;
    assert_true(history_note(history, scan->rollup, &scan->look));
    look.at_ms += SECOND;
    assert_false(history_note(history, scan->rollup, &look));
    scans_leave(&core->scans, &reader);
}

/* ----------------------------------------------------------------------------- other servers -- */

static void test_history_goes_on_with_the_next_server(void **state)
{
    struct history next;
    (void)hold("camera", 1000);
    look_after(0);
    look_after(SECOND);
    look_after(MINUTE);
    history_init(&next, &core->state);
    history_recover(&next);
    assert_int_equal(history_check(&next), 0);
    assert_int_equal(next.seconds.newest, history->seconds.newest);
    assert_int_equal(next.minutes.newest, history->minutes.newest);
    *history = next;
    look_after(5 * SECOND);
    const Kmem__HistoryReport *said = SECONDS("*");
    assert_int_equal(said->n_points, 4);
    assert_series(said, 0, "camera", 1000, 1);
    assert_int_equal(said->points[3]->span_ms, 0); /* nobody looked */
}

static void test_history_a_point_that_was_begun_is_none(void **state)
{
    look_after(0);
    look_after(SECOND);
    const uint64_t newest = history->seconds.newest;
    history->seconds.points[newest % HISTORY_SECONDS].number = 0;
    history_init(history, &core->state);
    history_recover(history);
    assert_int_equal(history->seconds.newest, newest - 1);
    assert_int_equal(SECONDS("")->n_points, 1);
}

static void test_history_numbers_that_fit_no_place_are_none(void **state)
{
    look_after(0);
    history->seconds.points[7].number = UINT64_MAX;
    history->seconds.points[8].number = UINT64_MAX - UINT64_MAX % HISTORY_SECONDS + 8;
    history->minutes.points[3].number = 4;
    const uint64_t newest = history->seconds.newest;
    history_init(history, &core->state);
    history_recover(history);
    assert_int_equal(history->seconds.newest, newest);
    assert_int_equal(history->minutes.newest, 0);
    history->seconds.points[8].number = 0;
    history->seconds.points[7].number = 0;
    history->minutes.points[3].number = 0;
}

/* ----------------------------------------------------------------------------------- sampler -- */

static struct now now_is(uint64_t ms)
{
    return (struct now){.ms = ms, .us = ms * 1000};
}

/* A tick, and all the work that follows from it, which costs so much. */
static void tick_at(uint64_t ms, uint64_t spent_us)
{
    sampler_tick(core, now_is(ms));
    if (sampler_has_work(core)) {
        while (sampler_has_work(core)) {
            sampler_work(core, now_is(ms));
        }
        sampler_worked(core, spent_us, now_is(ms));
    }
}

static void test_sampler_looks_once_a_second(void **state)
{
    for (uint32_t i = 0; i < 50; i++) {
        tick_at(100 * MINUTE + UINT64_C(100) * i, 5);
    }
    assert_int_equal(core->scans.n_begun, 5);
    assert_int_equal(history_next(&history->seconds, 0)->span_ms, 0);
    talk.fixture.now_ms += 5 * SECOND;
    const Kmem__HistoryReport *said = SECONDS("");
    assert_int_equal(said->n_points, 5);
    assert_int_equal(said->points[4]->span_ms, SECOND);
}

static void test_sampler_rests_a_hundred_times_as_long_as_it_looked(void **state)
{
    const uint64_t spent_us = 70000;
    tick_at(100 * MINUTE, spent_us);
    tick_at(100 * MINUTE + 6999, spent_us);
    assert_int_equal(core->scans.n_begun, 1);
    tick_at(100 * MINUTE + 7000, spent_us);
    assert_int_equal(core->scans.n_begun, 2);
    assert_int_equal(SECONDS("")->points[1]->span_ms, 7000);
}

static void test_sampler_looks_once_more_without_clients(void **state)
{
    struct fixture fixture;
    fixture_init(&fixture, N_PAGES, 10);
    core = &fixture.core;
    assert_true(sampler_is_due(core)); /* what the last server had last may be gone */
    tick_at(SECOND, 5);
    assert_false(sampler_is_due(core));
    struct client *client = fixture_join(&fixture, 1);
    (void)fixture_allocate(&fixture, client, 100, "a");
    assert_true(sampler_is_due(core));
    tick_at(2 * SECOND, 5);
    assert_true(sampler_is_due(core));
    fixture_end(&fixture, client, true);
    assert_true(sampler_is_due(core));
    tick_at(3 * SECOND, 5);
    assert_false(sampler_is_due(core));
    const struct state_point *last =
        history_next(&core->history.seconds, core->history.seconds.newest);
    assert_int_equal(last->num_bytes, 0);
    tick_at(4 * SECOND, 5);
    assert_int_equal(core->scans.n_begun, 3);
    fixture_fini(&fixture);
    core = talk.core;
}

static void test_sampler_waits_if_no_look_can_begin(void **state)
{
    struct scan_reader keepers[SCANS_KEPT];
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        keepers[i] = (struct scan_reader){.uid = i, .pid = i};
        (void)fixture_scan(&talk.fixture, &keepers[i], SCAN_BY_REASON);
        scan_keep(core, &keepers[i], talk.fixture.now_ms * 1000);
    }
    tick_at(100 * MINUTE, 5);
    assert_false(sampler_has_work(core));
    assert_false(core->sampler.is_done);
    assert_int_equal(SECONDS("")->n_points, 0);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &keepers[i]);
    }
    tick_at(100 * MINUTE + SECOND, 5);
    assert_int_equal(SECONDS("")->n_points, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, history_setup, talk_teardown)

/* What is counted together with others has no line of its own. */
static void test_history_has_no_place_for_the_rest(void **state)
{
    uint32_t limits[N_CAPS];
    memcpy(limits, core->config.caps, sizeof(limits));
    limits[CAP_REASONS] = 1;
    caps_set(&core->caps, limits);
    (void)hold("a", 100);
    (void)hold("one too many", 1000);
    look_after(SECOND);
    const Kmem__HistoryReport *said = SECONDS("*");
    assert_series(said, 0, "a", 100, 1);
    assert_series(said, 0, OTHER_REASONS, 1000, 1);
    assert_int_equal(series_at(said, 0, "one too many"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_history_note_has_the_sum_and_the_reasons),
        TEST(test_history_report_of_a_pattern),
        TEST(test_history_report_of_what_can_not_be_meant),
        TEST(test_history_spans_and_gaps),
        TEST(test_history_note_takes_one_look_a_second),
        TEST(test_history_peak_is_of_the_time_since_the_point_before),
        TEST(test_history_keeps_an_hour_of_seconds),
        TEST(test_history_points_older_than_the_ring_are_gone),
        TEST(test_history_minute_has_the_last_look_and_the_most),
        TEST(test_history_keeps_a_week_of_minutes),
        TEST(test_history_report_is_paged),
        TEST(test_history_report_of_points_that_are_young_enough),
        TEST(test_history_more_reasons_than_places_are_the_rest),
        TEST(test_history_first_reasons_always_have_a_place),
        TEST(test_history_weight_keeps_the_other_places_for_hours),
        TEST(test_history_many_reasons_take_no_place_from_those_with_more),
        TEST(test_history_note_leaves_a_look_whose_places_were_given),
        TEST(test_history_goes_on_with_the_next_server),
        TEST(test_history_a_point_that_was_begun_is_none),
        TEST(test_history_numbers_that_fit_no_place_are_none),
        TEST(test_sampler_looks_once_a_second),
        TEST(test_sampler_rests_a_hundred_times_as_long_as_it_looked),
        TEST(test_sampler_looks_once_more_without_clients),
        TEST(test_sampler_waits_if_no_look_can_begin),
        TEST(test_history_has_no_place_for_the_rest),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
