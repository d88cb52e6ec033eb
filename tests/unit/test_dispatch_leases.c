/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_leases.c - conversations about pages: Lease, quotas, and who makes room
 */
#include <string.h>

#include "proto/lease.h"
#include "proto/limits.h"
#include "tests/unit/conversation.h"
#include "tests/unit/unit.h"

#define N_PAGES 257
#define LIMIT 3

#define INVALID KMEM__ERROR_CODE__ERROR_INVALID
#define NO_MEMORY KMEM__ERROR_CODE__ERROR_NO_MEMORY
#define PROTOCOL KMEM__ERROR_CODE__ERROR_PROTOCOL
#define QUOTA KMEM__ERROR_CODE__ERROR_QUOTA

static int talk_setup(void **state)
{
    talk_begin(N_PAGES, LIMIT);
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_ledger(&talk.fixture, bob.client);
    return 0;
}

/* Return: the first page. */
static uint32_t lease(struct peer *peer, uint32_t n_pages)
{
    assert_int_equal(ask_lease(&talk, peer, n_pages, n_pages), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_int_equal(talk.reply->response.leased->n_pages, n_pages);
    return talk.reply->response.leased->page;
}

/* Takes back what is unused of a range. Return: how many pages came back. */
static uint32_t take_back(struct peer *peer, uint32_t page, uint32_t n_pages)
{
    return leases_return(&talk.core->leases, peer->client, page, page + n_pages);
}

static uint64_t allocate(struct peer *peer, uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, "x", 1), DISPATCH_OK);
    return talk_offset();
}

static void refused_lease(struct peer *peer, uint32_t n_pages, uint32_t want_pages,
                          Kmem__ErrorCode code, const char *words)
{
    assert_int_equal(ask_lease(&talk, peer, n_pages, want_pages), DISPATCH_OK);
    assert_error(&talk, code, words);
}

static void use(const struct peer *peer, uint32_t page, uint32_t n_pages)
{
    bool zero;
    assert_true(lease_take(peer->client->states, page, n_pages, &zero));
}

static void assert_adds_up(void)
{
    assert_int_equal(talk_statistic("used_bytes") + talk_statistic("free_bytes") +
                         talk_statistic("overhead_bytes"),
                     N_PAGES * PAGE_BYTES);
}

/* ----------------------------------------------------------------------------------- Lease ---- */

static void test_lease_is_answered_with_the_pages(void **state)
{
    assert_int_equal(ask_lease(&talk, &alice, 2, 8), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_int_equal(talk.reply->response.leased->n_pages, 8);
    use(&alice, talk.reply->response.leased->page, 8);
    assert_int_equal(alice.client->leased_pages, 8);
    assert_int_equal(talk.core->state.counters->peak_bytes, 8 * PAGE_BYTES);
}

static void test_lease_that_wants_less_than_it_needs_gets_what_it_needs(void **state)
{
    assert_int_equal(ask_lease(&talk, &alice, 5, 0), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_int_equal(talk.reply->response.leased->n_pages, 5);
}

static void test_lease_of_nothing_or_of_more_than_the_segment_is_INVALID(void **state)
{
    refused_lease(&alice, 0, 5, INVALID, "0 pages can not be leased");
    refused_lease(&alice, N_PAGES + 1, N_PAGES + 1, INVALID, "from a segment of 257");
    refused_lease(&alice, UINT32_MAX, UINT32_MAX, INVALID, "can not be leased");
}

static int large_setup(void **state)
{
    conversation_init(&talk, 3 * LEASE_MAX_PAGES, LIMIT);
    peer_open_member(&talk, &alice, 1);
    peer_open_member(&talk, &bob, 2);
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_ledger(&talk.fixture, bob.client);
    return 0;
}

/* What one request costs is bounded, however large the segment is. */
static void test_lease_is_LEASE_MAX_PAGES_at_most(void **state)
{
    refused_lease(&alice, LEASE_MAX_PAGES + 1, 0, INVALID, "at most 65536 at a time");
    const uint32_t first = lease(&alice, LEASE_MAX_PAGES);
    const uint32_t second = lease(&alice, LEASE_MAX_PAGES);

    assert_int_equal(second, first + LEASE_MAX_PAGES);
    assert_int_equal(take_back(&alice, first + 1, LEASE_MAX_PAGES), LEASE_MAX_PAGES);
    assert_int_equal(ask_lease(&talk, &bob, 1, UINT32_MAX), DISPATCH_OK);
    assert_in_range(talk.reply->response.leased->n_pages, 1, LEASE_MAX_PAGES);
}

static void test_lease_without_room_is_NO_MEMORY_and_names_who_has_it(void **state)
{
    const uint32_t page = lease(&bob, 256);
    const uint32_t reason = fixture_tell(&talk.fixture, bob.client, "the hog");
    struct ledger *ledger = fixture_ledger(&talk.fixture, bob.client);
    use(&bob, page, 256);
    ledger_large_open(ledger, page, 256);
    (void)ledger_take(ledger, page, 256 * PAGE_BYTES, reason, 0, 0);

    refused_lease(&alice, 1, 1, NO_MEMORY, "\"the hog\" 4.0 MiB in 1 block");

    assert_int_equal(talk.core->state.counters->leases_refused, 1);
}

static void test_lease_takes_back_what_another_leaves_unused(void **state)
{
    (void)lease(&bob, 256);

    (void)lease(&alice, 200);

    assert_int_equal(bob.client->leased_pages, 0);
    assert_int_equal(talk_statistic("revoked_bytes"), 256 * PAGE_BYTES);
}

static void test_allocate_takes_back_what_others_leave_unused(void **state)
{
    const uint32_t page = lease(&bob, 256);
    use(&bob, page, 10);

    (void)allocate(&alice, 100);
    (void)allocate(&alice, 100 * PAGE_BYTES);

    assert_int_equal(bob.client->leased_pages, 10);
    assert_int_equal(core_check(talk.core), 0);
}

/* Even its own: what a client leaves unused is nobody's. */
static void test_allocate_takes_back_what_the_caller_leaves_unused(void **state)
{
    (void)lease(&alice, 256);

    (void)allocate(&alice, 256 * PAGE_BYTES);

    assert_int_equal(alice.client->leased_pages, 0);
}

/* Bob has used all there is, and has died; nothing of it is taken back yet. */
static void bob_dies_with_everything(void)
{
    (void)allocate(&bob, 100 * PAGE_BYTES);
    use(&bob, lease(&bob, 156), 156);
    core_end(talk.core, bob.client, false, talk.fixture.now_ms);
}

/* While it is taken back, nobody is told that there is no memory: in the end there is. */
static void test_allocate_waits_for_what_the_dead_had(void **state)
{
    bob_dies_with_everything();

    assert_int_equal(ask_allocate(&talk, &alice, 200 * PAGE_BYTES, "x", 1), DISPATCH_PENDING);
    while (core_has_dead(talk.core)) {
        assert_int_equal(ask_continue(&talk, &alice), DISPATCH_PENDING);
        fixture_reap(&talk.fixture, 1);
    }
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
    assert_int_equal(talk.core->state.counters->refusals_no_room, 0);
    assert_int_equal(talk.core->direct.used_bytes, 200 * PAGE_BYTES);
}

static void test_lease_waits_for_what_the_dead_had(void **state)
{
    bob_dies_with_everything();

    assert_int_equal(ask_lease(&talk, &alice, 20, 25), DISPATCH_PENDING);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_PENDING);
    fixture_reap(&talk.fixture, UINT32_MAX);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_int_equal(talk.reply->response.leased->n_pages, 25);
}

static void test_allocate_that_waited_for_the_dead_may_still_be_NO_MEMORY(void **state)
{
    use(&alice, lease(&alice, 200), 200);
    use(&bob, lease(&bob, 56), 56);
    core_end(talk.core, bob.client, false, talk.fixture.now_ms);

    assert_int_equal(ask_allocate(&talk, &alice, 57 * PAGE_BYTES, "x", 1), DISPATCH_PENDING);
    fixture_reap(&talk.fixture, UINT32_MAX);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);

    assert_error(&talk, NO_MEMORY, "912.0 KiB");
    assert_int_equal(talk.core->state.counters->refusals_no_room, 1);
    (void)allocate(&alice, 56 * PAGE_BYTES);
}

/* ---------------------------------------------------------------------------------- quotas ---- */

static void test_lease_beyond_the_quota_is_QUOTA(void **state)
{
    talk.core->config.quota_bytes = 10 * PAGE_BYTES;

    refused_lease(&alice, 11, 11, QUOTA, "has 0 B of the 160.0 KiB");
    const uint32_t page = lease(&alice, 10);
    use(&alice, page, 10);
    refused_lease(&alice, 1, 1, QUOTA, "has 160.0 KiB of the 160.0 KiB");
    assert_int_equal(talk.core->state.counters->leases_refused, 2);
    (void)lease(&bob, 10); /* the quota is each client's */
    lease_give(alice.client->states, page, 1);
    assert_int_equal(take_back(&alice, page, 1), 1);
    (void)lease(&alice, 1);
}

/* What it leaves unused is charged to it, but it is not refused for that. */
static void test_quota_counts_what_the_client_uses(void **state)
{
    talk.core->config.quota_bytes = 10 * PAGE_BYTES;
    const uint32_t page = lease(&alice, 10);
    use(&alice, page, 2);

    (void)allocate(&alice, 8 * PAGE_BYTES);

    assert_int_equal(alice.client->leased_pages, 2);
    assert_int_equal(client_charged_bytes(alice.client), 10 * PAGE_BYTES);
    refused_lease(&alice, 1, 1, QUOTA, "over the quota");
}

static void test_lease_is_not_more_than_the_quota_although_more_is_wanted(void **state)
{
    talk.core->config.quota_bytes = 10 * PAGE_BYTES;

    assert_int_equal(ask_lease(&talk, &alice, 4, 11), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_true(talk.reply->response.leased->n_pages >= 4);
    assert_true(client_charged_bytes(alice.client) <= 10 * PAGE_BYTES);
}

static void test_quota_counts_direct_blocks_and_leases_together(void **state)
{
    talk.core->config.quota_bytes = 10 * PAGE_BYTES;
    const uint32_t page = lease(&alice, 9);
    use(&alice, page, 9);

    const uint64_t offset = allocate(&alice, PAGE_BYTES);
    assert_int_equal(ask_allocate(&talk, &alice, 1, "x", 1), DISPATCH_OK);
    assert_error(&talk, QUOTA, "1 B more is over the quota");
    refused_lease(&alice, 1, 1, QUOTA, "over the quota");
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    use(&alice, lease(&alice, 1), 1);
    lease_give(alice.client->states, page, 9);
    assert_int_equal(take_back(&alice, page, 9), 9);
    (void)allocate(&alice, 9 * PAGE_BYTES);
}

static void test_client_may_have_does_not_overflow(void **state)
{
    assert_true(accounts_may_have(&talk.core->accounts, alice.client, talk.core->config.quota_bytes,
                                  UINT64_MAX)); /* no quota */
    (void)allocate(&alice, 100);
    talk.core->config.quota_bytes = UINT64_MAX;

    assert_false(accounts_may_have(&talk.core->accounts, alice.client,
                                   talk.core->config.quota_bytes, UINT64_MAX));
    assert_true(accounts_may_have(&talk.core->accounts, alice.client, talk.core->config.quota_bytes,
                                  UINT64_MAX - 100));
    assert_false(accounts_may_have(&talk.core->accounts, alice.client,
                                   talk.core->config.quota_bytes, UINT64_MAX - 99));
}

/* --------------------------------------------------------------- blocks that are not direct -- */

static void test_release_of_anothers_leased_block_is_FOREIGN_and_names_it(void **state)
{
    const uint32_t page = lease(&bob, 4);
    const uint32_t reason = fixture_tell(&talk.fixture, bob.client, "bobs");
    struct ledger *ledger = fixture_ledger(&talk.fixture, bob.client);
    fixture_carve(&talk.fixture, bob.client, page, 0);
    (void)ledger_take(ledger, page, 13, reason, 0, 0);
    const uint64_t offset = page * PAGE_BYTES;

    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FOREIGN,
                 "(13 bytes, \"bobs\") belongs to process 2");
    assert_string_equal(talk.reply->response.error->reason, "bobs");
    assert_int_equal(ask_size_of(&talk, &alice, offset + 3), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INTERIOR, "3 bytes inside the block");
    assert_int_equal(ask_size_of(&talk, &alice, offset + 14), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_WILD, "lies in no block");
    assert_int_equal(ask_release(&talk, &bob, offset), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_WILD, "lies in no block");
}

/* ------------------------------------------------------------------------------------- usage -- */

static void test_usage_adds_up_whatever_is_leased_and_used(void **state)
{
    assert_adds_up();
    (void)allocate(&bob, 100000);
    const uint32_t page = lease(&alice, 40);
    assert_adds_up();
    assert_int_equal(talk_statistic("unused_bytes"), 40 * PAGE_BYTES);

    fixture_carve_large(&talk.fixture, alice.client, page + 1, 3, 40000);
    fixture_carve(&talk.fixture, alice.client, page + 4, 0);
    struct ledger *ledger = fixture_ledger(&talk.fixture, alice.client);
    for (uint32_t i = 0; i < 100; i++) {
        (void)ledger_take(ledger, page + 4, 16, REASON_NONE, 0, 0);
    }

    assert_adds_up();
    assert_int_equal(talk_statistic("used_bytes"), 100000 + 40000 + 1600);
    assert_int_equal(talk_statistic("leased_bytes"), 40 * PAGE_BYTES);
    assert_int_equal(talk_statistic("blocks"), 102);
    use(&alice, page, 1); /* a page that no block is in yet */
    assert_adds_up();
}

static void test_usage_of_a_client_that_tells_too_much_adds_up(void **state)
{
    const uint32_t page = lease(&alice, 100);
    struct ledger *ledger = fixture_ledger(&talk.fixture, alice.client);
    use(&alice, page, 1);
    ledger_large_open(ledger, page, 100); /* of which it uses one */
    (void)ledger_take(ledger, page, 100 * PAGE_BYTES, REASON_NONE, 0, 0);

    assert_adds_up();
    assert_int_equal(talk_statistic("used_bytes"), 0);
    assert_int_equal(talk_statistic("blocks"), 0);
    use(&alice, page + 1, 99);
    assert_adds_up();
    assert_int_equal(talk_statistic("used_bytes"), 100 * PAGE_BYTES);
}

/* Each reason once, whoever has it; what follows '#' is no other one. */
static void test_usage_counts_the_rows_that_the_ledger_has(void **state)
{
    const uint32_t page = lease(&alice, 10);
    struct ledger *ledger = fixture_ledger(&talk.fixture, alice.client);
    fixture_carve(&talk.fixture, alice.client, page, 0);
    static const char *const told[] = {"direct", "leased#1", "leased#2", "leased too"};
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t id = fixture_tell(&talk.fixture, alice.client, told[i]);
        (void)ledger_take(ledger, page, 16, id, 0, 0);
    }
    for (uint32_t i = 0; i < 7; i++) {
        (void)ledger_take(ledger, page, 16, REASON_OTHER, 0, 0);
    }
    static const char *const direct[] = {"direct", "direct#1", "direct too"};
    for (uint32_t i = 0; i < 3; i++) {
        (void)fixture_allocate(&talk.fixture, alice.client, 100, direct[i]);
    }

    assert_int_equal(talk_statistic("other_reasons"), 7);
    assert_int_equal(talk_statistic("reasons"), 5);
    assert_int_equal(ask_ledger(&talk, &bob, KMEM__GROUP_BY__GROUP_BY_REASON, 0), DISPATCH_OK);
    assert_int_equal(talk.reply->response.ledger->n_rows, 5);
}

/* What is free, and beside it what is leased and not in use, is one hole: it is taken back. */
static void test_usage_counts_unused_leases_into_the_largest_hole(void **state)
{
    const uint32_t first = lease(&alice, 100);
    const uint32_t second = lease(&bob, 50);
    assert_int_equal(second, first + 100);
    const uint64_t free_bytes = core_free_bytes(talk.core);

    assert_int_equal(talk_statistic("largest_extent_bytes"), free_bytes);
    assert_int_equal(talk_statistic("largest_hole_bytes"), 150 * PAGE_BYTES + free_bytes);
    use(&bob, second + 10, 1);
    assert_int_equal(talk_statistic("largest_hole_bytes"), 39 * PAGE_BYTES + free_bytes);
    assert_int_equal(ask_allocate(&talk, &alice, 39 * PAGE_BYTES + free_bytes, "", 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
}

static void test_clients_adds_what_is_leased_to_what_is_direct(void **state)
{
    const uint32_t page = lease(&alice, 40);
    (void)allocate(&alice, 1000);
    fixture_carve_large(&talk.fixture, alice.client, page, 3, 40000);

    assert_int_equal(ask_clients(&talk, &bob, 0), DISPATCH_OK);

    const Kmem__ClientsReport *report = talk.reply->response.clients;
    assert_int_equal(report->n_clients, 2);
    assert_int_equal(report->clients[0]->n_blocks, 2);
    assert_int_equal(report->clients[0]->num_bytes, 41000);
    assert_int_equal(report->clients[0]->leased_bytes, 40 * PAGE_BYTES);
    assert_int_equal(report->clients[1]->num_bytes, 0);
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_lease_is_answered_with_the_pages),
        TALK_TEST(test_lease_that_wants_less_than_it_needs_gets_what_it_needs),
        TALK_TEST(test_lease_of_nothing_or_of_more_than_the_segment_is_INVALID),
        cmocka_unit_test_setup_teardown(test_lease_is_LEASE_MAX_PAGES_at_most, large_setup,
                                        talk_teardown),
        TALK_TEST(test_lease_without_room_is_NO_MEMORY_and_names_who_has_it),
        TALK_TEST(test_lease_takes_back_what_another_leaves_unused),
        TALK_TEST(test_allocate_takes_back_what_others_leave_unused),
        TALK_TEST(test_allocate_takes_back_what_the_caller_leaves_unused),
        TALK_TEST(test_allocate_waits_for_what_the_dead_had),
        TALK_TEST(test_lease_waits_for_what_the_dead_had),
        TALK_TEST(test_allocate_that_waited_for_the_dead_may_still_be_NO_MEMORY),
        TALK_TEST(test_lease_beyond_the_quota_is_QUOTA),
        TALK_TEST(test_lease_is_not_more_than_the_quota_although_more_is_wanted),
        TALK_TEST(test_quota_counts_what_the_client_uses),
        TALK_TEST(test_quota_counts_direct_blocks_and_leases_together),
        TALK_TEST(test_client_may_have_does_not_overflow),
        TALK_TEST(test_release_of_anothers_leased_block_is_FOREIGN_and_names_it),
        TALK_TEST(test_usage_of_a_client_that_tells_too_much_adds_up),
        TALK_TEST(test_usage_adds_up_whatever_is_leased_and_used),
        TALK_TEST(test_usage_counts_the_rows_that_the_ledger_has),
        TALK_TEST(test_usage_counts_unused_leases_into_the_largest_hole),
        TALK_TEST(test_clients_adds_what_is_leased_to_what_is_direct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
