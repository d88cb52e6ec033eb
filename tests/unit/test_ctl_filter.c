/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_filter.c - which reasons a pattern means, and which blocks the options do
 */
#include <locale.h>
#include <string.h>

#include "client/ctl/blocks.h"
#include "tests/unit/unit.h"

static void test_filter_matches_as_a_shell_does_over_levels(void **state)
{
    assert_true(filter_matches("video/*", "video/capture/frame"));
    assert_true(filter_matches("*", ""));
    assert_true(filter_matches("*frame", "video/capture/frame"));
    assert_true(filter_matches("vide?/[ci]*", "video/index#3"));
    assert_false(filter_matches("video/*", "video"));
    assert_false(filter_matches("*frame", "video/frames"));
    assert_false(filter_matches("[", "a"));
}

static void test_filter_matches_without_a_star_is_a_beginning(void **state)
{
    assert_true(filter_matches("video/c", "video/capture"));
    assert_true(filter_matches("", "video"));
    assert_false(filter_matches("capture", "video/capture"));
    assert_false(filter_matches("Video", "video"));
}

static void test_filter_matches_reasons_that_are_no_characters(void **state)
{
    assert_true(filter_matches("caf*", "caf\xE9"));
    assert_true(filter_matches("caf", "caf\xE9"));
    assert_false(filter_matches("tea*", "caf\xE9"));
    assert_true(filter_matches("*映?", "video/映像"));
}

static void test_filter_matches_leaves_the_detail_out_unless_it_is_asked_for(void **state)
{
    assert_true(filter_matches("*frame", "video/frame#12"));
    assert_true(filter_matches("*#1*", "video/frame#12"));
    assert_false(filter_matches("*frame#", "video/frame#12"));
    assert_true(filter_matches("*2", "#12"));
    assert_true(filter_matches("video/frame#1", "video/frame#12"));
}

static void assert_glob(const char *pattern, const char *wanted)
{
    char glob[FILTER_GLOB_BYTES];
    assert_string_equal(filter_glob(pattern, glob), wanted);
}

static void test_filter_glob_is_what_a_daemon_understands(void **state)
{
    assert_glob("video/*", "video/*");
    assert_glob("a\\*b?", "a\\*b?");
    assert_glob("", "*");
    assert_glob("video", "video*");
    assert_glob("C:\\x", "C:\\\\x*");
    assert_glob("vide?/[ci]x*", "vide?/*");
    assert_glob("\\[a[b]", "\\[a*");
}

static void test_filter_glob_takes_all_where_a_daemon_would_refuse(void **state)
{
    char glob[FILTER_GLOB_BYTES];
    char of_many_bytes[FILTER_GLOB_BYTES + 1];
    memset(of_many_bytes, '\\', FILTER_GLOB_BYTES);
    of_many_bytes[FILTER_GLOB_BYTES] = '\0';
    assert_null(filter_glob(NULL, glob));
    assert_null(filter_glob("caf\xE9*", glob));
    assert_null(filter_glob(of_many_bytes, glob));
    assert_int_equal(strlen(filter_glob(of_many_bytes + FILTER_GLOB_BYTES / 2 + 2, glob)),
                     FILTER_GLOB_BYTES - 2);
}

static const struct kmem_block block = {
    .num_bytes = 4096, .reason = "video", .pid = 42, .uid = 7, .command = "", .age_ms = 1000};

static void test_blocks_filter_wants_all_that_is_said(void **state)
{
    assert_true(blocks_filter(&(struct filter){.has_pid = false}, &block));
    assert_true(blocks_filter(
        &(struct filter){.has_pid = true, .pid = 42, .has_uid = true, .uid = 7, .reason = "v*"},
        &block));
    assert_false(blocks_filter(
        &(struct filter){.has_pid = true, .pid = 42, .has_uid = true, .uid = 8}, &block));
    assert_false(blocks_filter(&(struct filter){.has_pid = true, .pid = 0}, &block));
    assert_false(blocks_filter(&(struct filter){.reason = "w"}, &block));
}

static void test_blocks_filter_of_age_and_size_is_of_more_than_that(void **state)
{
    assert_true(blocks_filter(&(struct filter){.has_age = true, .older_than_ms = 999}, &block));
    assert_false(blocks_filter(&(struct filter){.has_age = true, .older_than_ms = 1000}, &block));
    assert_true(
        blocks_filter(&(struct filter){.has_bytes = true, .larger_than_bytes = 4095}, &block));
    assert_false(
        blocks_filter(&(struct filter){.has_bytes = true, .larger_than_bytes = 4096}, &block));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter_matches_as_a_shell_does_over_levels),
        cmocka_unit_test(test_filter_matches_without_a_star_is_a_beginning),
        cmocka_unit_test(test_filter_matches_reasons_that_are_no_characters),
        cmocka_unit_test(test_filter_matches_leaves_the_detail_out_unless_it_is_asked_for),
        cmocka_unit_test(test_filter_glob_is_what_a_daemon_understands),
        cmocka_unit_test(test_filter_glob_takes_all_where_a_daemon_would_refuse),
        cmocka_unit_test(test_blocks_filter_wants_all_that_is_said),
        cmocka_unit_test(test_blocks_filter_of_age_and_size_is_of_more_than_that),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
