/* SPDX-License-Identifier: MIT */
/*
 * test_query_history.c - what was live before now, as kmem/history.h tells it
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/history.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct kmem_query *query;
static unsigned int n_pages_more;
static uint64_t step; /* by which a page moves on */
static uint64_t asked_from;
static unsigned int n_asked;
static unsigned int n_rows;
static uint32_t series[2];
static size_t n_blocks_said; /* figures of blocks, of two series */
static char asked_reason[32];
static uint64_t asked_max_age_ms;
static int asked_step;

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    char *names[] = {(char *)(uintptr_t) "camera", (char *)(uintptr_t) "log"};
    uint64_t figures[] = {100, 200};
    Kmem__HistoryPoint point = KMEM__HISTORY_POINT__INIT;
    Kmem__HistoryPoint *points[] = {&point};
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__HistoryReport report = KMEM__HISTORY_REPORT__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_HISTORY) {
        return false;
    }
    n_asked++;
    asked_from = request->history->from_number;
    asked_max_age_ms = request->history->max_age_ms;
    asked_step = (int)request->history->step;
    memcpy(asked_reason, request->history->reason.data, request->history->reason.len);
    point.number = UINT64_MAX;
    point.ms_ago = 1;
    point.span_ms = 2;
    point.n_looks = 3;
    point.num_bytes = 4;
    point.n_blocks = 5;
    point.peak_bytes = 6;
    point.n_series = point.n_series_bytes = point.n_series_peak_bytes = 2;
    point.n_series_blocks = n_blocks_said;
    point.series = series;
    point.series_bytes = point.series_blocks = point.series_peak_bytes = figures;
    report.series = names;
    report.n_series = 2;
    report.points = points;
    report.n_points = 1;
    report.more = n_pages_more > 0;
    report.next_number = asked_from + step;
    n_pages_more -= n_pages_more > 0;
    response.body_case = KMEM__RESPONSE__BODY_HISTORY;
    response.history = &report;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    n_pages_more = 0;
    n_rows = 0;
    n_asked = 0;
    step = 5;
    series[0] = 1;
    series[1] = 0;
    n_blocks_said = 2;
    memset(asked_reason, 0, sizeof(asked_reason));
    fake_daemon_start();
    fake_daemon_hook(answer_query);
    return kmem_query_open(NULL, &query);
}

static int stop_daemon(void **state)
{
    query = kmem_query_close(query);
    fake_daemon_stop();
    return 0;
}

static int check_row(const struct kmem_history_row *row, void *user)
{
    static const char *const reasons[] = {NULL, "log", "camera"};
    static const uint64_t figures[] = {4, 100, 200};
    const unsigned int at = n_rows++ % 3;
    assert_ptr_equal(user, &query);
    assert_true(row->number == UINT64_MAX);
    assert_int_equal(row->ms_ago, 1);
    assert_int_equal(row->span_ms, 2);
    assert_int_equal(row->n_looks, 3);
    assert_int_equal(row->num_bytes, figures[at]);
    assert_int_equal(row->n_blocks, at == 0 ? 5 : figures[at]);
    assert_int_equal(row->peak_bytes, at == 0 ? 6 : figures[at]);
    if (reasons[at] == NULL) {
        assert_null(row->reason);
    } else {
        assert_string_equal(row->reason, reasons[at]);
    }
    return 0;
}

static int seven(const struct kmem_history_row *row, void *user)
{
    return row->reason != NULL ? 7 : 0;
}

static const struct kmem_history_filter every = {
    .struct_bytes = sizeof(every),
    .step = KMEM_HISTORY_MINUTES,
    .reason = "*",
    .max_age_ms = 9,
};

static void test_query_history_rows(void **state)
{
    assert_int_equal(kmem_query_history(query, &every, check_row, &query), 0);
    assert_int_equal(n_rows, 3);
    assert_string_equal(asked_reason, "*");
    assert_int_equal(asked_max_age_ms, 9);
    assert_int_equal(asked_step, KMEM__HISTORY_STEP__STEP_MINUTE);
}

static void test_query_history_pages(void **state)
{
    n_pages_more = 3;
    assert_int_equal(kmem_query_history(query, &every, check_row, &query), 0);
    assert_int_equal(n_rows, 12);
    assert_int_equal(n_asked, 4);
    assert_int_equal(asked_from, 15);
}

static void test_query_history_a_daemon_that_stands_still_is_EPROTO(void **state)
{
    n_pages_more = 3;
    step = 0;
    assert_int_equal(kmem_query_history(query, &every, check_row, &query), -EPROTO);
}

static void test_query_history_a_series_that_there_is_not_is_EPROTO(void **state)
{
    series[0] = 2;
    assert_int_equal(kmem_query_history(query, &every, check_row, &query), -EPROTO);
    assert_int_equal(n_rows, 0);
}

static void test_query_history_figures_without_a_series_are_EPROTO(void **state)
{
    n_blocks_said = 1;
    assert_int_equal(kmem_query_history(query, &every, check_row, &query), -EPROTO);
    assert_int_equal(n_rows, 0);
}

static void test_query_history_a_callback_ends_it(void **state)
{
    n_pages_more = 3;
    assert_int_equal(kmem_query_history(query, &every, seven, NULL), 7);
    assert_int_equal(n_asked, 1);
}

static void test_query_history_filter_without_a_size_is_EINVAL(void **state)
{
    const struct kmem_history_filter none = {.struct_bytes = sizeof(size_t)};
    assert_int_equal(kmem_query_history(query, &none, check_row, NULL), -EINVAL);
    assert_non_null(strstr(kmem_query_error(query), "struct_bytes"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_query_history_rows),
        TEST(test_query_history_pages),
        TEST(test_query_history_a_daemon_that_stands_still_is_EPROTO),
        TEST(test_query_history_a_series_that_there_is_not_is_EPROTO),
        TEST(test_query_history_figures_without_a_series_are_EPROTO),
        TEST(test_query_history_a_callback_ends_it),
        TEST(test_query_history_filter_without_a_size_is_EINVAL),
    };
    return cmocka_run_group_tests_name("query_history", tests, NULL, NULL);
}
