/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "proto/glob.h"
#include "proto/limits.h"
#include "tests/unit/unit.h"

static uint32_t n_steps;

static bool matches(const char *glob, const char *text)
{
    return glob_matches(glob, strlen(glob), text, strlen(text), &n_steps);
}

static void test_glob_without_a_star_is_the_text_itself(void **state)
{
    assert_true(matches("", ""));
    assert_true(matches("camera/frame", "camera/frame"));
    assert_false(matches("camera", "camera/frame"));
    assert_false(matches("camera/frame", "camera"));
    assert_false(matches("", "x"));
    assert_false(matches("x", ""));
}

static void test_glob_star_is_any_number_of_characters(void **state)
{
    assert_true(matches("*", ""));
    assert_true(matches("*", "a/b"));
    assert_true(matches("camera/*", "camera/"));
    assert_true(matches("camera/*", "camera/left/frame"));
    assert_true(matches("*/frame", "camera/left/frame"));
    assert_true(matches("a*b*c", "a-b-b-c"));
    assert_true(matches("**", "x"));
    assert_true(matches("x**", "x"));
    assert_true(matches("*ab", "aab"));
    assert_false(matches("camera/*", "camera"));
    assert_false(matches("a*b*c", "a-c-b"));
    assert_false(matches("*ab", "aba"));
}

static void test_glob_question_mark_is_one_character(void **state)
{
    assert_true(matches("fr?me", "frame"));
    assert_true(matches("?", "\xc3\xa9"));
    assert_true(matches("*?", "\xe2\x82\xac"));
    assert_true(matches("??", "\xc3\xa9\xe2\x82\xac"));
    assert_false(matches("?", ""));
    assert_false(matches("??", "\xc3\xa9"));
    assert_false(matches("*??", "\xe2\x82\xac"));
}

static void test_glob_backslash_takes_what_follows_as_it_is(void **state)
{
    assert_true(matches("\\*", "*"));
    assert_true(matches("\\?\\\\", "?\\"));
    assert_true(matches("a\\bc", "abc"));
    assert_true(matches("a\\", "a\\"));
    assert_false(matches("\\*", "x"));
    assert_false(matches("a\\", "a"));
}

static void test_glob_knows_no_other_sign(void **state)
{
    assert_true(matches("[a-z]{1}+.$^", "[a-z]{1}+.$^"));
    assert_false(matches("[a-z]", "b"));
}

/* The worst that is known: each star is tried at each place. */
static void test_glob_of_stars_costs_no_more_than_length_times_length(void **state)
{
    char glob[GLOB_MAX_BYTES + 1] = "";
    char text[REASON_MAX_BYTES + 1] = "";
    memset(text, 'a', REASON_MAX_BYTES);
    for (int i = 0; i < GLOB_MAX_BYTES; i += 2) {
        glob[i] = '*';
        glob[i + 1] = 'a';
    }
    glob[GLOB_MAX_BYTES - 1] = 'b';
    assert_false(matches(glob, text));
    assert_in_range(n_steps, REASON_MAX_BYTES, 2 * GLOB_MAX_BYTES * REASON_MAX_BYTES);

    memset(glob + 1, 'a', 64);
    glob[65] = 'b';
    glob[66] = '\0';
    assert_false(matches(glob, text));
    assert_in_range(n_steps, 64, 66 * REASON_MAX_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_glob_without_a_star_is_the_text_itself),
        cmocka_unit_test(test_glob_star_is_any_number_of_characters),
        cmocka_unit_test(test_glob_question_mark_is_one_character),
        cmocka_unit_test(test_glob_backslash_takes_what_follows_as_it_is),
        cmocka_unit_test(test_glob_knows_no_other_sign),
        cmocka_unit_test(test_glob_of_stars_costs_no_more_than_length_times_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
