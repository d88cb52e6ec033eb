/* SPDX-License-Identifier: MIT */

#include "daemon/core/tick.h"
#include "tests/unit/unit.h"

static void test_tick_of_counts_from_the_segments_birth(void **state)
{
    assert_int_equal(tick_of(1000, 1000), 0);
    assert_int_equal(tick_of(1099, 1000), 0);
    assert_int_equal(tick_of(1100, 1000), 1);
    assert_int_equal(tick_of(1000 + 3600 * 1000, 1000), 36000);
}

static void test_tick_of_a_time_before_the_birth_is_0(void **state)
{
    assert_int_equal(tick_of(999, 1000), 0);
    assert_int_equal(tick_of(0, UINT64_MAX), 0);
}

static void test_tick_of_stands_still_at_its_end(void **state)
{
    const uint32_t last = TICK_STOPPED - 1; /* what comes next is no time */
    const uint64_t last_ms = (uint64_t)last * TICK_MS;

    assert_int_equal(tick_of(last_ms - 1, 0), last - 1);
    assert_int_equal(tick_of(last_ms, 0), last);
    assert_int_equal(tick_of(last_ms + TICK_MS, 0), last);
    assert_int_equal(tick_of(UINT64_MAX, 0), last);
}

static void test_tick_age_of_the_future_is_0(void **state)
{
    assert_int_equal(tick_age_ms(5, 5), 0);
    assert_int_equal(tick_age_ms(6, 5), 0);
    assert_int_equal(tick_age_ms(UINT32_MAX, 0), 0);
}

static void test_tick_age_does_not_overflow(void **state)
{
    assert_int_equal(tick_age_ms(3, 5), 200);
    assert_int_equal(tick_age_ms(0, UINT32_MAX), UINT64_C(429496729500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tick_of_counts_from_the_segments_birth),
        cmocka_unit_test(test_tick_of_a_time_before_the_birth_is_0),
        cmocka_unit_test(test_tick_of_stands_still_at_its_end),
        cmocka_unit_test(test_tick_age_of_the_future_is_0),
        cmocka_unit_test(test_tick_age_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
