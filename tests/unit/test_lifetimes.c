/* SPDX-License-Identifier: MIT */
/*
 * test_lifetimes.c - how long blocks lived: what the server keeps of it, and tells
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/lifetimes.h"
#include "daemon/core/released.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define SECOND UINT64_C(1000)

static struct core *core;
static struct lifetimes table;

static int lifetimes_setup(void **state)
{
    talk_begin(N_PAGES, 100);
    core = talk.core;
    lifetimes_init(&table, 7);
    return 0;
}

static void add(const char *reason, uint32_t range, uint32_t n)
{
    uint32_t n_by_range[LIFETIME_RANGES] = {0};
    n_by_range[range] = n;
    lifetimes_add(&table, reason, strlen(reason), n_by_range);
}

static uint64_t known(const char *reason, uint32_t range)
{
    const struct lifetimes_kept *kept = lifetimes_find(&table, reason, strlen(reason));
    return kept ? kept->n[range] : 0;
}

static void test_lifetimes_add_without_what_follows_the_detail(void **state)
{
    add("camera/frame#1", 0, 3);
    add("camera/frame#2", 2, 4);
    assert_int_equal(known("camera/frame", 0), 3);
    assert_int_equal(known("camera/frame", 2), 4);
    assert_null(lifetimes_find(&table, "camera/frame#1", 14));
    add("#all", 0, 1);
    assert_int_equal(known("#all", 0), 1);
}

static void test_lifetimes_made_up_reasons_oust_none_that_is_released_often(void **state)
{
    char reason[32];
    add("honest", 0, UINT32_C(1) << 20);
    for (uint32_t i = 0; i < 20000; i++) {
        (void)snprintf(reason, sizeof(reason), "made/up/%u", i);
        add(reason, 1, 1);
    }
    assert_true(known("honest", 0) >= 1);
    assert_int_equal(known("honest", 1), 0);
}

static void test_lifetime_ranges_are_those_of_ages(void **state)
{
    static const uint32_t least[LIFETIME_RANGES] = {0, 10, 100, 600, 6000, 36000, 864000, 6048000};
    for (uint32_t range = 1; range < LIFETIME_RANGES; range++) {
        assert_int_equal(lifetime_range(least[range]), range);
        assert_int_equal(lifetime_range(least[range] - 1), range - 1);
    }
    assert_int_equal(lifetime_range(UINT32_MAX), LIFETIME_RANGES - 1);
}

static void test_lifetimes_next_is_dense_first_and_on_average_as_it_says(void **state)
{
    uint64_t n = 0;
    uint32_t n_noted = 0;
    for (; n < 100; n_noted++) {
        const uint64_t next = lifetimes_next(n);
        assert_true(next > n);
        n = next;
    }
    assert_true(n_noted >= 14);
    for (n = 1000000, n_noted = 0; n < 2000000; n_noted++) {
        n = lifetimes_next(n);
    }
    assert_in_range(n_noted, 1000000 / LIFETIMES_SAMPLED / 2, 2 * 1000000 / LIFETIMES_SAMPLED);
}

/* ------------------------------------------------------------------------------- the report -- */

static const Kmem__LifetimesRow *row_of(const char *reason)
{
    struct request request;
    int r = ask_request(&talk, &bob, request_plain(&request, KMEM__REQUEST__BODY_LIFETIMES));
    while (r == DISPATCH_PENDING) {
        const struct now now = {.ms = talk.fixture.now_ms, .us = talk.fixture.now_ms * 1000};
        r = dispatch_continue(core, &bob, now, talk.reply);
    }
    assert_int_equal(r, DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_LIFETIMES);
    const Kmem__LifetimesReport *report = talk.reply->response.lifetimes;
    for (size_t i = 0; i < report->n_rows; i++) {
        if (strcmp(report->rows[i]->reason, reason) == 0) {
            return report->rows[i];
        }
    }
    return NULL;
}

static uint64_t hold(const char *reason, uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, &alice, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

static void test_report_of_direct_blocks(void **state)
{
    (void)hold("a#1", 100);
    const uint64_t brief = hold("a#2", 100);
    const uint64_t longer = hold("a#3", 100);
    assert_int_equal(ask_release(&talk, &alice, brief), DISPATCH_OK);
    talk.fixture.now_ms += 20 * SECOND;
    assert_int_equal(ask_release(&talk, &alice, longer), DISPATCH_OK);
    (void)hold("a", 50);
    const Kmem__LifetimesRow *row = row_of("a");
    assert_non_null(row);
    assert_int_equal(row->n_blocks, 2);
    assert_int_equal(row->num_bytes, 150);
    assert_int_equal(row->oldest_ms, 20 * SECOND);
    assert_int_equal(row->blocks_by_age[0], 1);
    assert_int_equal(row->blocks_by_age[2], 1);
    assert_int_equal(row->bytes_by_age[2], 100);
    assert_int_equal(row->released_by_age[0], 1);
    assert_int_equal(row->released_by_age[2], 1);
    assert_null(row_of("b"));
}

static void test_report_of_shared_blocks_has_the_last_that_lets_go(void **state)
{
    const uint64_t off = hold("a#1", 100);
    const struct share_handle handle = share(&alice, off);
    attach(&bob, &handle);
    assert_true(let_go(&alice, off));
    (void)hold("a", 50);
    assert_int_equal(row_of("a")->released_by_age[0], 0);
    talk.fixture.now_ms += 20 * SECOND;
    assert_false(let_go(&bob, off));
    assert_int_equal(row_of("a")->released_by_age[2], 1);
}

/* What alice's client has noted. */
static struct ledger *notes(uint32_t at, uint32_t reason, uint32_t range, uint32_t n)
{
    struct ledger *ledger = fixture_ledger(&talk.fixture, alice.client);
    ledger->lifetimes[at].reason = reason + 1;
    ledger->lifetimes[at].n[range] = n;
    return ledger;
}

static void test_report_of_what_clients_have_noted(void **state)
{
    (void)hold("a", 100);
    (void)fixture_ledger(&talk.fixture, alice.client);
    const uint32_t id = fixture_tell(&talk.fixture, alice.client, "a");
    (void)notes(0, id, 1, 5000);
    assert_int_equal(row_of("a")->released_by_age[1], 5000);
    assert_int_equal(row_of("a")->released_by_age[1], 5000); /* once, however often it is asked */
}

static void test_report_believes_no_number_of_a_reason(void **state)
{
    (void)hold("a", 100);
    for (uint32_t at = 0; at < LIFETIMES_MAX; at++) {
        (void)notes(at, UINT32_MAX - 1 - at, at % LIFETIME_RANGES, UINT32_MAX);
    }
    const Kmem__LifetimesRow *row = row_of("a");
    for (uint32_t range = 0; range < LIFETIME_RANGES; range++) {
        assert_int_equal(row->released_by_age[range], 0);
    }
}

static void test_report_keeps_what_ended_clients_had_noted(void **state)
{
    struct client *client = fixture_join(&talk.fixture, 10);
    struct ledger *ledger = fixture_ledger(&talk.fixture, client);
    ledger->lifetimes[0].reason = fixture_tell(&talk.fixture, client, "a") + 1;
    ledger->lifetimes[0].n[3] = 40;
    fixture_end(&talk.fixture, client, false);
    (void)hold("a", 100);
    assert_int_equal(row_of("a")->released_by_age[3], 40);
}

static void test_report_of_more_reasons_than_it_keeps(void **state)
{
    char reason[32];
    for (uint32_t i = 0; i < 2 * ROLLUP_AGED_GROUPS; i++) {
        (void)snprintf(reason, sizeof(reason), "r/%u", i);
        (void)hold(reason, 16);
    }
    const Kmem__LifetimesRow *other = row_of(OTHER_REASONS);
    assert_non_null(other);
    assert_int_equal(other->n_blocks, ROLLUP_AGED_GROUPS);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, lifetimes_setup, talk_teardown)

static void test_released_reason_of_those_that_are_for_ever_is_no_clients(void **state)
{
    char text[REASON_MAX_BYTES + 1];
    const size_t n_bytes = released_reason(core, alice.client->slot, 0, text);
    assert_int_equal(n_bytes, strlen(NO_REASON));
    assert_memory_equal(text, NO_REASON, n_bytes);
}

static void test_lifetimes_of_no_reason_are_nowhere(void **state)
{
    const uint32_t n_by_range[LIFETIME_RANGES] = {1};
    lifetimes_add(&table, "", 0, n_by_range);
    assert_null(lifetimes_find(&table, "", 0));
}

/* All its places are others', which were released more often: for now it has none. */
static void test_lifetimes_of_a_reason_without_a_place_are_not_kept(void **state)
{
    char reason[32];
    for (uint32_t i = 0; i < 4 * LIFETIMES_KEPT; i++) {
        (void)snprintf(reason, sizeof(reason), "often/%u", i);
        add(reason, 0, 1000000);
    }
    add("seldom", 0, 1);
    assert_int_equal(known("seldom", 0), 0);
}

/* How long it lived its owner notes. */
static void test_report_of_shared_blocks_has_none_of_a_lease(void **state)
{
    struct ledger *ledger = fixture_ledger(&talk.fixture, alice.client);
    const uint32_t page = fixture_lease(&talk.fixture, alice.client, 1);
    fixture_carve(&talk.fixture, alice.client, page, 0);
    const uint32_t id = fixture_tell(&talk.fixture, alice.client, "a");
    (void)ledger_take(ledger, page, 16, id, 0, 0);
    (void)ledger_take(ledger, page, 16, id, 0, 0);
    (void)atomic_fetch_or(&ledger_entries(ledger, page)[0].word, ENTRY_SHARED);
    const uint64_t off = ledger_offset(ledger, page, 0).bytes;
    (void)share(&alice, off);
    assert_false(let_go(&alice, off));
    for (uint32_t range = 0; range < LIFETIME_RANGES; range++) {
        assert_int_equal(row_of("a")->released_by_age[range], 0);
    }
}

static void test_report_of_a_block_that_lived_for_longer_than_any_range_begins(void **state)
{
    const uint64_t off = hold("a", 100);
    (void)hold("a", 50);
    talk.fixture.now_ms += UINT64_C(30) * 24 * 3600 * SECOND;
    assert_int_equal(ask_release(&talk, &alice, off), DISPATCH_OK);
    assert_int_equal(row_of("a")->released_by_age[LIFETIME_RANGES - 1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lifetimes_add_without_what_follows_the_detail),
        TEST(test_lifetimes_made_up_reasons_oust_none_that_is_released_often),
        TEST(test_lifetime_ranges_are_those_of_ages),
        TEST(test_lifetimes_next_is_dense_first_and_on_average_as_it_says),
        TEST(test_report_of_direct_blocks),
        TEST(test_report_of_shared_blocks_has_the_last_that_lets_go),
        TEST(test_report_of_what_clients_have_noted),
        TEST(test_report_believes_no_number_of_a_reason),
        TEST(test_report_keeps_what_ended_clients_had_noted),
        TEST(test_report_of_more_reasons_than_it_keeps),
        TEST(test_released_reason_of_those_that_are_for_ever_is_no_clients),
        TEST(test_lifetimes_of_no_reason_are_nowhere),
        TEST(test_lifetimes_of_a_reason_without_a_place_are_not_kept),
        TEST(test_report_of_shared_blocks_has_none_of_a_lease),
        TEST(test_report_of_a_block_that_lived_for_longer_than_any_range_begins),
    };
    return cmocka_run_group_tests_name("lifetimes", tests, NULL, NULL);
}
