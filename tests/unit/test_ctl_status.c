/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_status.c - the verdict on one screen, and what it is made of
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/status.h"
#include "client/ctl/width.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

/* Between its two looks at the ledger nobody waits. */
static unsigned n_sleeps;

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    n_sleeps++;
    return 0;
}

/* Once it has slept, "video/capture" has a block more. */
static void grow(struct kmem_query *query)
{
    static const struct kmem_ledger_row grown[] = {
        {"video/capture", 3, (UINT64_C(9) << 20) + 1536, 65000, 0, 0},
        {"video/映像", 1, UINT64_C(2) << 20, 3000, 0, 0},
        {"\033[31mred", 1, 30, 500, 0, 0},
        {"caf\xE9", 1, 4, 20, 0, 0},
    };
    if (n_sleeps > 0) {
        query->ledgers[KMEM_BY_REASON] = grown;
    }
}

static struct kmem_query growing(void)
{
    struct kmem_query query = fake_segment();
    n_sleeps = 0;
    query.n_history = 0;
    query.before_answer = grow;
    return query;
}

/* What is connected to anew. */
static struct kmem_query again;
static unsigned n_open;

int kmem_query_open(const char *socket_path, struct kmem_query **ret_query)
{
    n_open++;
    *ret_query = &again;
    return 0;
}

struct kmem_query *kmem_query_close(struct kmem_query *query)
{
    n_open--;
    return NULL;
}

/* It remembers an hour: one look is not slept for. */
static struct kmem_query remembering(void)
{
    struct kmem_query query = fake_segment();
    n_sleeps = 0;
    return query;
}

static struct kmem_query well(void)
{
    struct kmem_query query = fake_segment();
    query.n_limits = 1;
    query.n_refusals = 0;
    query.n_history = 0;
    return query;
}

/* Not all is well, and that is how it ends. */
static void assert_golden_finding(const char *name, struct shown shown)
{
    assert_int_equal(shown.status, STATUS_THRESHOLD);
    shown.status = STATUS_OK;
    assert_golden(name, shown);
}

static void test_status_show_is_golden(void **state)
{
    const struct options plainly = {.top = 0};
    const struct options as_json = {.format = FORMAT_JSON};
    assert_golden_finding("status.txt", show(status_show, remembering(), plainly));
    assert_golden_finding("status-60.txt", show_at(60, status_show, remembering(), plainly));
    assert_golden_finding("status.json", show(status_show, remembering(), as_json));
    assert_int_equal(n_sleeps, 0);
    assert_golden("status-well.txt", show(status_show, well(), plainly));
    assert_golden("status-well.json", show(status_show, well(), as_json));
}

static void assert_grows(struct kmem_query query, const char *words)
{
    struct shown shown = show(status_show, query, (struct options){.top = 0});
    assert_non_null(strstr(shown.text, words));
    free(shown.text);
}

static void test_status_show_looks_twice_at_a_daemon_that_remembers_nothing(void **state)
{
    struct kmem_query query = growing();
    assert_grows(query, "grows     video/capture by 1.0 MiB in the last 500 ms, to 9.0 MiB in 3");
    assert_int_equal(n_sleeps, 1);
    query = growing();
    query.history = fake_segment().history;
    query.n_history = 3; /* of one time: what there was before is not known */
    assert_grows(query, "grows     video/capture by 1.0 MiB in the last 500 ms, to 9.0 MiB in 3");
    assert_int_equal(n_sleeps, 1);
}

static void test_status_show_of_a_daemon_that_knows_no_history(void **state)
{
    struct kmem_query query = growing();
    again = growing();
    query.history_error = -ECONNRESET;
    assert_grows(query, "grows     video/capture by 1.0 MiB in the last 500 ms, to 9.0 MiB in 3");
    assert_int_equal(again.n_questions, 2);
    assert_int_equal(n_open, 0);
    again.error = -ECONNREFUSED;
    struct shown shown = show(status_show, query, (struct options){.top = 0});
    assert_int_equal(shown.status, -ECONNREFUSED);
    free(shown.text);
    assert_int_equal(n_open, 0);
}

/* The sum, and one reason, which had so many MiB a second ago. */
#define SECONDS_AGO(seconds, mebibytes)                                                            \
    {.number = 100 - (seconds),                                                                    \
     .ms_ago = (seconds)*UINT64_C(1000),                                                           \
     .num_bytes = (uint64_t)(mebibytes) << 20,                                                     \
     .n_looks = 1},                                                                                \
    {                                                                                              \
        .number = 100 - (seconds), .reason = "new", .ms_ago = (seconds)*UINT64_C(1000),            \
        .num_bytes = (uint64_t)(mebibytes) << 20, .n_blocks = 7, .n_looks = 1                      \
    }

static void test_status_show_tells_what_grows_within_a_minute(void **state)
{
    static const struct kmem_history_row rows[] = {
        SECONDS_AGO(9, 1), SECONDS_AGO(8, 1), SECONDS_AGO(6, 2),
        SECONDS_AGO(4, 3), SECONDS_AGO(2, 4), SECONDS_AGO(0, 5),
    };
    struct kmem_query query = well();
    query.history = rows;
    query.n_history = sizeof(rows) / sizeof(rows[0]);
    assert_grows(query, "grows     new by 4.0 MiB since 8.0 s ago, to 5.0 MiB in 7 blocks\n");
    query.n_history -= 1; /* it has no series any more: what it did is not what it does */
    assert_grows(query, "grows     nothing has in the last 9.0 s\n");
}

static void test_status_show_does_not_tell_what_has_stopped(void **state)
{
    static const struct kmem_history_row rows[] = {
        SECONDS_AGO(40, 1), SECONDS_AGO(39, 5), SECONDS_AGO(30, 5),
        SECONDS_AGO(20, 5), SECONDS_AGO(10, 5), SECONDS_AGO(0, 5),
    };
    struct kmem_query query = well();
    query.history = rows;
    query.n_history = sizeof(rows) / sizeof(rows[0]);
    assert_grows(query, "grows     nothing has in the last 40.0 s\n");
}

static int status_of(struct kmem_query query)
{
    struct shown shown = show(status_show, query, (struct options){.top = 0});
    free(shown.text);
    return shown.status;
}

static void test_status_show_ends_with_the_verdict(void **state)
{
    struct kmem_query query = well();
    struct kmem_refusal old = fake_segment().refusals[0];
    assert_int_equal(status_of(query), STATUS_OK);
    assert_int_equal(status_of(fake_segment()), STATUS_THRESHOLD);
    query.refusals = &old;
    query.n_refusals = 1;
    assert_int_equal(status_of(query), STATUS_THRESHOLD);
    old.last_ms_ago = 3600001;
    assert_int_equal(status_of(query), STATUS_OK);
    query.error = -ECONNRESET;
    assert_int_equal(status_of(query), -ECONNRESET);
}

/* 74, 75 and 90 % of it are not free. */
static void test_status_show_judges_how_full_the_segment_is(void **state)
{
    static struct kmem_statistic figures[] = {
        {"segment_bytes", "gauge", "bytes", "", 1000},
        {"free_bytes", "gauge", "bytes", "", 260},
    };
    struct kmem_query query = well();
    query.statistics = figures;
    query.n_statistics = 2;
    assert_int_equal(status_of(query), STATUS_OK);
    figures[1].value = 250;
    struct shown shown = show(status_show, query, (struct options){.top = 0});
    assert_int_equal(shown.status, STATUS_THRESHOLD);
    assert_non_null(strstr(shown.text, "Worth a look: 1 finding in segment \"video\", 75.0 %"));
    free(shown.text);
    figures[1].value = 100;
    shown = show(status_show, query, (struct options){.top = 0});
    assert_non_null(strstr(shown.text, "Not well: 1 finding in segment \"video\", 90.0 %"));
    free(shown.text);
}

/* Not releases alone: the figure counts both. */
static void test_status_show_says_what_was_misused(void **state)
{
    static const struct kmem_statistic misused[] = {{"misuses", "counter", "count", "", 2}};
    struct kmem_query query = well();
    query.statistics = misused;
    query.n_statistics = 1;
    struct shown shown = show(status_show, query, (struct options){.top = 0});
    assert_int_equal(shown.status, STATUS_THRESHOLD);
    assert_non_null(strstr(shown.text, "2 releases and size queries since the segment was made"));
    free(shown.text);
}

static void test_status_show_fits_every_width(void **state)
{
    for (unsigned n_columns = 40; n_columns < 200; n_columns++) {
        struct shown shown = show_at(n_columns, status_show, growing(), (struct options){.top = 0});
        for (char *line = strtok(shown.text, "\n"); line; line = strtok(NULL, "\n")) {
            assert_in_range(width_of(line), 1, n_columns);
        }
        free(shown.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_show_is_golden),
        cmocka_unit_test(test_status_show_looks_twice_at_a_daemon_that_remembers_nothing),
        cmocka_unit_test(test_status_show_of_a_daemon_that_knows_no_history),
        cmocka_unit_test(test_status_show_tells_what_grows_within_a_minute),
        cmocka_unit_test(test_status_show_does_not_tell_what_has_stopped),
        cmocka_unit_test(test_status_show_ends_with_the_verdict),
        cmocka_unit_test(test_status_show_judges_how_full_the_segment_is),
        cmocka_unit_test(test_status_show_says_what_was_misused),
        cmocka_unit_test(test_status_show_fits_every_width),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
