/* SPDX-License-Identifier: MIT */
/*
 * test_query_cells.c - what kmem_query_pages() makes of the parts of a cell: sums, the largest, and
 *                      whether all is one client's
 */
#include <string.h>

#include <kmem/observe.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define CELL (UINT64_C(64) << 10)
#define ROWS_MAX 4

static struct kmem_query *query;
static Kmem__PageRow rows[ROWS_MAX];
static unsigned n_rows;
static struct kmem_pages got;
static char got_command[64];
static char got_reason[128];
static unsigned n_got;
static unsigned n_wanted; /* the callback ends the call with the last of these */

static bool answer_pages(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__PagesReport report = KMEM__PAGES_REPORT__INIT;
    Kmem__PageRow *all[ROWS_MAX] = {&rows[0], &rows[1], &rows[2], &rows[3]};
    if (request->body_case != KMEM__REQUEST__BODY_PAGES) {
        return false;
    }
    report.rows = all;
    report.n_rows = n_rows;
    response.body_case = KMEM__RESPONSE__BODY_PAGES;
    response.pages = &report;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static int start_daemon(void **state)
{
    n_rows = 0;
    n_got = 0;
    n_wanted = UINT32_MAX;
    fake_daemon_start();
    fake_daemon_hook(answer_pages);
    return kmem_query_open(NULL, &query);
}

static int stop_daemon(void **state)
{
    query = kmem_query_close(query);
    fake_daemon_stop();
    return 0;
}

static int take_pages(const struct kmem_pages *pages, void *user)
{
    got = *pages;
    memcpy(got_command, pages->command, strlen(pages->command) + 1); /* they fit */
    memcpy(got_reason, pages->reason, strlen(pages->reason) + 1);
    return ++n_got == n_wanted ? 7 : 0;
}

/* One more part, behind the others: of capture's, and "frame"s, wholly. */
static Kmem__PageRow *add_part(uint64_t num_bytes)
{
    Kmem__PageRow *row = &rows[n_rows];
    kmem__page_row__init(row);
    row->offset = n_rows > 0 ? rows[n_rows - 1].offset + rows[n_rows - 1].num_bytes : 0;
    row->num_bytes = num_bytes;
    row->state = KMEM__PAGE_STATE__PAGES_DIRECT;
    row->pid = 7;
    row->uid = 1000;
    row->command = (char *)(uintptr_t) "capture";
    row->reason = (char *)(uintptr_t) "frame";
    row->owner_bytes = num_bytes;
    row->reason_bytes = num_bytes;
    row->live_bytes = num_bytes;
    row->n_blocks = 1;
    row->one_owner = true;
    row->one_reason = true;
    n_rows++;
    return row;
}

/* A part of which nothing is anyone's. */
static Kmem__PageRow *add_free(uint64_t num_bytes)
{
    Kmem__PageRow *row = add_part(num_bytes);
    row->state = KMEM__PAGE_STATE__PAGES_FREE;
    row->pid = 0;
    row->command = (char *)(uintptr_t) "";
    row->reason = (char *)(uintptr_t) "";
    row->owner_bytes = row->reason_bytes = row->live_bytes = row->n_blocks = 0;
    row->free_bytes = row->longest_bytes = num_bytes;
    row->one_owner = row->one_reason = false;
    return row;
}

static void ask(void)
{
    assert_int_equal(kmem_query_pages(query, CELL, take_pages, NULL), 0);
    assert_int_equal(n_got, 1);
    assert_int_equal(got.offset, 0);
}

/* ----------------------------------------------------------------------------------- tests ---- */

static void test_query_pages_of_one_client_are_its_alone(void **state)
{
    (void)add_part(CELL / 4);
    (void)add_part(CELL / 4);
    (void)add_free(CELL / 2);
    ask();
    assert_true(got.one_owner);
    assert_true(got.one_reason);
    assert_int_equal(got.num_bytes, CELL);
    assert_int_equal(got.live_bytes, CELL / 2);
    assert_int_equal(got.n_blocks, 2);
    assert_int_equal(got.free_bytes, CELL / 2);
    assert_int_equal(got.longest_bytes, CELL / 2);
    assert_int_equal(got.state, KMEM_PAGES_FREE); /* of most bytes */
    assert_int_equal(got.pid, 7);
}

/* What comes first need not be the cell's. */
static void test_query_pages_that_begin_free_are_whose_the_rest_is(void **state)
{
    (void)add_free(CELL / 4);
    (void)add_part(CELL / 2);
    ask();
    assert_true(got.one_owner);
    assert_true(got.one_reason);
    assert_int_equal(got.pid, 7);
    assert_int_equal(got.uid, 1000);
    assert_string_equal(got_command, "capture");
    assert_string_equal(got_reason, "frame");
    assert_int_equal(got.state, KMEM_PAGES_DIRECT);
}

static void test_query_pages_of_two_clients_are_the_larger_ones(void **state)
{
    (void)add_part(CELL / 4);
    Kmem__PageRow *other = add_part(CELL / 2);
    other->pid = 8;
    other->command = (char *)(uintptr_t) "player";
    ask();
    assert_false(got.one_owner);
    assert_true(got.one_reason);
    assert_int_equal(got.pid, 8);
    assert_string_equal(got_command, "player");
}

/* Clients that are not seen have no number; two of them may be of one command. */
static void test_query_pages_of_the_same_number_and_another_command_are_two_clients(void **state)
{
    (void)add_part(CELL / 2);
    add_part(CELL / 4)->command = (char *)(uintptr_t) "player";
    ask();
    assert_false(got.one_owner);
    assert_string_equal(got_command, "capture");
}

static void test_query_pages_of_a_part_that_is_of_several_are_of_several(void **state)
{
    (void)add_part(CELL / 4);
    Kmem__PageRow *mixed = add_part(CELL / 4);
    mixed->one_owner = mixed->one_reason = false;
    (void)add_part(CELL / 4);
    ask();
    assert_false(got.one_owner);
    assert_false(got.one_reason);
}

static void test_query_pages_of_two_reasons_are_of_the_larger_ones(void **state)
{
    (void)add_part(CELL / 4);
    add_part(CELL / 2)->reason = (char *)(uintptr_t) "sound";
    ask();
    assert_true(got.one_owner);
    assert_false(got.one_reason);
    assert_string_equal(got_reason, "sound");
}

static void test_query_pages_have_the_ages_of_the_oldest_and_the_newest(void **state)
{
    const uint64_t ages[][2] = {{50, 20}, {90, 30}, {40, 10}};
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        Kmem__PageRow *row = add_part(CELL / 4);
        row->oldest_ms = ages[i][0];
        row->newest_ms = ages[i][1];
    }
    (void)add_free(CELL / 4); /* has none */
    ask();
    assert_int_equal(got.oldest_ms, 90);
    assert_int_equal(got.newest_ms, 10);
}

static void test_query_pages_whose_callback_ends_the_call_end_at_the_cell(void **state)
{
    (void)add_part(CELL);
    (void)add_part(CELL);
    (void)add_part(CELL);
    n_wanted = 2;
    assert_int_equal(kmem_query_pages(query, CELL, take_pages, NULL), 7);
    assert_int_equal(n_got, 2);
    n_got = 0;
    assert_int_equal(kmem_query_pages(query, 0, take_pages, NULL), 7); /* stretches */
    assert_int_equal(n_got, 2);
}

#define CELLS_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CELLS_TEST(test_query_pages_of_one_client_are_its_alone),
        CELLS_TEST(test_query_pages_that_begin_free_are_whose_the_rest_is),
        CELLS_TEST(test_query_pages_of_two_clients_are_the_larger_ones),
        CELLS_TEST(test_query_pages_of_the_same_number_and_another_command_are_two_clients),
        CELLS_TEST(test_query_pages_of_a_part_that_is_of_several_are_of_several),
        CELLS_TEST(test_query_pages_of_two_reasons_are_of_the_larger_ones),
        CELLS_TEST(test_query_pages_have_the_ages_of_the_oldest_and_the_newest),
        CELLS_TEST(test_query_pages_whose_callback_ends_the_call_end_at_the_cell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
