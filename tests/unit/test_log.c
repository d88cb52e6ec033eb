/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static int log_setup(void **state)
{
    log_set_level(LOG_LEVEL_DEBUG);
    return unsetenv("JOURNAL_STREAM");
}

static void test_log_write_says_the_level(void **state)
{
    capture_begin();
    log_error("one %d", 1);
    log_warning("two %s", "words");
    log_info("three");
    log_debug("four");

    assert_string_equal(capture_end(), "kmemd: error: one 1\nkmemd: warning: two words\n"
                                       "kmemd: three\nkmemd: debug: four\n");
}

static void test_log_write_under_systemd_says_the_priority(void **state)
{
    assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);

    capture_begin();
    log_error("one");
    log_warning("two");
    log_info("three");
    log_debug("four");

    assert_string_equal(capture_end(), "<3>one\n<4>two\n<6>three\n<7>four\n");
}

static void test_log_set_level_drops_what_is_less_important(void **state)
{
    log_set_level(LOG_LEVEL_WARNING);

    capture_begin();
    log_error("one");
    log_warning("two");
    log_info("three");
    log_debug("four");

    assert_string_equal(capture_end(), "kmemd: error: one\nkmemd: warning: two\n");
}

static void test_log_write_cuts_an_endless_line_and_ends_it(void **state)
{
    static char endless[50000];
    memset(endless, 'x', sizeof(endless) - 1);

    capture_begin();
    log_info("%s", endless);

    const char *line = capture_end();
    assert_int_equal(strlen(line), 4096);
    assert_non_null(strstr(line, "xxx...\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_log_level_parse_knows_four(void **state)
{
    enum log_level level = LOG_LEVEL_ERROR;

    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("info", &level), 0);
    assert_int_equal(level, LOG_LEVEL_INFO);
    assert_int_equal(log_level_parse("warning", &level), 0);
    assert_int_equal(level, LOG_LEVEL_WARNING);
    assert_int_equal(log_level_parse("error", &level), 0);
    assert_int_equal(level, LOG_LEVEL_ERROR);
}

static void test_log_level_parse_of_anything_else_is_EINVAL(void **state)
{
    enum log_level level = LOG_LEVEL_INFO;

    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(log_level_parse("warn", &level), -EINVAL);
    assert_int_equal(log_level_parse("INFO", &level), -EINVAL);
    assert_int_equal(log_level_parse("info ", &level), -EINVAL);
    assert_int_equal(level, LOG_LEVEL_INFO);
}

static void test_log_limit_lets_a_burst_through_each_second(void **state)
{
    struct log_limit limit = {0};
    uint32_t n_passed = 0;

    capture_begin();
    for (uint64_t now_ms = 5000; now_ms < 7000; now_ms += 10) {
        n_passed += log_limit_pass(&limit, 3, now_ms);
    }

    assert_string_equal(capture_end(), "kmemd: warning: 97 similar lines were dropped\n");
    assert_int_equal(n_passed, 6);
}

static void test_log_count_dropped_counts_what_no_limit_lets_pass(void **state)
{
    struct log_limit limit = {0};
    uint64_t n_dropped = 7;
    log_count_dropped(&n_dropped);

    capture_begin();
    for (int i = 0; i < 10; i++) {
        (void)!log_limit_pass(&limit, 3, 500);
    }
    assert_int_equal(n_dropped, 7 + 7);
    log_set_level(LOG_LEVEL_ERROR); /* and so none of these would have been written */
    assert_false(log_shows(LOG_LEVEL_WARNING));
    assert_true(log_shows(LOG_LEVEL_ERROR));
    (void)!log_limit_pass(&limit, 3, 500);
    log_warning("not at this level");
    assert_int_equal(n_dropped, 7 + 7);
    log_set_level(LOG_LEVEL_WARNING);
    log_count_dropped(NULL);
    (void)!log_limit_pass(&limit, 3, 500);

    assert_string_equal(capture_end(), "");
    assert_int_equal(n_dropped, 7 + 7);
}

static void test_log_limit_says_nothing_when_nothing_was_dropped(void **state)
{
    struct log_limit limit = {0};

    capture_begin();
    assert_true(log_limit_pass(&limit, 1, 0));
    assert_false(log_limit_pass(&limit, 1, 999));
    limit.n_dropped = 0;
    assert_true(log_limit_pass(&limit, 1, 1000));

    assert_string_equal(capture_end(), "");
}

/* stderr is a pipe that nobody reads. Return: the end that could be read. */
static int block_stderr(int *ret_stderr)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    *ret_stderr = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(ends[1]), 0);
    return ends[0];
}

#define TOLD "kmemd: warning: "

static void test_log_write_drops_what_stderr_does_not_take_and_says_how_many(void **state)
{
    static char text[200000];
    unsigned n_taken = 0;
    unsigned long n_dropped;
    int saved;
    const int fd = block_stderr(&saved);

    for (unsigned i = 0; i < 5000; i++) {
        log_info("line %u", i);
    }
    log_retry(); /* not yet */
    ssize_t n = read(fd, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    for (const char *at = text; (at = strstr(at, "kmemd: line")) != NULL; at++) {
        n_taken++;
    }
    assert_null(strstr(text, "dropped"));
    log_retry();
    log_info("the last");
    n = read(fd, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';

    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(strncmp(text, TOLD, strlen(TOLD)), 0);
    n_dropped = strtoul(text + strlen(TOLD), NULL, 10);
    assert_int_equal(n_taken + n_dropped, 5000);
    assert_non_null(
        strstr(text, " lines were dropped: stderr did not take them\nkmemd: the last\n"));
}

/* Last: there is no way back. */
static void test_log_limit_alike_drops_what_a_peer_can_cause(void **state)
{
    unsigned n_ones = 0;
    unsigned n_others = 0;
    log_limit_alike();

    capture_begin();
    for (int i = 0; i < 5000; i++) {
        log_warning("one %d", i);
    }
    log_error("another");
    for (int i = 0; i < 100; i++) {
        log_info("told %d", i);
    }

    const char *text = capture_end();
    for (const char *at = text; (at = strstr(at, "warning: one ")) != NULL; at++) {
        n_ones++;
    }
    for (const char *at = text; (at = strstr(at, "kmemd: told ")) != NULL; at++) {
        n_others++;
    }
    assert_in_range(n_ones, 20, 4999);
    assert_int_equal(n_others, 100);
    assert_non_null(strstr(text, "kmemd: error: another\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_log_write_says_the_level, log_setup),
        cmocka_unit_test_setup(test_log_write_under_systemd_says_the_priority, log_setup),
        cmocka_unit_test_setup(test_log_set_level_drops_what_is_less_important, log_setup),
        cmocka_unit_test_setup(test_log_write_cuts_an_endless_line_and_ends_it, log_setup),
        cmocka_unit_test_setup(test_log_write_drops_what_stderr_does_not_take_and_says_how_many,
                               log_setup),
        cmocka_unit_test_setup(test_log_level_parse_knows_four, log_setup),
        cmocka_unit_test_setup(test_log_level_parse_of_anything_else_is_EINVAL, log_setup),
        cmocka_unit_test_setup(test_log_limit_lets_a_burst_through_each_second, log_setup),
        cmocka_unit_test_setup(test_log_count_dropped_counts_what_no_limit_lets_pass, log_setup),
        cmocka_unit_test_setup(test_log_limit_says_nothing_when_nothing_was_dropped, log_setup),
        cmocka_unit_test_setup(test_log_limit_alike_drops_what_a_peer_can_cause, log_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
