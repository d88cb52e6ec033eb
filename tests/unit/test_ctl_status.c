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
    query.before_answer = grow;
    return query;
}

static struct kmem_query well(void)
{
    struct kmem_query query = fake_segment();
    query.n_limits = 1;
    query.n_refusals = 0;
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
    assert_golden_finding("status.txt", show(status_show, growing(), plainly));
    assert_int_equal(n_sleeps, 1);
    assert_golden_finding("status-60.txt", show_at(60, status_show, growing(), plainly));
    assert_golden_finding("status.json", show(status_show, growing(), as_json));
    assert_golden("status-well.txt", show(status_show, well(), plainly));
    assert_golden("status-well.json", show(status_show, well(), as_json));
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
        cmocka_unit_test(test_status_show_ends_with_the_verdict),
        cmocka_unit_test(test_status_show_judges_how_full_the_segment_is),
        cmocka_unit_test(test_status_show_fits_every_width),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
