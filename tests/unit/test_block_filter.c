/* SPDX-License-Identifier: MIT */
/*
 * test_block_filter.c - blocks with a filter: what is wanted, in pages of bounded work
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/block_filter.h"
#include "daemon/core/scan.h"
#include "proto/glob.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
/* What a page may look at beyond its budget: the slab that it is in, and a block's comparison. */
#define SLACK 10000

static Kmem__BlockFilter filter;
static struct client *client;

static int filter_setup(void **state)
{
    talk_begin(N_PAGES, 100);
    kmem__block_filter__init(&filter);
    client = alice.client;
    return 0;
}

static uint64_t give(struct peer *peer, uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

static const Kmem__BlocksReport *ask_where(uint64_t from_offset)
{
    struct request request;
    Kmem__Request *base = request_blocks(&request, from_offset);
    request.blocks.filter = &filter;
    assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_BLOCKS);
    return talk.reply->response.blocks;
}

/* The wanted blocks' sizes, page by page: "16 44 ". */
static const char *wanted(uint32_t *ret_n_pages)
{
    static char sizes[1024];
    const Kmem__BlocksReport *report;
    uint64_t from = 0;
    sizes[0] = '\0';
    *ret_n_pages = 0;
    do {
        report = ask_where(from);
        assert_true(report->filtered);
        for (size_t i = 0; i < report->n_blocks; i++) {
            const size_t n_bytes = strlen(sizes);
            (void)snprintf(sizes + n_bytes, sizeof(sizes) - n_bytes, "%llu ",
                           (unsigned long long)report->blocks[i]->num_bytes);
        }
        ++*ret_n_pages;
        assert_true(!report->more || report->next_offset > from);
        from = report->next_offset;
    } while (report->more);
    return sizes;
}

static void assert_wanted(const char *sizes)
{
    uint32_t n_pages;
    assert_string_equal(wanted(&n_pages), sizes);
    kmem__block_filter__init(&filter);
}

static void want_reason(const char *glob)
{
    filter.reason.data = (uint8_t *)(uintptr_t)glob;
    filter.reason.len = strlen(glob);
}

static void test_filter_of_nothing_takes_all(void **state)
{
    (void)give(&alice, 16, "a");
    (void)give(&bob, 20000, "b");
    assert_wanted("16 20000 ");
}

static void test_filter_by_pid_and_by_uid(void **state)
{
    (void)give(&alice, 16, "a");
    (void)give(&bob, 20000, "b");
    filter.by_pid = true;
    filter.pid = bob.client->identity.pid;
    assert_wanted("20000 ");
    filter.by_uid = true;
    filter.uid = alice.client->identity.uid;
    assert_wanted("16 ");
    filter.by_pid = filter.by_uid = true; /* pid 0: of those that are not seen; uid 0: root */
    assert_wanted("");
    filter.by_uid = true;
    assert_wanted("");
}

static void test_filter_by_size_takes_what_is_larger(void **state)
{
    (void)give(&alice, 16, "a");
    (void)give(&alice, 17, "a");
    filter.larger_than = 16;
    assert_wanted("17 ");
    filter.larger_than = 17;
    assert_wanted("");
    filter.larger_than = UINT64_MAX;
    assert_wanted("");
}

static void test_filter_by_age_takes_what_is_older(void **state)
{
    (void)give(&alice, 16, "a");
    talk.fixture.now_ms += 60000;
    (void)give(&alice, 17, "a");
    talk.fixture.now_ms += 1000;
    filter.older_than_ms = 1000;
    assert_wanted("16 ");
    filter.older_than_ms = 900;
    assert_wanted("16 17 ");
    filter.older_than_ms = 61000;
    assert_wanted("");
    filter.older_than_ms = UINT64_MAX;
    assert_wanted("");
}

static void test_filter_by_reason_compares_what_the_ledger_groups_by(void **state)
{
    (void)give(&alice, 16, "camera/frame#1");
    (void)give(&alice, 17, "camera/frame");
    (void)give(&alice, 18, "camera");
    (void)give(&alice, 19, "#odd");
    want_reason("camera/frame");
    assert_wanted("16 17 ");
    want_reason("camera*");
    assert_wanted("16 17 18 ");
    want_reason("camera/*#1");
    assert_wanted("16 ");
    want_reason("?odd");
    assert_wanted("19 ");
    want_reason("cam");
    assert_wanted("");
}

static void test_filter_takes_what_all_of_it_is_true_of(void **state)
{
    (void)give(&alice, 16, "a");
    (void)give(&alice, 500, "a");
    (void)give(&bob, 600, "a");
    filter.by_pid = true;
    filter.pid = alice.client->identity.pid;
    filter.larger_than = 100;
    want_reason("a");
    assert_wanted("500 ");
}

static void test_filter_by_sharing(void **state)
{
    const uint64_t shared = give(&alice, 16, "a");
    (void)give(&alice, 17, "a");
    filter.sharing = KMEM__BLOCK_SHARING__SHARING_SHARED;
    assert_wanted("");
    assert_int_equal(ask_share(&alice, shared, false), DISPATCH_OK);
    filter.sharing = KMEM__BLOCK_SHARING__SHARING_SHARED;
    assert_wanted("16 ");
    filter.sharing = KMEM__BLOCK_SHARING__SHARING_UNSHARED;
    assert_wanted("17 ");
}

/* n blocks of 1 byte in a lease, each under a reason of its own, or all under one. */
static void carve(uint32_t n_blocks, bool has_reasons)
{
    struct ledger *ledger = fixture_ledger(&talk.fixture, client);
    const uint32_t page = fixture_lease(&talk.fixture, client, 64);
    uint32_t at = page;
    const uint32_t one = fixture_tell(&talk.fixture, client, "leased/one");
    for (uint32_t i = 0; i < n_blocks; i++) {
        char reason[24];
        if (i % size_classes[0].n_blocks == 0) {
            fixture_carve(&talk.fixture, client, at, 0);
            at += size_classes[0].span_pages;
        }
        (void)snprintf(reason, sizeof(reason), "leased/%05u", i);
        (void)ledger_take(ledger, at - size_classes[0].span_pages, 1,
                          has_reasons ? fixture_tell(&talk.fixture, client, reason) : one, 0, 0);
    }
}

static void test_filter_by_kind(void **state)
{
    (void)give(&alice, 16, "direct");
    carve(1, false);
    filter.kind = KMEM__BLOCK_KIND__BLOCK_DIRECT;
    assert_wanted("16 ");
    filter.kind = KMEM__BLOCK_KIND__BLOCK_LEASED;
    assert_wanted("1 ");
    want_reason("leased/?n?");
    assert_wanted("1 ");
}

static void test_filter_that_can_not_be_meant_is_INVALID(void **state)
{
    char longest[GLOB_MAX_BYTES + 2];
    struct request request;
    memset(longest, '*', sizeof(longest));
    longest[GLOB_MAX_BYTES] = '\0';
    want_reason(longest);
    assert_wanted("");
    const struct {
        const char *glob;
        size_t n_bytes;
        int kind;
        int sharing;
        const char *words;
    } bad[] = {
        {"\xff", 1, 0, 0, "UTF-8 without NUL, at most 254 bytes"},
        {"a\0b", 3, 0, 0, "UTF-8 without NUL"},
        {longest, GLOB_MAX_BYTES + 1, 0, 0, "at most 254 bytes"},
        {"", 0, 3, 0, "no blocks of kind 3 and sharing 0"},
        {"", 0, -1, 0, "no blocks of kind -1"},
        {"", 0, 0, 3, "sharing 3"},
    };
    longest[GLOB_MAX_BYTES] = '*';
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        Kmem__Request *base = request_blocks(&request, 0);
        kmem__block_filter__init(&filter);
        filter.reason.data = (uint8_t *)(uintptr_t)bad[i].glob;
        filter.reason.len = bad[i].n_bytes;
        filter.kind = (Kmem__BlockKind)bad[i].kind;
        filter.sharing = (Kmem__BlockSharing)bad[i].sharing;
        request.blocks.filter = &filter;
        assert_int_equal(ask_request(&talk, &bob, base), DISPATCH_OK);
        assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, bad[i].words);
    }
}

static void test_filter_that_takes_nothing_answers_in_pages(void **state)
{
    uint32_t n_pages;
    for (uint32_t i = 0; i < 5 * SCAN_BUDGET; i++) {
        (void)give(&alice, 16, "many");
    }
    filter.larger_than = 1000;
    assert_string_equal(wanted(&n_pages), "");
    assert_in_range(n_pages, 5, 8);
}

/* A comparison is counted once for each reason, however many blocks have it. */
static void test_filter_by_reason_costs_little_where_reasons_are_few(void **state)
{
    uint32_t n_pages;
    carve(20000, false);
    want_reason("*a*a*a*a*b");
    assert_string_equal(wanted(&n_pages), "");
    assert_in_range(n_pages, 20000 / SCAN_BUDGET, 20000 / SCAN_BUDGET * 3 / 2);
}

/* Each block has a reason of its own, which is read out of its client's file. */
static void test_filter_by_reason_of_many_reasons_makes_small_pages(void **state)
{
    uint32_t n_pages;
    carve(8000, true);
    want_reason("none");
    assert_string_equal(wanted(&n_pages), "");
    assert_in_range(n_pages, 8000 * CLIENT_LEDGER_READ_COST / (SCAN_BUDGET + SLACK),
                    2 * 8000 * CLIENT_LEDGER_READ_COST / SCAN_BUDGET + 2);
    want_reason("leased/07999");
    assert_string_equal(wanted(&n_pages), "1 ");
}

/* Wanted rows come with the page on which they are found: the first is not waited for. */
static void test_filter_answers_with_rows_before_all_is_looked_at(void **state)
{
    (void)give(&alice, 5000, "wanted");
    for (uint32_t i = 0; i < 5 * SCAN_BUDGET; i++) {
        (void)give(&alice, 16, "many");
    }
    filter.larger_than = 1000;
    const Kmem__BlocksReport *report = ask_where(0);
    assert_int_equal(report->n_blocks, 1);
    assert_true(report->more);
}

static void test_a_filter_of_no_kind_that_there_is_is_told_so(void **state)
{
    struct block_filter made;
    filter.kind = _KMEM__BLOCK_KIND_IS_INT_SIZE;
    assert_int_equal(block_filter_init(&made, &filter), BLOCK_FILTER_E_KIND);
    filter.kind = KMEM__BLOCK_KIND__BLOCK_ANY;
    filter.sharing = _KMEM__BLOCK_SHARING_IS_INT_SIZE;
    assert_int_equal(block_filter_init(&made, &filter), BLOCK_FILTER_E_KIND);
}

/* More reasons than verdicts that are remembered: each is looked at, not taken for another. */
static void test_a_filter_tells_reasons_apart_that_share_a_verdicts_place(void **state)
{
    char reason[16];
    uint32_t n_pages;
    for (uint32_t i = 0; i < BLOCK_FILTER_VERDICTS + 8; i++) {
        (void)snprintf(reason, sizeof(reason), "%u", i);
        (void)give(&alice, 16, reason);
    }
    (void)give(&alice, 44, "0");
    filter.reason = (ProtobufCBinaryData){1, (uint8_t *)"0"};
    assert_string_equal(wanted(&n_pages), "16 44 ");
}

static bool takes(struct block_filter *of, const struct client *owner, uint32_t reason)
{
    const struct block block = {
        .num_bytes = 16, .leased = true, .slot = owner->slot, .reason = reason};
    uint32_t spent = 0;
    return block_filter_takes(of, talk.core, &block, 0, &spent);
}

/* The same place for ids of two clients' tables; and a block without a reason. */
static void test_a_filter_tells_owners_apart_that_share_a_verdicts_place(void **state)
{
    struct block_filter of;
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_ledger(&talk.fixture, bob.client);
    const uint32_t bobs = fixture_tell(&talk.fixture, bob.client, "another");
    const uint32_t alices = bobs + 31 * (bob.client->slot - alice.client->slot);
    while (fixture_tell(&talk.fixture, alice.client, "wanted") < alices) {
    }
    filter.reason = (ProtobufCBinaryData){6, (uint8_t *)"wanted"};
    assert_int_equal(block_filter_init(&of, &filter), BLOCK_FILTER_OK);

    assert_true(takes(&of, alice.client, alices));
    assert_false(takes(&of, bob.client, bobs));
    assert_true(takes(&of, alice.client, alices));
    assert_false(takes(&of, alice.client, REASON_NONE));
}

#define FILTER_TEST(test) cmocka_unit_test_setup_teardown(test, filter_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILTER_TEST(test_filter_of_nothing_takes_all),
        FILTER_TEST(test_filter_by_pid_and_by_uid),
        FILTER_TEST(test_filter_by_size_takes_what_is_larger),
        FILTER_TEST(test_filter_by_age_takes_what_is_older),
        FILTER_TEST(test_filter_by_reason_compares_what_the_ledger_groups_by),
        FILTER_TEST(test_filter_takes_what_all_of_it_is_true_of),
        FILTER_TEST(test_filter_by_sharing),
        FILTER_TEST(test_filter_by_kind),
        FILTER_TEST(test_filter_that_can_not_be_meant_is_INVALID),
        FILTER_TEST(test_filter_that_takes_nothing_answers_in_pages),
        FILTER_TEST(test_filter_by_reason_costs_little_where_reasons_are_few),
        FILTER_TEST(test_filter_by_reason_of_many_reasons_makes_small_pages),
        FILTER_TEST(test_filter_answers_with_rows_before_all_is_looked_at),
        FILTER_TEST(test_a_filter_of_no_kind_that_there_is_is_told_so),
        FILTER_TEST(test_a_filter_tells_reasons_apart_that_share_a_verdicts_place),
        FILTER_TEST(test_a_filter_tells_owners_apart_that_share_a_verdicts_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
