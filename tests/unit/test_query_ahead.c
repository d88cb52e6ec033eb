/* SPDX-License-Identifier: MIT */
/*
 * test_query_ahead.c - a page of blocks is asked for while the rows of the one before are handed on
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/query.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define N_PAGES 3

static struct kmem_query *query;
static atomic_uint n_asked;
static unsigned int n_rows;
static unsigned int stop_after; /* rows; 0: none stops the call */
static const char *last_word;   /* follows the second page */

/* Page n has one block, of n bytes, for which n is 1 to N_PAGES. */
static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Block row = KMEM__BLOCK__INIT;
    Kmem__Block *rows[] = {&row};
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__BlocksReport blocks = KMEM__BLOCKS_REPORT__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_BLOCKS) {
        return false;
    }
    row.num_bytes = 1 + request->blocks->from_offset / 16384;
    blocks.blocks = rows;
    blocks.n_blocks = 1;
    blocks.more = row.num_bytes < N_PAGES;
    blocks.next_offset = blocks.more ? row.num_bytes * 16384 : 0;
    response.body_case = KMEM__RESPONSE__BODY_BLOCKS;
    response.blocks = &blocks;
    fake_send(peer, request, &response, NULL, 0);
    if (last_word && row.num_bytes == 2) {
        Kmem__Request none = *request;
        none.id = 0;
        fake_send_error(peer, &none, KMEM__ERROR_CODE__ERROR_GONE, last_word);
    }
    atomic_fetch_add(&n_asked, 1);
    return true;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    atomic_store(&n_asked, 0);
    n_rows = stop_after = 0;
    last_word = NULL;
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

/* Rows come in order, and none is handed on before the daemon has made the page behind it. */
static int count_row(const struct kmem_block *block, void *user)
{
    n_rows++;
    assert_int_equal(block->num_bytes, n_rows);
    while (atomic_load(&n_asked) < n_rows + (n_rows < N_PAGES)) {
        (void)usleep(1000);
    }
    return n_rows == stop_after ? 77 : 0;
}

static void test_query_blocks_asks_for_the_next_page_first(void **state)
{
    assert_int_equal(kmem_query_blocks(query, count_row, NULL), 0);
    assert_int_equal(n_rows, N_PAGES);
    assert_int_equal(atomic_load(&n_asked), N_PAGES);
}

static void test_query_blocks_where_of_an_older_daemon_asks_for_nothing_ahead(void **state)
{
    const struct kmem_block_filter all = {.struct_bytes = sizeof(all)};
    assert_int_equal(kmem_query_blocks_where(query, &all, count_row, NULL), -EPROTONOSUPPORT);
    assert_int_equal(n_rows, 0); /* this daemon does not filter: nothing was asked for ahead */
    assert_int_equal(kmem_query_blocks(query, count_row, NULL), 0);
}

static void test_query_blocks_callback_that_ends_the_call_leaves_nothing_behind(void **state)
{
    stop_after = 1;
    errno = 4242;
    assert_int_equal(kmem_query_blocks(query, count_row, NULL), 77);
    assert_int_equal(errno, 4242);
    stop_after = n_rows = 0;
    atomic_store(&n_asked, 0);
    assert_int_equal(kmem_query_blocks(query, count_row, NULL), 0);
    assert_int_equal(n_rows, N_PAGES);
}

static int end_daemon(const struct kmem_block *block, void *user)
{
    if (n_rows == 0) {
        (void)count_row(block, user);
        fake_daemon_end();
    } else {
        n_rows++;
    }
    return 0;
}

/* The page that was made already arrives, or it does not; what was handed on is right. */
static void test_query_blocks_of_a_daemon_that_ends_is_ECONNRESET(void **state)
{
    assert_int_equal(kmem_query_blocks(query, end_daemon, NULL), -ECONNRESET);
    assert_in_range(n_rows, 1, 2);
    assert_non_null(strstr(kmem_query_error(query), "kmem_query_blocks: the daemon at "));
    assert_non_null(strstr(kmem_query_error(query), "has ended or closed the connection"));
}

static void test_query_blocks_hears_a_last_word_behind_a_page(void **state)
{
    last_word = "kmemd ends";
    assert_int_equal(kmem_query_blocks(query, count_row, NULL), -ECONNRESET);
    assert_int_equal(n_rows, 2);
    assert_non_null(strstr(kmem_query_error(query), "kmemd ends"));
}

#define QUERY_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_query_blocks_asks_for_the_next_page_first),
        QUERY_TEST(test_query_blocks_where_of_an_older_daemon_asks_for_nothing_ahead),
        QUERY_TEST(test_query_blocks_callback_that_ends_the_call_leaves_nothing_behind),
        QUERY_TEST(test_query_blocks_of_a_daemon_that_ends_is_ECONNRESET),
        QUERY_TEST(test_query_blocks_hears_a_last_word_behind_a_page),
    };
    return cmocka_run_group_tests_name("query_ahead", tests, NULL, NULL);
}
