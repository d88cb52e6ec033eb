/* SPDX-License-Identifier: MIT */
/*
 * test_query_where.c - blocks that a filter takes, as kmem/query.h asks for them
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/query.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct kmem_query *query;
static bool is_old_daemon;
static unsigned int n_pages_more;
static Kmem__BlockFilter asked;
static char asked_reason[512];
static unsigned int n_asked;
static unsigned int n_rows;

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    static Kmem__Block row;
    static Kmem__Block *rows[] = {&row};
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__BlocksReport blocks = KMEM__BLOCKS_REPORT__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_BLOCKS) {
        return false;
    }
    n_asked++;
    asked = *request->blocks->filter;
    if (asked.reason.len > 0) {
        memcpy(asked_reason, asked.reason.data, asked.reason.len);
    }
    asked_reason[asked.reason.len] = '\0';
    kmem__block__init(&row);
    blocks.blocks = rows;
    blocks.n_blocks = n_pages_more == 0; /* the others have none */
    blocks.filtered = !is_old_daemon;
    blocks.more = n_pages_more > 0;
    blocks.next_offset = request->blocks->from_offset + 16384;
    n_pages_more -= n_pages_more > 0;
    response.body_case = KMEM__RESPONSE__BODY_BLOCKS;
    response.blocks = &blocks;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    is_old_daemon = false;
    n_pages_more = 0;
    n_asked = n_rows = 0;
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

static int count_row(const struct kmem_block *block, void *user)
{
    n_rows++;
    return 0;
}

static void test_query_where_asks_for_all_that_the_filter_says(void **state)
{
    const struct kmem_block_filter filter = {
        .struct_bytes = sizeof(filter),
        .by_pid = 1,
        .pid = 4711,
        .by_uid = 2,
        .uid = 1000,
        .reason = "camera/*",
        .older_than_ms = 60000,
        .larger_than = 4096,
        .kind = KMEM_BLOCKS_LEASED,
        .sharing = KMEM_SHARING_UNSHARED,
    };
    assert_int_equal(kmem_query_blocks_where(query, &filter, count_row, NULL), 0);
    assert_int_equal(n_rows, 1);
    assert_true(asked.by_pid && asked.by_uid);
    assert_int_equal(asked.pid, 4711);
    assert_int_equal(asked.uid, 1000);
    assert_string_equal(asked_reason, "camera/*");
    assert_int_equal(asked.older_than_ms, 60000);
    assert_int_equal(asked.larger_than, 4096);
    assert_int_equal(asked.kind, KMEM__BLOCK_KIND__BLOCK_LEASED);
    assert_int_equal(asked.sharing, KMEM__BLOCK_SHARING__SHARING_UNSHARED);
}

static void test_query_where_nothing_is_said_asks_for_nothing(void **state)
{
    const struct kmem_block_filter filter = {.struct_bytes = sizeof(filter)};
    assert_int_equal(kmem_query_blocks_where(query, &filter, count_row, NULL), 0);
    assert_false(asked.by_pid || asked.by_uid);
    assert_string_equal(asked_reason, "");
    assert_int_equal(asked.older_than_ms + asked.larger_than, 0);
    assert_int_equal(asked.kind, KMEM__BLOCK_KIND__BLOCK_ANY);
    assert_int_equal(asked.sharing, KMEM__BLOCK_SHARING__SHARING_ANY);
}

static void test_query_where_reads_on_after_pages_without_a_row(void **state)
{
    const struct kmem_block_filter filter = {.struct_bytes = sizeof(filter)};
    n_pages_more = 3;
    assert_int_equal(kmem_query_blocks_where(query, &filter, count_row, NULL), 0);
    assert_int_equal(n_asked, 4);
    assert_int_equal(n_rows, 1);
}

/* It sends all blocks, since it knows no filter: none of them is handed on. */
static void test_query_where_of_an_old_daemon_is_EPROTONOSUPPORT(void **state)
{
    const struct kmem_block_filter filter = {.struct_bytes = sizeof(filter), .larger_than = 1};
    is_old_daemon = true;
    assert_int_equal(kmem_query_blocks_where(query, &filter, count_row, NULL), -EPROTONOSUPPORT);
    assert_int_equal(n_rows, 0);
    assert_non_null(
        strstr(kmem_query_error(query), "kmem_query_blocks_where: the daemon is older"));
}

static void test_query_where_without_struct_bytes_is_EINVAL(void **state)
{
    const struct kmem_block_filter filter = {.larger_than = 1};
    assert_int_equal(kmem_query_blocks_where(query, &filter, count_row, NULL), -EINVAL);
    assert_non_null(strstr(kmem_query_error(query), "set it to sizeof(filter)"));
    assert_int_equal(n_asked, 0);
}

/* A caller that was built with a later header has more members. */
static void test_query_where_of_a_newer_caller_reads_what_is_known(void **state)
{
    struct {
        struct kmem_block_filter known;
        uint64_t unknown[4];
    } newer = {.known = {.struct_bytes = sizeof(newer), .larger_than = 5}};
    assert_int_equal(kmem_query_blocks_where(query, &newer.known, count_row, NULL), 0);
    assert_int_equal(asked.larger_than, 5);
}

#define WHERE_TEST(test) cmocka_unit_test_setup_teardown(test, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WHERE_TEST(test_query_where_asks_for_all_that_the_filter_says),
        WHERE_TEST(test_query_where_nothing_is_said_asks_for_nothing),
        WHERE_TEST(test_query_where_reads_on_after_pages_without_a_row),
        WHERE_TEST(test_query_where_of_an_old_daemon_is_EPROTONOSUPPORT),
        WHERE_TEST(test_query_where_without_struct_bytes_is_EINVAL),
        WHERE_TEST(test_query_where_of_a_newer_caller_reads_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
