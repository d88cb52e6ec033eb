/* SPDX-License-Identifier: MIT */

#include "daemon/keeper/backoff.h"
#include "tests/unit/unit.h"

/* A server that crashes as soon as it is started. Return: the pause, or UINT64_MAX for no more. */
static uint64_t crash_at(struct backoff *backoff, uint64_t now_ms)
{
    uint64_t pause_ms;
    return backoff_crashed(backoff, now_ms, 0, &pause_ms) ? UINT64_MAX : pause_ms;
}

static void kill_before_ready(struct backoff *backoff)
{
    assert_in_range(backoff_killed(backoff, false), 1, BACKOFF_LAST_MS);
}

/* ------------------------------------------------------------------------------ crashes ------- */

static void test_backoff_crashed_waits_twice_as_long_each_time_up_to_a_second(void **state)
{
    static const uint64_t pauses_ms[] = {0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000};
    struct backoff backoff = {0};
    uint64_t now_ms = 5000;

    for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
        assert_int_equal(crash_at(&backoff, now_ms), pauses_ms[i]);
        now_ms += pauses_ms[i];
    }
}

static void test_backoff_crashed_gives_up_after_eleven_within_a_minute(void **state)
{
    struct backoff backoff = {0};
    uint32_t n_starts = 0;

    for (uint64_t now_ms = 0; now_ms < 60000 && n_starts <= BACKOFF_CRASHES_MAX; n_starts++) {
        const uint64_t pause_ms = crash_at(&backoff, now_ms);
        if (pause_ms == UINT64_MAX) {
            break;
        }
        now_ms += pause_ms + 10;
    }

    assert_int_equal(n_starts, BACKOFF_CRASHES_MAX);
    assert_int_equal(crash_at(&backoff, 59999), UINT64_MAX);
}

static void test_backoff_crashed_goes_on_if_the_eleventh_comes_after_a_minute(void **state)
{
    struct backoff backoff = {0};

    for (uint64_t i = 0; i < 100; i++) {
        assert_int_not_equal(crash_at(&backoff, i * 6000), UINT64_MAX);
    }
}

static void test_backoff_crashed_forgets_who_lived_for_ten_seconds(void **state)
{
    struct backoff backoff = {0};
    uint64_t pause_ms;
    (void)crash_at(&backoff, 0);
    (void)crash_at(&backoff, 0);

    assert_int_equal(backoff_crashed(&backoff, 9999, 9999, &pause_ms), 0);
    assert_int_equal(pause_ms, 20);
    assert_int_equal(backoff_crashed(&backoff, 20000, 10000, &pause_ms), 0);
    assert_int_equal(pause_ms, 0);
}

/* -------------------------------------------------------------------------------- kills ------- */

static void test_backoff_killed_when_ready_costs_no_pause(void **state)
{
    struct backoff backoff = {0};

    for (uint32_t i = 0; i < 2000; i++) {
        backoff_ready(&backoff);
        assert_int_equal(backoff_killed(&backoff, true), 0);
    }
}

/* One in ten is killed before it is ready. */
static void test_backoff_killed_every_50_ms_meets_a_server_nearly_each_time(void **state)
{
    struct backoff backoff = {0};
    uint32_t n_met = 0;
    uint64_t there_from_ms = 0;

    for (uint64_t i = 0; i < 1200; i++) {
        if (there_from_ms > i * 50) {
            continue;
        }
        const bool was_ready = i % 10 != 0;
        if (was_ready) {
            backoff_ready(&backoff);
        }
        there_from_ms = i * 50 + backoff_killed(&backoff, was_ready) + 20;
        n_met++;
    }

    assert_int_equal(n_met, 1200);
}

static void test_backoff_killed_before_ready_on_and_on_comes_down_to_one_a_second(void **state)
{
    struct backoff backoff = {0};
    uint32_t n_starts = 0;

    for (uint64_t now_ms = 0; now_ms < 60000; n_starts++) {
        now_ms += backoff_killed(&backoff, false);
    }

    assert_in_range(n_starts, 60, 100);
    assert_int_equal(backoff_killed(&backoff, false), BACKOFF_LAST_MS);
}

static void test_backoff_ready_forgets_who_was_killed_before(void **state)
{
    struct backoff backoff = {0};
    for (uint32_t i = 0; i < 100; i++) {
        kill_before_ready(&backoff);
    }

    backoff_ready(&backoff);

    assert_in_range(backoff_killed(&backoff, false), 1, 5);
}

static void test_backoff_ready_does_not_forget_crashes(void **state)
{
    struct backoff backoff = {0};
    (void)crash_at(&backoff, 0);
    (void)crash_at(&backoff, 0);

    backoff_ready(&backoff);
    assert_int_equal(backoff_killed(&backoff, true), 0);

    assert_int_equal(crash_at(&backoff, 0), 20);
}

static void test_backoff_forget_ends_pauses_but_not_the_count(void **state)
{
    struct backoff backoff = {0};
    for (uint32_t i = 0; i < BACKOFF_CRASHES_MAX; i++) {
        (void)crash_at(&backoff, i);
        kill_before_ready(&backoff);
    }

    backoff_forget(&backoff);

    uint64_t pause_ms;
    assert_in_range(backoff_killed(&backoff, false), 1, 5);
    assert_int_equal(backoff_crashed(&backoff, 100, 1, &pause_ms), BACKOFF_E_CRASHES);
    assert_int_equal(pause_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_crashed_waits_twice_as_long_each_time_up_to_a_second),
        cmocka_unit_test(test_backoff_crashed_gives_up_after_eleven_within_a_minute),
        cmocka_unit_test(test_backoff_crashed_goes_on_if_the_eleventh_comes_after_a_minute),
        cmocka_unit_test(test_backoff_crashed_forgets_who_lived_for_ten_seconds),
        cmocka_unit_test(test_backoff_killed_when_ready_costs_no_pause),
        cmocka_unit_test(test_backoff_killed_every_50_ms_meets_a_server_nearly_each_time),
        cmocka_unit_test(test_backoff_killed_before_ready_on_and_on_comes_down_to_one_a_second),
        cmocka_unit_test(test_backoff_ready_forgets_who_was_killed_before),
        cmocka_unit_test(test_backoff_ready_does_not_forget_crashes),
        cmocka_unit_test(test_backoff_forget_ends_pauses_but_not_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
