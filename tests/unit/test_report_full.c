/* SPDX-License-Identifier: MIT */
/*
 * test_report_full.c - reports that are as long as an answer can be, by their rows or their bytes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define IS_NAME KMEM__HOLDER_KIND__HOLDER_NAME

enum { N_ROWS = 512, N_NAMES = N_ROWS + 20, N_BLOCKS = 4097 };

/* Rows without a command, which are the shortest: as many as there may be are less than a frame. */
static void test_names_of_one_that_has_ended_are_so_many_rows(void **state)
{
    char name[16];
    const uint64_t block = allocate(&bob, 10);
    for (uint32_t i = 0; i < N_NAMES; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        (void)publish(&bob, block, name, KEEP);
    }
    struct client *client = bob.client;
    peer_close(&talk, &bob);
    fixture_end(&talk.fixture, client, true);

    assert_int_equal(ask_names(&alice, 0), DISPATCH_OK);
    assert_int_equal(talk.reply->response.names->n_names, N_ROWS);
    assert_int_equal(ask_names(&alice, talk.reply->response.names->next_name), DISPATCH_OK);
    assert_int_equal(talk.reply->response.names->n_names, N_NAMES - N_ROWS);
    assert_false(talk.reply->response.names->more);
    assert_int_equal(ask_holders(&alice, block, 0, 0), DISPATCH_OK);
    const Kmem__HoldersReport *report = talk.reply->response.holders;
    assert_int_equal(report->n_holders, N_ROWS);
    assert_int_equal(ask_holders(&alice, block, report->next_share, report->next_holder),
                     DISPATCH_OK);
    assert_int_equal(talk.reply->response.holders->n_holders, N_NAMES - N_ROWS);
}

/* The report ends at an owner, of which each block has one; and blocks far apart share a bucket. */
static void test_holders_of_many_blocks_are_told_once_each(void **state)
{
    static uint64_t blocks[N_BLOCKS];
    uint32_t n_rows = 0;
    uint32_t from = 0;
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        blocks[i] = allocate(&alice, 16);
        (void)share(&alice, blocks[i]);
    }
    do {
        assert_int_equal(ask_holders(&alice, 0, from, 0), DISPATCH_OK);
        const Kmem__HoldersReport *report = talk.reply->response.holders;
        n_rows += (uint32_t)report->n_holders;
        assert_int_equal(report->next_holder, 0);
        from = report->more ? report->next_share : 0;
    } while (from != 0);
    assert_int_equal(n_rows, N_BLOCKS);

    (void)publish(&alice, blocks[0], "first", 0);
    (void)publish(&alice, blocks[N_BLOCKS - 1], "last", 0);
    assert_int_equal(ask_holders(&alice, blocks[0], 0, 0), DISPATCH_OK);
    assert_int_equal(talk.reply->response.holders->n_holders, 2);
    assert_int_equal(talk.reply->response.holders->holders[1]->kind, IS_NAME);
    assert_string_equal(talk.reply->response.holders->holders[1]->reason, "first");
}

#define FULL_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FULL_TEST(test_names_of_one_that_has_ended_are_so_many_rows),
        FULL_TEST(test_holders_of_many_blocks_are_told_once_each),
    };
    return cmocka_run_group_tests_name("report_full", tests, NULL, NULL);
}
