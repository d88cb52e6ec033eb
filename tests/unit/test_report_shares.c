/* SPDX-License-Identifier: MIT */
/*
 * test_report_shares.c - who keeps shared blocks, and what they are named, page by page
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/report.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define OWNER KMEM__HOLDER_KIND__HOLDER_OWNER
#define HOLDS KMEM__HOLDER_KIND__HOLDER_HOLDS
#define IS_NAME KMEM__HOLDER_KIND__HOLDER_NAME
#define OFFER KMEM__HOLDER_KIND__HOLDER_OFFER

/* Enough that one block's rows do not fit one answer, nor two. */
#define N_CROWD 590

static const Kmem__HoldersReport *holders(uint64_t offset)
{
    assert_int_equal(ask_holders(&alice, offset, 0, 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_HOLDERS);
    return talk.reply->response.holders;
}

static void assert_row(const Kmem__Holder *row, Kmem__HolderKind kind, uint32_t pid,
                       const char *reason)
{
    assert_int_equal(row->kind, kind);
    assert_int_equal(row->pid, pid);
    assert_string_equal(row->reason, reason);
    assert_string_equal(row->block_reason, "frame");
}

static void test_holders_of_a_block_are_its_owner_its_names_and_who_holds_it(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1000);
    const struct share_handle handle = share(&alice, block);
    (void)share(&bob, allocate(&bob, 10));
    talk.fixture.now_ms += 5000;
    assert_int_equal(ask_attach(&carol, &handle, 1, true), DISPATCH_OK);
    attach(&bob, &handle);
    (void)publish(&bob, block, "a name", 0);
    talk.fixture.now_ms += 2000;

    const Kmem__HoldersReport *report = holders(block);

    assert_false(report->more);
    assert_int_equal(report->n_holders, 4);
    assert_row(report->holders[0], OWNER, 1, "frame");
    assert_int_equal(report->holders[0]->age_ms, 7000);
    assert_string_equal(report->holders[0]->command, "worker-1");
    assert_row(report->holders[1], IS_NAME, 2, "a name");
    assert_row(report->holders[2], HOLDS, 2, "looks");
    assert_false(report->holders[2]->write);
    assert_row(report->holders[3], HOLDS, 3, "looks");
    assert_true(report->holders[3]->write);
    assert_int_equal(report->holders[3]->age_ms, 2000);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(report->holders[i]->offset, block);
        assert_int_equal(report->holders[i]->num_bytes, 1000);
        assert_int_equal(report->holders[i]->generation, handle.generation);
    }
}

static void test_holders_without_an_offset_are_those_of_all_blocks(void **state)
{
    (void)state;
    const struct share_handle first = share(&alice, allocate(&alice, 10));
    const struct share_handle second = share(&bob, allocate(&bob, 20));
    attach(&carol, &first);
    attach(&carol, &second);

    const Kmem__HoldersReport *report = holders(0);

    assert_int_equal(report->n_holders, 4);
    assert_int_equal(report->holders[1]->offset, first.offset);
    assert_int_equal(report->holders[3]->offset, second.offset);
    assert_int_equal(holders(first.offset + 16)->n_holders, 0);
    assert_int_equal(holders(UINT64_MAX)->n_holders, 0);
}

static void test_holders_tell_an_offer_and_a_block_without_its_owner(void **state)
{
    (void)state;
    const uint64_t offered = allocate(&alice, 10);
    const uint64_t left = allocate(&alice, 10);
    assert_int_equal(ask_transfer(&alice, offered, false), DISPATCH_OK);
    const struct share_handle handle = share(&alice, left);
    attach(&bob, &handle);
    assert_true(let_go(&alice, left));

    const Kmem__HoldersReport *report = holders(0);

    assert_int_equal(report->n_holders, 2);
    assert_row(report->holders[0], OFFER, 1, "frame");
    assert_row(report->holders[1], HOLDS, 2, "looks");
}

static void test_holders_and_names_tell_a_kept_name_without_its_publisher(void **state)
{
    (void)state;
    (void)publish(&bob, allocate(&bob, 10), "kept", KEEP);
    struct client *client = bob.client;
    peer_close(&talk, &bob);
    fixture_end(&talk.fixture, client, true);

    const Kmem__HoldersReport *report = holders(0);
    assert_int_equal(report->n_holders, 1);
    assert_row(report->holders[0], IS_NAME, 0, "kept");
    assert_string_equal(report->holders[0]->command, "");
    const uint32_t uid = fixture_identity(2).uid;
    assert_int_equal(report->holders[0]->uid, uid);

    assert_int_equal(ask_names(&alice, 0), DISPATCH_OK);
    const Kmem__Name *name = talk.reply->response.names->names[0];
    assert_int_equal(name->pid, 0);
    assert_int_equal(name->uid, uid);
    assert_true(name->keep);
    assert_int_equal(name->n_holders, 0);
}

/* The row of a block in the list of all blocks. */
static const Kmem__Block *block_row(uint64_t offset)
{
    reply_reset(talk.reply, 1);
    report_blocks(talk.core, (struct seg_off){offset}, NULL, talk.fixture.now_ms, talk.reply);
    assert_int_equal(talk.reply->response.blocks->blocks[0]->offset, offset);
    return talk.reply->response.blocks->blocks[0];
}

static void assert_block(uint64_t offset, bool shared, uint32_t n_holders, uint32_t n_names)
{
    const Kmem__Block *row = block_row(offset);
    assert_int_equal(row->shared, shared);
    assert_int_equal(row->n_holders, n_holders);
    assert_int_equal(row->n_names, n_names);
}

static void test_blocks_tell_how_many_hold_a_shared_one(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1000);
    assert_block(block, false, 0, 0);
    const struct share_handle handle = share(&alice, block);
    assert_block(block, true, 1, 0);
    attach(&bob, &handle);
    attach(&carol, &handle);
    (void)publish(&bob, block, "a name", 0);
    (void)publish(&bob, block, "another", KEEP);
    assert_block(block, true, 3, 2);
    assert_true(let_go(&alice, block));
    assert_true(let_go(&bob, block));
    assert_block(block, true, 1, 2);
    assert_int_equal(block_row(block)->pid, 3); /* carol is charged for it */
    assert_true(let_go(&carol, block));
    assert_block(block, true, 0, 2);
    assert_int_equal(block_row(block)->pid, 2); /* bob has published it, and then he has ended */
    struct client *client = bob.client;
    peer_close(&talk, &bob);
    fixture_end(&talk.fixture, client, false);
    assert_string_equal(block_row(block)->command, "kept");
}

static void test_blocks_tell_that_no_process_holds_one_that_is_offered(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 10);
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    assert_block(block, true, 0, 0);
    const struct share_handle handle =
        shares_handle(&talk.core->shares, shares_at(&talk.core->shares, (struct seg_off){block}));
    attach(&bob, &handle);
    assert_block(block, true, 1, 0);
    assert_int_equal(ask_transfer(&bob, block, false), DISPATCH_OK);
    assert_block(block, true, 0, 0);
}

/* --------------------------------------------------------------------------------- in pages -- */

static struct client *crowd[N_CROWD];

static void crowd_attach(const struct share_handle *handle)
{
    const struct sharing_reason reason = {"one of many, with a reason that takes room", 42};
    for (uint32_t i = 0; i < N_CROWD; i++) {
        struct attached attached;
        if (!crowd[i]) {
            crowd[i] = fixture_join(&talk.fixture, 100 + i);
        }
        const struct sharing of = {.core = talk.core, .client = crowd[i]};
        assert_int_equal(sharing_attach(&of, handle, false, reason, &attached), 0);
    }
}

static void crowd_let_go(uint32_t index, const struct share_handle *handle)
{
    const struct sharing of = {.core = talk.core, .client = crowd[index]};
    enum let_go let_go;
    struct block block;
    assert_int_equal(sharing_release(&of, (struct seg_off){handle->offset}, &let_go, &block), 0);
}

/* How often each process of the crowd was told, page by page. */
static uint32_t read_on(uint32_t *n_told, uint64_t offset, void (*between)(void))
{
    uint32_t share = 0;
    uint32_t holder = 0;
    uint32_t n_pages = 0;
    memset(n_told, 0, N_CROWD * sizeof(*n_told));
    do {
        assert_int_equal(ask_holders(&alice, offset, share, holder), DISPATCH_OK);
        const Kmem__HoldersReport *report = talk.reply->response.holders;
        assert_true(report->n_holders > 0);
        for (size_t i = 0; i < report->n_holders; i++) {
            const uint32_t pid = report->holders[i]->pid;
            if (pid >= 100) {
                n_told[pid - 100]++;
            }
        }
        share = report->more ? report->next_share : 0;
        holder = report->next_holder;
        n_pages++;
        if (between) {
            between();
        }
    } while (share != 0);
    return n_pages;
}

static struct share_handle two[2];

static void come_and_go(void)
{
    crowd_let_go(N_CROWD / 2, &two[0]);
    const struct sharing of = {.core = talk.core, .client = crowd[N_CROWD / 2]};
    struct attached attached;
    const struct sharing_reason reason = {"again", 5};
    assert_int_equal(sharing_attach(&of, &two[0], false, reason, &attached), 0);
}

static void test_holders_of_a_block_with_many_are_told_in_pages_each_once(void **state)
{
    (void)state;
    uint32_t n_told[N_CROWD];
    memset(crowd, 0, sizeof(crowd));
    two[0] = share(&alice, allocate(&alice, 10));
    two[1] = share(&alice, allocate(&alice, 10));
    crowd_attach(&two[0]);
    crowd_attach(&two[1]);

    assert_true(read_on(n_told, two[1].offset, NULL) >= 2);
    for (uint32_t i = 0; i < N_CROWD; i++) {
        assert_int_equal(n_told[i], 1);
    }
    assert_true(read_on(n_told, 0, NULL) >= 3);
    for (uint32_t i = 0; i < N_CROWD; i++) {
        assert_int_equal(n_told[i], 2);
    }
    /* One lets go and comes back between the pages: the others are told as before. */
    (void)read_on(n_told, two[0].offset, come_and_go);
    for (uint32_t i = 0; i < N_CROWD; i++) {
        assert_true(n_told[i] == 1);
    }
}

static void test_names_of_one_block_and_of_many_are_told_in_pages_each_once(void **state)
{
    (void)state;
    enum { N_NAMES = 1500 };
    static uint32_t n_told[N_NAMES];
    const uint64_t block = allocate(&alice, 10);
    const uint64_t other = allocate(&alice, 10);
    memset(n_told, 0, sizeof(n_told));
    for (uint32_t i = 0; i < N_NAMES; i++) {
        char name[SHARE_NAME_MAX_BYTES];
        (void)snprintf(name, sizeof(name), "%u", i);
        (void)publish(&alice, i % 3 == 0 ? other : block, name, 0);
    }

    uint32_t share = 0;
    uint32_t holder = 0;
    do {
        assert_int_equal(ask_holders(&alice, block, share, holder), DISPATCH_OK);
        const Kmem__HoldersReport *report = talk.reply->response.holders;
        for (size_t i = 0; i < report->n_holders; i++) {
            assert_int_equal(report->holders[i]->offset, block);
            if (report->holders[i]->kind == IS_NAME) {
                n_told[strtoul(report->holders[i]->reason, NULL, 10)]++;
            }
        }
        share = report->more ? report->next_share : 0;
        holder = report->next_holder;
    } while (share != 0);
    uint32_t from = 0;
    do {
        assert_int_equal(ask_names(&alice, from), DISPATCH_OK);
        const Kmem__NamesReport *report = talk.reply->response.names;
        for (size_t i = 0; i < report->n_names; i++) {
            const unsigned long number = strtoul(report->names[i]->name, NULL, 10);
            assert_int_equal(report->names[i]->offset, number % 3 == 0 ? other : block);
            assert_int_equal(report->names[i]->pid, 1);
            assert_int_equal(report->names[i]->n_holders, 1);
            n_told[number]++;
        }
        from = report->more ? report->next_name : 0;
    } while (from != 0);
    for (uint32_t i = 0; i < N_NAMES; i++) {
        assert_int_equal(n_told[i], i % 3 == 0 ? 1 : 2);
    }
}

static void test_holders_and_names_from_anywhere_are_answered(void **state)
{
    (void)state;
    const uint32_t places[] = {0, 1, 2, 4096, 4097, 8193, SHARES_MAX, UINT32_MAX};
    const uint64_t block = allocate(&alice, 10);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);
    (void)publish(&alice, block, "x", 0);

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (size_t j = 0; j < sizeof(places) / sizeof(places[0]); j++) {
            assert_int_equal(ask_holders(&alice, 0, places[i], places[j]), DISPATCH_OK);
            assert_body(&talk, KMEM__RESPONSE__BODY_HOLDERS);
            assert_int_equal(ask_holders(&alice, block, places[i], places[j]), DISPATCH_OK);
            assert_body(&talk, KMEM__RESPONSE__BODY_HOLDERS);
        }
        assert_int_equal(ask_names(&alice, places[i]), DISPATCH_OK);
        assert_body(&talk, KMEM__RESPONSE__BODY_NAMES);
    }
}

/* What was handed on is offered by who was handed it; that hold is no holder. */
static void test_holders_of_what_is_handed_on_show_who_offers_it(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1000);
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    attach(&bob, &handle);
    assert_int_equal(ask_transfer(&bob, block, false), DISPATCH_OK);
    const Kmem__HoldersReport *report = holders(block);
    assert_int_equal(report->n_holders, 1);
    assert_int_equal(report->holders[0]->kind, OFFER);
}

/* A record between two others is free. */
static void test_holders_of_a_block_have_no_name_that_is_free(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1000);
    (void)publish(&alice, block, "one", 0);
    (void)publish(&alice, block, "two", 0);
    (void)publish(&alice, block, "three", 0);
    assert_int_equal(ask_unpublish(&alice, "two"), DISPATCH_OK);
    const Kmem__HoldersReport *report = holders(block);
    assert_int_equal(report->n_holders, 3);
    const uint32_t number = shares_at(&talk.core->shares, (struct seg_off){block});
    assert_int_equal(ask_holders(&alice, block, number, 2), DISPATCH_OK);
    assert_int_equal(talk.reply->response.holders->n_holders, 1); /* from that name on */
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_holders_of_a_block_are_its_owner_its_names_and_who_holds_it),
        TALK_TEST(test_holders_without_an_offset_are_those_of_all_blocks),
        TALK_TEST(test_holders_tell_an_offer_and_a_block_without_its_owner),
        TALK_TEST(test_holders_and_names_tell_a_kept_name_without_its_publisher),
        TALK_TEST(test_blocks_tell_how_many_hold_a_shared_one),
        TALK_TEST(test_blocks_tell_that_no_process_holds_one_that_is_offered),
        TALK_TEST(test_holders_of_a_block_with_many_are_told_in_pages_each_once),
        TALK_TEST(test_names_of_one_block_and_of_many_are_told_in_pages_each_once),
        TALK_TEST(test_holders_and_names_from_anywhere_are_answered),
        TALK_TEST(test_holders_of_what_is_handed_on_show_who_offers_it),
        TALK_TEST(test_holders_of_a_block_have_no_name_that_is_free),
    };
    return cmocka_run_group_tests_name("report_shares", tests, NULL, NULL);
}
