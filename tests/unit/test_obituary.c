/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/tick.h"
#include "tests/unit/fail.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

static struct client *client;

static int obituary_setup(void **state)
{
    fixture_init(&fixture, 256, 10);
    fixture.now_ms += 500;
    client = fixture_join(&fixture, 3);
    return 0;
}

static const char *format(const struct obituary *obituary)
{
    static char line[5120];
    return obituary_format(obituary, false, line, sizeof(line));
}

static void test_obituaries_write_tells_what_was_not_released(void **state)
{
    (void)fixture_allocate(&fixture, client, 1000, "video/frame#1");
    (void)fixture_allocate(&fixture, client, 2000, "video/frame#2");
    fixture.now_ms += 1000;
    (void)fixture_allocate(&fixture, client, 44, "scratch");
    fixture_release(&fixture, client, fixture_allocate(&fixture, client, 5000, "released"));
    fixture.now_ms += 500;

    fixture_end(&fixture, client, false);

    const struct obituary *last = &fixture.last;
    assert_int_equal(last->number, 1);
    assert_int_equal(last->identity.pid, 3);
    assert_false(last->left);
    assert_int_equal(last->born, 5);
    assert_int_equal(last->ended, 20);
    assert_int_equal(last->n_blocks, 3);
    assert_int_equal(last->num_bytes, 3044);
    assert_int_equal(last->peak_bytes, 8044);
    assert_int_equal(last->peak_used_bytes, 8044);
    assert_int_equal(last->n_reasons, 2);
    assert_int_equal(last->n_rows, 2);
    assert_string_equal(last->rows[0].reason, "video/frame");
    assert_int_equal(last->rows[0].n_blocks, 2);
    assert_int_equal(last->rows[0].num_bytes, 3000);
    assert_int_equal(last->rows[0].oldest, 5);
    assert_string_equal(last->rows[1].reason, "scratch");
    assert_string_equal(format(last), "client 3 (worker-3, uid 1000) ended after 1.5 s: 3 blocks, "
                                      "3.0 KiB taken back: video/frame 2.9 KiB (2), "
                                      "scratch 44 B (1)");
}

static void test_obituaries_write_of_one_that_left_with_nothing(void **state)
{
    fixture_end(&fixture, client, true);

    assert_true(fixture.last.left);
    assert_int_equal(fixture.last.n_blocks, 0);
    assert_int_equal(fixture.last.n_rows, 0);
    assert_string_equal(format(&fixture.last),
                        "client 3 (worker-3, uid 1000) left after 0.0 s, all released");
}

static void test_obituaries_write_names_the_largest_reasons_and_counts_the_rest(void **state)
{
    for (uint32_t i = 0; i < 10; i++) {
        char reason[16];
        (void)snprintf(reason, sizeof(reason), "reason-%u", i);
        (void)fixture_allocate(&fixture, client, 100 + i, reason);
    }

    fixture_end(&fixture, client, false);

    assert_int_equal(fixture.last.n_reasons, 10);
    assert_int_equal(fixture.last.n_rows, OBITUARY_ROWS);
    assert_string_equal(fixture.last.rows[0].reason, "reason-9");
    assert_string_equal(fixture.last.rows[7].reason, "reason-2");
    assert_non_null(strstr(format(&fixture.last), ", and 2 more reasons"));
}

static void test_obituary_format_counts_one_of_a_thing_as_one(void **state)
{
    for (uint32_t i = 0; i < OBITUARY_ROWS + 1; i++) {
        const char reason[] = {(char)('a' + i), '\0'};
        (void)fixture_allocate(&fixture, client, 10, reason);
    }
    struct client *other = fixture_join(&fixture, 4);
    (void)fixture_allocate(&fixture, other, 10, "x");

    fixture_end(&fixture, client, false);
    assert_non_null(strstr(format(&fixture.last), ", and 1 more reason"));
    assert_null(strstr(format(&fixture.last), "reasons"));
    fixture_end(&fixture, other, false);
    assert_non_null(strstr(format(&fixture.last), ": 1 block, 10 B taken back"));
}

static void test_obituary_format_of_the_longest_fits_a_log_line(void **state)
{
    struct obituary longest = {
        .identity = {.pid = UINT32_MAX, .uid = UINT32_MAX},
        .ended = UINT32_MAX,
        .n_blocks = UINT64_MAX,
        .num_bytes = UINT64_MAX,
        .n_reasons = UINT64_MAX,
        .n_rows = OBITUARY_ROWS,
    };
    memset(longest.identity.command, '\x1b', COMMAND_BYTES - 1);
    for (uint32_t i = 0; i < OBITUARY_ROWS; i++) {
        memset(longest.rows[i].reason, '\x1b', REASON_MAX_BYTES);
        longest.rows[i].num_bytes = UINT64_MAX;
        longest.rows[i].n_blocks = UINT64_MAX;
    }

    const char *line = format(&longest);

    assert_non_null(strstr(line, "more reasons"));
    assert_null(strchr(line, '\x1b'));
}

static void test_obituary_format_is_cut_to_its_buffer(void **state)
{
    (void)fixture_allocate(&fixture, client, 1000, "a reason");
    fixture_end(&fixture, client, false);
    const size_t whole = strlen(format(&fixture.last));

    for (size_t n_bytes = 1; n_bytes <= whole + 1; n_bytes++) {
        char line[5120];
        memset(line, 'x', sizeof(line));
        assert_int_equal(strlen(obituary_format(&fixture.last, false, line, n_bytes)), n_bytes - 1);
        assert_int_equal(line[n_bytes], 'x');
    }
}

static void test_obituaries_next_finds_what_is_kept(void **state)
{
    const struct obituaries *obituaries = &fixture.core.obituaries;
    assert_null(obituaries_next(obituaries, 0));

    for (uint32_t i = 0; i < OBITUARIES_KEPT; i++) {
        fixture_end(&fixture, fixture_join(&fixture, 1000 + i), false);
    }

    assert_int_equal(obituaries_next(obituaries, 0)->number, 1);
    assert_int_equal(obituaries_next(obituaries, 17)->identity.pid, 1016);
    assert_int_equal(obituaries_next(obituaries, OBITUARIES_KEPT)->number, OBITUARIES_KEPT);
    assert_null(obituaries_next(obituaries, OBITUARIES_KEPT + 1));
    assert_null(obituaries_next(obituaries, UINT64_MAX));
}

static void test_obituaries_check_finds_a_text_without_an_end(void **state)
{
    const struct obituaries *obituaries = &fixture.core.obituaries;
    fixture_end(&fixture, fixture_join(&fixture, 1), false);
    struct obituary *obituary = (struct obituary *)(uintptr_t)obituaries_next(obituaries, 0);
    assert_int_equal(obituaries_check(obituaries), 0);
    memset(obituary->kept.text, 'x', sizeof(obituary->kept.text));
    assert_int_equal(obituaries_check(obituaries), OBITUARIES_E_CORRUPT);
    memset(obituary->kept.text, 0, sizeof(obituary->kept.text));
    assert_int_equal(obituaries_check(obituaries), 0);
}

static void test_obituaries_next_after_the_ring_is_full_begins_with_the_oldest(void **state)
{
    const struct obituaries *obituaries = &fixture.core.obituaries;

    for (uint32_t i = 0; i < OBITUARIES_KEPT + 300; i++) {
        fixture_end(&fixture, fixture_join(&fixture, 1000 + i), false);
    }

    uint64_t number = 301;
    const struct obituary *obituary = obituaries_next(obituaries, 0);
    for (; obituary; obituary = obituaries_next(obituaries, obituary->number + 1)) {
        assert_int_equal(obituary->number, number);
        assert_int_equal(obituary->identity.pid, 1000 + number - 1);
        number++;
    }
    assert_int_equal(number, OBITUARIES_KEPT + 301);
}

static void test_obituaries_init_without_memory_fails_cleanly(void **state)
{
    const struct rollup_tables tables = core_tables(&fixture.core);
    struct obituaries other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = obituaries_init(&other, &fixture.core.state, &tables);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    obituaries_fini(&other);
}

/* Whatever allocation fails while a client is taken back: the totals are right, and the rows are
   all there or none. */
static void test_obituaries_write_without_memory_keeps_the_totals(void **state)
{
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        fail_end();
        struct client *other = fixture_join(&fixture, 100 + nth);
        for (uint32_t i = 0; i < 200; i++) {
            char reason[16];
            (void)snprintf(reason, sizeof(reason), "reason-%u", i);
            (void)fixture_allocate(&fixture, other, 10, reason);
        }
        fail_nth("memory", nth, ENOMEM);
        fixture_end(&fixture, other, false);
        const bool failed = fail_end();
        assert_int_equal(fixture.last.n_blocks, 200);
        assert_int_equal(fixture.last.num_bytes, 2000);
        assert_int_equal(fixture.last.n_reasons, failed ? 0 : 200);
        assert_int_equal(fixture.last.n_rows, failed ? 0 : OBITUARY_ROWS);
        assert_int_equal(core_check(&fixture.core), 0);
    }
    fixture_end(&fixture, client, false);
}

static void test_obituary_of_one_without_rows_says_the_totals(void **state)
{
    (void)fixture_allocate(&fixture, client, 10, "reason");
    fail_from("memory", 1, ENOMEM);
    fixture_end(&fixture, client, false);
    assert_true(fail_end());

    assert_string_equal(format(&fixture.last), "client 3 (worker-3, uid 1000) ended after 0.0 s: "
                                               "1 block, 10 B taken back");
}

/* What it had is counted, and no reason is known. */
static void test_obituary_format_without_rows_names_no_reasons(void **state)
{
    fixture_end(&fixture, client, false);
    struct obituary obituary = fixture.last;
    obituary.n_blocks = 2;
    obituary.n_reasons = 2;
    obituary.n_rows = 0;
    assert_string_equal(
        format(&obituary),
        "client 3 (worker-3, uid 1000) ended after 0.0 s: 2 blocks, 0 B taken back");
}

static void test_obituary_format_of_who_outlived_the_segment_says_so(void **state)
{
    char line[512];
    fixture_end(&fixture, client, false);
    assert_non_null(strstr(obituary_format(&fixture.last, true, line, sizeof(line)),
                           "lives on, and lost the segment after"));
}

#define OBITUARY_TEST(test) cmocka_unit_test_setup_teardown(test, obituary_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OBITUARY_TEST(test_obituaries_write_tells_what_was_not_released),
        OBITUARY_TEST(test_obituaries_write_of_one_that_left_with_nothing),
        OBITUARY_TEST(test_obituaries_write_names_the_largest_reasons_and_counts_the_rest),
        OBITUARY_TEST(test_obituary_format_counts_one_of_a_thing_as_one),
        OBITUARY_TEST(test_obituary_format_of_the_longest_fits_a_log_line),
        OBITUARY_TEST(test_obituary_format_is_cut_to_its_buffer),
        OBITUARY_TEST(test_obituaries_next_finds_what_is_kept),
        OBITUARY_TEST(test_obituaries_check_finds_a_text_without_an_end),
        OBITUARY_TEST(test_obituaries_next_after_the_ring_is_full_begins_with_the_oldest),
        OBITUARY_TEST(test_obituaries_init_without_memory_fails_cleanly),
        OBITUARY_TEST(test_obituaries_write_without_memory_keeps_the_totals),
        OBITUARY_TEST(test_obituary_of_one_without_rows_says_the_totals),
        OBITUARY_TEST(test_obituary_format_without_rows_names_no_reasons),
        OBITUARY_TEST(test_obituary_format_of_who_outlived_the_segment_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
