/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_progress.c - when a sign of life is shown, and that it is gone before the answer
 */
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/progress.h"
#include "tests/unit/unit.h"

static long now_ms;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    *ret_now = (struct timespec){now_ms / 1000, now_ms % 1000 * 1000000};
    return 0;
}

static int terminal;
static FILE *shown;

static int set_up(void **state)
{
    int other = -1;
    if (openpty(&terminal, &other, NULL, NULL, NULL) < 0) {
        return -1;
    }
    shown = fdopen(other, "w");
    return shown ? 0 : -1;
}

static int tear_down(void **state)
{
    return fclose(shown) + close(terminal);
}

/* What the terminal was sent, with a mark behind it, so that there always is something to read. */
static void assert_shown(const char *wanted)
{
    char text[256] = "";
    (void)fputs("|", shown);
    (void)fflush(shown);
    for (size_t n = 0; !strchr(text, '|');) {
        const ssize_t got = read(terminal, text + n, sizeof(text) - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
    *strchr(text, '|') = '\0';
    assert_string_equal(text, wanted);
}

static void test_progress_shows_nothing_of_what_is_soon_over(void **state)
{
    struct progress progress;
    now_ms = 1000;
    progress_begin(&progress, shown);
    now_ms = 1499;
    progress_step(&progress, 1024, "blocks");
    progress_end(&progress);
    assert_shown("");
}

static void test_progress_shows_what_takes_long_and_erases_it(void **state)
{
    struct progress progress;
    now_ms = 1000;
    progress_begin(&progress, shown);
    now_ms = 1500;
    progress_step(&progress, 2047, "blocks");
    progress_step(&progress, 2048, "blocks");
    assert_shown("\r\033[Kkmemctl: 2,048 blocks ...");
    now_ms = 1699;
    progress_step(&progress, 4096, "blocks");
    now_ms = 1700;
    progress_step(&progress, 5120, "blocks");
    progress_end(&progress);
    progress_end(&progress);
    assert_shown("\r\033[Kkmemctl: 5,120 blocks ...\r\033[K");
}

static void test_progress_shows_nothing_where_there_is_no_terminal(void **state)
{
    struct progress progress;
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *file = open_memstream(&text, &n_bytes);
    now_ms = 0;
    progress_begin(&progress, file);
    now_ms = 10000;
    progress_step(&progress, 1024, "blocks");
    progress_end(&progress);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(n_bytes, 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_shows_nothing_of_what_is_soon_over),
        cmocka_unit_test(test_progress_shows_what_takes_long_and_erases_it),
        cmocka_unit_test(test_progress_shows_nothing_where_there_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
