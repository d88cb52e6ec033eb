/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_course.c - since when it grows, of courses that were made for it
 */
#include <string.h>

#include "client/ctl/course.h"
#include "tests/unit/unit.h"

#define MIB ((uint64_t)1 << 20)

static struct course course;
static struct course_growth growth;

static int clear(void **state)
{
    course = (struct course){.is_known = {false}};
    growth = (struct course_growth){.began = 0};
    return 0;
}

static void flat(size_t from, size_t to, uint64_t num_bytes)
{
    for (size_t step = from; step < to; step++) {
        course_note(&course, step, num_bytes);
    }
}

static void rising(size_t from, size_t to, uint64_t first, uint64_t by)
{
    for (size_t step = from; step < to; step++) {
        course_note(&course, step, first + (step - from) * by);
    }
}

static void test_course_grows_nothing_that_is_known(void **state)
{
    assert_false(course_grows(&course, &growth));
}

static void test_course_grows_what_stays_does_not_grow(void **state)
{
    flat(0, COURSE_STEPS, 5 * MIB);
    assert_false(course_grows(&course, &growth));
}

static void test_course_grows_the_step_in_which_it_began(void **state)
{
    flat(0, 30, 5 * MIB);
    rising(30, COURSE_STEPS, 6 * MIB, MIB);
    assert_true(course_grows(&course, &growth));
    assert_in_range(growth.began, 29, 30);
    assert_false(growth.is_from_first);
    assert_false(growth.has_stopped);
    assert_int_equal(growth.to_bytes, 35 * MIB);
}

static void test_course_grows_looks_through_what_comes_and_goes(void **state)
{
    for (size_t step = 0; step < COURSE_STEPS; step++) {
        const uint64_t base = step < 40 ? 0 : (step - 40) * MIB;
        course_note(&course, step, base + 50 * MIB);
        course_note(&course, step, base + MIB);
        course_note(&course, step, base + (step % 3) * 20 * MIB);
    }
    assert_true(course_grows(&course, &growth));
    assert_in_range(growth.began, 39, 42);
}

static void test_course_grows_what_goes_up_and_down_does_not_grow(void **state)
{
    for (size_t step = 0; step < COURSE_STEPS; step++) {
        course_note(&course, step, (10 + step % 10) * MIB);
    }
    assert_false(course_grows(&course, &growth));
}

static void test_course_grows_what_is_falling_does_not_grow(void **state)
{
    for (size_t step = 0; step < COURSE_STEPS; step++) {
        course_note(&course, step, (100 - step) * MIB);
    }
    assert_false(course_grows(&course, &growth));
}

static void test_course_grows_from_the_first_step_that_is_known(void **state)
{
    rising(45, COURSE_STEPS, MIB, MIB);
    assert_true(course_grows(&course, &growth));
    assert_true(growth.is_from_first);
    assert_int_equal(growth.began, 45);
}

static void test_course_grows_tells_that_it_has_stopped(void **state)
{
    flat(0, 10, MIB);
    rising(10, 20, 2 * MIB, 2 * MIB);
    flat(20, COURSE_STEPS, 20 * MIB);
    assert_true(course_grows(&course, &growth));
    assert_true(growth.has_stopped);
    assert_in_range(growth.began, 9, 10);
}

static void test_course_grows_steps_that_were_not_looked_at(void **state)
{
    flat(0, 10, MIB);
    rising(30, COURSE_STEPS, MIB, MIB);
    assert_true(course_grows(&course, &growth));
    assert_in_range(growth.began, 30, 31);
}

static void test_course_grows_little_is_noise(void **state)
{
    flat(0, 30, 0);
    flat(30, COURSE_STEPS, 60000);
    assert_false(course_grows(&course, &growth));
    (void)clear(state);
    flat(0, COURSE_STEPS, 100 * MIB);
    for (size_t step = 30; step < COURSE_STEPS; step++) {
        course.least[step] = 105 * MIB;
    }
    assert_false(course_grows(&course, &growth));
}

static void test_course_spark(void **state)
{
    char line[COURSE_SPARK_BYTES];
    rising(COURSE_STEPS - 8, COURSE_STEPS, 0, MIB);
    assert_string_equal(course_spark(&course, false, line) + COURSE_STEPS - 9, " _.:-=+*#");
    assert_int_equal(strlen(course_spark(&course, true, line)), COURSE_STEPS - 8 + 3 * 8);
    assert_non_null(strstr(line, "▁▂▃▄▅▆▇█"));
}

#define TEST(function) cmocka_unit_test_setup(function, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_course_grows_nothing_that_is_known),
        TEST(test_course_grows_what_stays_does_not_grow),
        TEST(test_course_grows_the_step_in_which_it_began),
        TEST(test_course_grows_looks_through_what_comes_and_goes),
        TEST(test_course_grows_what_goes_up_and_down_does_not_grow),
        TEST(test_course_grows_what_is_falling_does_not_grow),
        TEST(test_course_grows_from_the_first_step_that_is_known),
        TEST(test_course_grows_tells_that_it_has_stopped),
        TEST(test_course_grows_steps_that_were_not_looked_at),
        TEST(test_course_grows_little_is_noise),
        TEST(test_course_spark),
    };
    return cmocka_run_group_tests_name("ctl_course", tests, NULL, NULL);
}
