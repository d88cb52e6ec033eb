/* SPDX-License-Identifier: MIT */
/*
 * test_query_lifetimes.c - live blocks by age and released ones by lifetime, as kmem/history.h
 *                          tells them
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/history.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define ROWS_A_PAGE 2

static struct kmem_query *query;
static unsigned int n_pages_more;
static size_t n_rows_said; /* on each page */
static size_t n_ranges_said;
static bool is_another_answer;
static unsigned int n_asked;
static uint32_t asked_first_row;
static unsigned int n_rows;
static unsigned int ends_at; /* the callback ends it with 7 at that row */

/* More ranges than there are: a newer daemon may have more. */
static uint64_t blocks[KMEM_LIFETIME_RANGES + 1] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
static uint64_t bytes[KMEM_LIFETIME_RANGES + 1] = {10, 20, 30, 40, 50, 60, 70, 80, 90};
static uint64_t released[KMEM_LIFETIME_RANGES + 1] = {11, 12, 13, 14, 15, 16, 17, UINT64_MAX, 19};

static void send_report(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__LifetimesRow row = KMEM__LIFETIMES_ROW__INIT;
    Kmem__LifetimesRow *rows[ROWS_A_PAGE] = {&row, &row};
    Kmem__LifetimesReport report = KMEM__LIFETIMES_REPORT__INIT;
    Kmem__Response response = KMEM__RESPONSE__INIT;
    row.reason = (char *)(uintptr_t) "camera/frame";
    row.n_blocks = 36;
    row.num_bytes = 360;
    row.oldest_ms = UINT64_MAX;
    row.blocks_by_age = blocks;
    row.bytes_by_age = bytes;
    row.released_by_age = released;
    row.n_blocks_by_age = row.n_bytes_by_age = row.n_released_by_age = n_ranges_said;
    report.rows = rows;
    report.n_rows = n_rows_said;
    report.more = n_pages_more > 0;
    n_pages_more -= n_pages_more > 0;
    response.body_case = KMEM__RESPONSE__BODY_LIFETIMES;
    response.lifetimes = &report;
    fake_send(peer, request, &response, NULL, 0);
}

static void send_another(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__HistoryReport report = KMEM__HISTORY_REPORT__INIT;
    Kmem__Response response = KMEM__RESPONSE__INIT;
    response.body_case = KMEM__RESPONSE__BODY_HISTORY;
    response.history = &report;
    fake_send(peer, request, &response, NULL, 0);
}

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    if (request->body_case != KMEM__REQUEST__BODY_LIFETIMES) {
        return false;
    }
    n_asked++;
    asked_first_row = request->lifetimes->first_row;
    (is_another_answer ? send_another : send_report)(peer, request);
    return true;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    n_pages_more = 0;
    n_rows_said = ROWS_A_PAGE;
    n_ranges_said = KMEM_LIFETIME_RANGES;
    is_another_answer = false;
    n_asked = 0;
    n_rows = 0;
    ends_at = 0;
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

static int check_row(const struct kmem_lifetimes *row, void *user)
{
    assert_ptr_equal(user, &query);
    assert_string_equal(row->reason, "camera/frame");
    assert_int_equal(row->n_blocks, 36);
    assert_int_equal(row->num_bytes, 360);
    assert_true(row->oldest_ms == UINT64_MAX);
    for (size_t i = 0; i < KMEM_LIFETIME_RANGES; i++) {
        const bool is_said = i < n_ranges_said;
        assert_true(row->blocks_by_age[i] == (is_said ? blocks[i] : 0));
        assert_true(row->bytes_by_age[i] == (is_said ? bytes[i] : 0));
        assert_true(row->released_by_age[i] == (is_said ? released[i] : 0));
    }
    return ++n_rows == ends_at ? 7 : 0;
}

static void test_query_lifetimes_rows(void **state)
{
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), 0);
    assert_int_equal(n_rows, ROWS_A_PAGE);
    assert_int_equal(n_asked, 1);
    assert_int_equal(asked_first_row, 0);
}

static void test_query_lifetimes_of_a_daemon_with_fewer_ranges_are_0(void **state)
{
    n_ranges_said = 3;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), 0);
    n_ranges_said = 0;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), 0);
    assert_int_equal(n_rows, 2 * ROWS_A_PAGE);
}

static void test_query_lifetimes_of_a_daemon_with_more_ranges_are_left_out(void **state)
{
    n_ranges_said = KMEM_LIFETIME_RANGES + 1;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), 0);
    assert_int_equal(n_rows, ROWS_A_PAGE);
}

static void test_query_lifetimes_pages(void **state)
{
    n_pages_more = 3;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), 0);
    assert_int_equal(n_rows, 4 * ROWS_A_PAGE);
    assert_int_equal(n_asked, 4);
    assert_int_equal(asked_first_row, 3 * ROWS_A_PAGE);
}

static void test_query_lifetimes_a_daemon_that_stands_still_is_EPROTO(void **state)
{
    n_pages_more = 3;
    n_rows_said = 0;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), -EPROTO);
    assert_int_equal(n_asked, 1);
}

static void test_query_lifetimes_another_answer_is_EPROTO(void **state)
{
    is_another_answer = true;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), -EPROTO);
    assert_int_equal(n_rows, 0);
}

static void test_query_lifetimes_a_callback_ends_it(void **state)
{
    n_pages_more = 3;
    ends_at = ROWS_A_PAGE + 1;
    assert_int_equal(kmem_query_lifetimes(query, check_row, &query), 7);
    assert_int_equal(n_rows, ROWS_A_PAGE + 1);
    assert_int_equal(n_asked, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_query_lifetimes_rows),
        TEST(test_query_lifetimes_of_a_daemon_with_fewer_ranges_are_0),
        TEST(test_query_lifetimes_of_a_daemon_with_more_ranges_are_left_out),
        TEST(test_query_lifetimes_pages),
        TEST(test_query_lifetimes_a_daemon_that_stands_still_is_EPROTO),
        TEST(test_query_lifetimes_another_answer_is_EPROTO),
        TEST(test_query_lifetimes_a_callback_ends_it),
    };
    return cmocka_run_group_tests_name("query_lifetimes", tests, NULL, NULL);
}
