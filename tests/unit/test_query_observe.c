/* SPDX-License-Identifier: MIT */
/*
 * test_query_observe.c - kmem/observe.h, beside a daemon that says what the test wants
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <kmem/observe.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define CELL (UINT64_C(64) << 10)

static struct kmem_query *query;
static struct kmem_pages got;
static char got_reason[128];
static unsigned n_rows;
static unsigned n_asked;
static uint64_t server;   /* which the daemon says it is */
static uint64_t asked[4]; /* numbers that were asked from */
static bool stands_still;

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static void fill_row(Kmem__PageRow *row, uint64_t offset, uint64_t num_bytes)
{
    kmem__page_row__init(row);
    row->offset = offset;
    row->num_bytes = num_bytes;
    row->state = KMEM__PAGE_STATE__PAGES_DIRECT;
    row->command = text("capture");
    row->reason = text(offset % CELL == 0 ? "first" : "second");
    row->pid = 7;
    row->owner_bytes = num_bytes;
    row->reason_bytes = num_bytes;
    row->live_bytes = num_bytes - 1;
    row->n_blocks = 1;
    row->oldest_ms = offset;
    row->newest_ms = offset;
    row->one_owner = true;
    row->one_reason = true;
}

/* A cell in two pages of the answer: a quarter, and the rest; then another. */
static void answer_pages(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__PagesReport report = KMEM__PAGES_REPORT__INIT;
    Kmem__PageRow row[2];
    Kmem__PageRow *rows[] = {&row[0], &row[1]};
    const bool is_first = request->pages->from_offset == 0;
    fill_row(&row[0], is_first ? 0 : CELL / 4, is_first ? CELL / 4 : CELL / 4 * 3);
    fill_row(&row[1], CELL, CELL);
    report.rows = rows;
    report.n_rows = is_first ? 1 : 2;
    report.more = is_first || stands_still;
    report.next_offset = CELL / 4;
    response.body_case = KMEM__RESPONSE__BODY_PAGES;
    response.pages = &report;
    fake_send(peer, request, &response, NULL, 0);
}

static void answer_changes(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__ChangesReport report = KMEM__CHANGES_REPORT__INIT;
    Kmem__Change change = KMEM__CHANGE__INIT;
    Kmem__Change *rows[] = {&change, &change};
    asked[(n_asked - 1) % 4] =
        request->changes->from_now ? KMEM_CHANGES_FROM_NOW : request->changes->from_number;
    change.number = 41;
    change.kind = text("allocated");
    report.changes = rows;
    report.n_changes = request->changes->from_now ? 0 : 2;
    report.next_number = 42;
    report.more = stands_still;
    report.n_missed = 3;
    report.server = server;
    response.body_case = KMEM__RESPONSE__BODY_CHANGES;
    response.changes = &report;
    fake_send(peer, request, &response, NULL, 0);
}

static void answer_at(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__AtReport report = KMEM__AT_REPORT__INIT;
    Kmem__PageRow row;
    Kmem__Block block = KMEM__BLOCK__INIT;
    fill_row(&row, 0, CELL);
    block.offset = request->at->offset - 17;
    block.reason = text("why");
    block.command = text("capture");
    report.kind = KMEM__BYTE_KIND__BYTE_BLOCK;
    report.pages = &row;
    report.block = &block;
    report.place_bytes = 1024;
    report.segment_bytes = 2 * CELL;
    response.body_case = KMEM__RESPONSE__BODY_AT;
    response.at = &report;
    fake_send(peer, request, &response, NULL, 0);
}

/* Counts before it answers: the test looks as soon as it has the answer. */
static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    switch ((int)request->body_case) {
    case KMEM__REQUEST__BODY_PAGES:
        n_asked++;
        answer_pages(peer, request);
        return true;
    case KMEM__REQUEST__BODY_CHANGES:
        n_asked++;
        answer_changes(peer, request);
        return true;
    case KMEM__REQUEST__BODY_AT:
        n_asked++;
        answer_at(peer, request);
        return true;
    default:
        return false;
    }
}

static int query_setup(void **state)
{
    fake_daemon_start();
    fake_daemon_hook(answer_query);
    n_rows = 0;
    n_asked = 0;
    server = 1;
    stands_still = false;
    assert_int_equal(kmem_query_open(NULL, &query), 0);
    return 0;
}

static int query_teardown(void **state)
{
    query = kmem_query_close(query);
    fake_daemon_stop();
    return 0;
}

static int take_pages(const struct kmem_pages *pages, void *user)
{
    (void)user;
    if (n_rows++ == 0) {
        got = *pages;
        (void)snprintf(got_reason, sizeof(got_reason), "%s", pages->reason);
    }
    return 0;
}

static void test_query_pages_puts_a_cell_together(void **state)
{
    assert_int_equal(kmem_query_pages(query, CELL, take_pages, NULL), 0);

    assert_int_equal(n_rows, 2);
    assert_true(got.offset == 0 && got.num_bytes == CELL);
    assert_true(got.live_bytes == CELL - 2 && got.n_blocks == 2);
    assert_string_equal(got_reason, "second"); /* it has three quarters */
    assert_false(got.one_reason);
    assert_true(got.one_owner);
    assert_true(got.oldest_ms == CELL / 4 && got.newest_ms == 0);
}

static void test_query_pages_stretch_by_stretch_hands_on_what_comes(void **state)
{
    assert_int_equal(kmem_query_pages(query, 0, take_pages, NULL), 0);

    assert_int_equal(n_rows, 3);
    assert_true(got.num_bytes == CELL / 4);
}

static void test_query_pages_that_stand_still_are_EPROTO(void **state)
{
    stands_still = true;

    assert_int_equal(kmem_query_pages(query, 0, take_pages, NULL), -EPROTO);
}

static int take_byte(const struct kmem_byte *byte, void *user)
{
    n_rows++;
    assert_int_equal(byte->kind, KMEM_BYTE_BLOCK);
    assert_true(byte->offset == 1017 && byte->block->offset == 1000);
    assert_true(byte->place_bytes == 1024 && byte->segment_bytes == 2 * CELL);
    assert_string_equal(byte->pages->reason, "first");
    assert_null(byte->before);
    assert_null(byte->block_after);
    return *(int *)user;
}

static void test_query_at_calls_once_and_returns_what_that_returns(void **state)
{
    int wanted = 5;

    assert_int_equal(kmem_query_at(query, 1017, take_byte, &wanted), 5);

    assert_int_equal(n_rows, 1);
}

static int take_change(const struct kmem_change *change, void *user)
{
    n_rows++;
    assert_string_equal(change->kind, "allocated");
    assert_string_equal(change->why, "");
    return user ? 9 : 0;
}

static void test_query_changes_goes_on_where_it_was(void **state)
{
    struct kmem_change_position position = {.number = KMEM_CHANGES_FROM_NOW};

    assert_int_equal(kmem_query_changes(query, &position, 0, take_change, NULL), 0);
    assert_int_equal(n_rows, 0);
    assert_true(position.number == 42 && position.server == 1 && position.n_missed == 3);
    assert_int_equal(kmem_query_changes(query, &position, 0, take_change, NULL), 0);

    assert_int_equal(n_rows, 2);
    assert_true(asked[0] == KMEM_CHANGES_FROM_NOW && asked[1] == 42);
    assert_int_equal(position.began_anew, 0);
}

static void test_query_changes_that_is_ended_stands_behind_what_was_told(void **state)
{
    struct kmem_change_position position = {.number = 40};

    assert_int_equal(kmem_query_changes(query, &position, 0, take_change, &position), 9);

    assert_int_equal(n_rows, 1);
    assert_true(position.number == 42);
}

static void test_query_changes_of_another_server_begin_anew(void **state)
{
    struct kmem_change_position position = {.number = 1000, .server = 77};

    assert_int_equal(kmem_query_changes(query, &position, 0, take_change, NULL), 0);

    assert_int_equal(n_asked, 2);
    assert_true(asked[0] == 1000 && asked[1] == 0);
    assert_int_equal(position.began_anew, 1);
    assert_true(position.server == 1 && position.number == 42);
    assert_int_equal(n_rows, 2);
}

static void test_query_changes_that_stand_still_are_EPROTO(void **state)
{
    struct kmem_change_position position = {.number = 42, .server = 1};
    stands_still = true;

    assert_int_equal(kmem_query_changes(query, &position, 0, take_change, NULL), -EPROTO);

    assert_int_equal(n_rows, 0);
}

#define QUERY_TEST(test) cmocka_unit_test_setup_teardown(test, query_setup, query_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_query_pages_puts_a_cell_together),
        QUERY_TEST(test_query_pages_stretch_by_stretch_hands_on_what_comes),
        QUERY_TEST(test_query_pages_that_stand_still_are_EPROTO),
        QUERY_TEST(test_query_at_calls_once_and_returns_what_that_returns),
        QUERY_TEST(test_query_changes_goes_on_where_it_was),
        QUERY_TEST(test_query_changes_that_is_ended_stands_behind_what_was_told),
        QUERY_TEST(test_query_changes_of_another_server_begin_anew),
        QUERY_TEST(test_query_changes_that_stand_still_are_EPROTO),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
