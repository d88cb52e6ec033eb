/* SPDX-License-Identifier: MIT */
/*
 * test_query_refusals.c - what was refused, and what the limits are, as kmem/query.h tells it
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/query.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct kmem_query *query;
static unsigned int n_pages_more;
static uint64_t step; /* by which a page moves on */
static uint64_t asked_from;
static unsigned int n_asked;
static unsigned int n_rows;

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static void fill_refusal(Kmem__Refusal *row)
{
    kmem__refusal__init(row);
    row->number = UINT64_MAX;
    row->asked = text("block");
    row->why = text("no_room");
    row->pid = 1;
    row->uid = 2;
    row->command = text("capture");
    row->reason = text("camera/frame");
    row->n_times = 3;
    row->first_ms_ago = 4;
    row->last_ms_ago = 5;
    row->num_bytes = 6;
    row->free_bytes = 7;
    row->largest_extent_bytes = 8;
    row->used = 9;
    row->limit = 10;
}

static void answer_limits(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Limit row = KMEM__LIMIT__INIT;
    Kmem__Limit *rows[] = {&row, &row, &row};
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__LimitsReport report = KMEM__LIMITS_REPORT__INIT;
    row.name = text("quota");
    row.unit = KMEM__STATISTIC_UNIT__UNIT_BYTES;
    row.used = UINT64_MAX - 1;
    row.limit = UINT64_MAX;
    row.text = text("in words");
    report.limits = rows;
    report.n_limits = 3;
    response.body_case = KMEM__RESPONSE__BODY_LIMITS;
    response.limits = &report;
    fake_send(peer, request, &response, NULL, 0);
}

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Refusal row;
    Kmem__Refusal *rows[] = {&row};
    Kmem__RefusalCount count = KMEM__REFUSAL_COUNT__INIT;
    Kmem__RefusalCount *counts[] = {&count};
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__RefusalsReport report = KMEM__REFUSALS_REPORT__INIT;
    n_asked++;
    if (request->body_case == KMEM__REQUEST__BODY_LIMITS) {
        answer_limits(peer, request);
        return true;
    }
    if (request->body_case != KMEM__REQUEST__BODY_REFUSALS) {
        return false;
    }
    asked_from = request->refusals->from_number;
    fill_refusal(&row);
    count.asked = text("lease");
    count.why = text("quota");
    count.text = text("in words");
    count.n_times = UINT64_MAX - 1;
    report.refusals = rows;
    report.n_refusals = 1;
    report.counts = counts;
    report.n_counts = 1;
    report.more = n_pages_more > 0;
    report.next_number = asked_from + step;
    n_pages_more -= n_pages_more > 0;
    response.body_case = KMEM__RESPONSE__BODY_REFUSALS;
    response.refusals = &report;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    n_pages_more = 0;
    n_rows = 0;
    step = 5;
    fake_daemon_start();
    fake_daemon_hook(answer_query);
    int r = kmem_query_open(NULL, &query);
    n_asked = 0; /* Hello was */
    return r;
}

static int stop_daemon(void **state)
{
    query = kmem_query_close(query);
    fake_daemon_stop();
    return 0;
}

static int check_refusal(const struct kmem_refusal *refusal, void *user)
{
    assert_ptr_equal(user, &query);
    assert_true(refusal->number == UINT64_MAX);
    assert_string_equal(refusal->asked, "block");
    assert_string_equal(refusal->why, "no_room");
    assert_int_equal(refusal->pid, 1);
    assert_int_equal(refusal->uid, 2);
    assert_string_equal(refusal->command, "capture");
    assert_string_equal(refusal->reason, "camera/frame");
    assert_int_equal(refusal->n_times, 3);
    assert_int_equal(refusal->first_ms_ago, 4);
    assert_int_equal(refusal->last_ms_ago, 5);
    assert_int_equal(refusal->num_bytes, 6);
    assert_int_equal(refusal->free_bytes, 7);
    assert_int_equal(refusal->largest_extent_bytes, 8);
    assert_int_equal(refusal->used, 9);
    assert_int_equal(refusal->limit, 10);
    return ++n_rows == 3 ? 7 : 0;
}

static int check_count(const struct kmem_refusal_count *count, void *user)
{
    assert_ptr_equal(user, &query);
    assert_string_equal(count->asked, "lease");
    assert_string_equal(count->why, "quota");
    assert_string_equal(count->text, "in words");
    assert_true(count->n_times == UINT64_MAX - 1);
    n_rows++;
    return 0;
}

static void test_query_refusals_reads_page_after_page(void **state)
{
    n_pages_more = 1;
    assert_int_equal(kmem_query_refusals(query, check_refusal, &query), 0);
    assert_int_equal(n_rows, 2);
    assert_int_equal(asked_from, 5);
}

static void test_query_refusals_callback_ends_the_call(void **state)
{
    n_pages_more = 5;
    assert_int_equal(kmem_query_refusals(query, check_refusal, &query), 7);
    assert_int_equal(n_asked, 3);
}

static void test_query_refusals_that_stand_still_are_EPROTO(void **state)
{
    step = 0;
    n_pages_more = 3;
    assert_int_equal(kmem_query_refusals(query, check_refusal, &query), -EPROTO);
    assert_int_equal(n_asked, 1);
    assert_non_null(strstr(kmem_query_error(query), "does not move on"));
}

static void test_query_refusal_counts_are_in_the_first_page(void **state)
{
    n_pages_more = 3;
    assert_int_equal(kmem_query_refusal_counts(query, check_count, &query), 0);
    assert_int_equal(n_asked, 1);
    assert_int_equal(n_rows, 1);
}

static int check_limit(const struct kmem_limit *limit, void *user)
{
    const unsigned int *stop_after = user;
    assert_string_equal(limit->name, "quota");
    assert_string_equal(limit->unit, "bytes");
    assert_string_equal(limit->text, "in words");
    assert_true(limit->used == UINT64_MAX - 1);
    assert_true(limit->limit == UINT64_MAX);
    return ++n_rows == *stop_after ? 7 : 0;
}

static void test_query_limits_reads_each(void **state)
{
    unsigned int stop_after = 0;
    assert_int_equal(kmem_query_limits(query, check_limit, &stop_after), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(n_asked, 1);
    stop_after = 5;
    assert_int_equal(kmem_query_limits(query, check_limit, &stop_after), 7);
    assert_int_equal(n_rows, 5);
}

#define REFUSALS_TEST(test) cmocka_unit_test_setup_teardown(test, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSALS_TEST(test_query_refusals_reads_page_after_page),
        REFUSALS_TEST(test_query_refusals_callback_ends_the_call),
        REFUSALS_TEST(test_query_refusals_that_stand_still_are_EPROTO),
        REFUSALS_TEST(test_query_refusal_counts_are_in_the_first_page),
        REFUSALS_TEST(test_query_limits_reads_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
