/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_room.c - requests that wait for memory, as peers ask them; without memory to have
 *
 * Alice is of user 1001, Bob of 1002: fixture_identity().
 */
#include <string.h>

#include "daemon/core/queue.h"
#include "proto/lease.h"
#include "tests/unit/conversation.h"
#include "tests/unit/unit.h"

#define N_PAGES 65
#define ALL ((N_PAGES - 1) * (uint64_t)PAGE_BYTES)
#define HALF (ALL / 2)

#define BUSY KMEM__ERROR_CODE__ERROR_BUSY
#define NO_MEMORY KMEM__ERROR_CODE__ERROR_NO_MEMORY
#define QUOTA KMEM__ERROR_CODE__ERROR_QUOTA

static struct rules rules;

static int room_setup(void **state)
{
    talk_begin(N_PAGES, 8);
    rules = (struct rules){.n_users = 0};
    return 0;
}

static int room_end(void **state)
{
    core_set_rules(talk.core, NULL);
    return talk_teardown(state);
}

static int ask(struct peer *peer, const Kmem__Allocate *allocate)
{
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Allocate copy = *allocate;
    static uint8_t reason[] = "s/waits";
    copy.base = (ProtobufCMessage)PROTOBUF_C_MESSAGE_INIT(&kmem__allocate__descriptor);
    copy.reason = (ProtobufCBinaryData){sizeof(reason) - 1, reason};
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &copy;
    return ask_request(&talk, peer, &request);
}

static int ask_waiting(struct peer *peer, uint64_t ticket, uint64_t num_bytes)
{
    return ask(peer, &(Kmem__Allocate){.num_bytes = num_bytes, .ticket = ticket, .wait_ms = 100});
}

/* It waits: it is to ask again. */
static void waits(struct peer *peer, uint64_t ticket, uint64_t num_bytes, const char *words)
{
    assert_int_equal(ask_waiting(peer, ticket, num_bytes), DISPATCH_OK);
    assert_error(&talk, BUSY, words);
}

static void gets(struct peer *peer, uint64_t ticket, uint64_t num_bytes)
{
    assert_int_equal(ask_waiting(peer, ticket, num_bytes), DISPATCH_OK);
    (void)talk_offset();
}

/* It is refused for good, and stands in the queue no more. */
static void gives_up(struct peer *peer, uint64_t num_bytes, Kmem__ErrorCode code, const char *words)
{
    const uint32_t n_waiting = talk.core->queue.n;
    assert_int_equal(ask_waiting(peer, 77, num_bytes), DISPATCH_OK);
    assert_error(&talk, code, words);
    assert_int_equal(talk.core->queue.n, n_waiting);
}

static uint64_t fill(struct peer *peer, uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, "s/full", 6), DISPATCH_OK);
    return talk_offset();
}

static void test_allocate_waits_until_there_is_room(void **state)
{
    const uint64_t offset = fill(&alice, HALF);
    waits(&bob, 1, HALF + 1, "no room for it yet");
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    gets(&bob, 1, HALF + 1);
    assert_int_equal(talk.core->queue.n, 0);
}

static void test_allocate_behind_others_waits_or_is_refused_as_it_wants(void **state)
{
    (void)fill(&alice, ALL);
    waits(&alice, 1, PAGE_BYTES, "no room for it yet");
    waits(&bob, 1, PAGE_BYTES, "others have waited for longer");
    const Kmem__Allocate last = {.num_bytes = PAGE_BYTES, .ticket = 1};
    assert_int_equal(ask(&bob, &last), DISPATCH_OK);
    assert_error(&talk, NO_MEMORY, "");
    assert_int_equal(talk.core->queue.n, 1);
}

static void test_allocate_that_is_the_first_and_waits_no_longer_is_refused(void **state)
{
    (void)fill(&alice, ALL);
    waits(&bob, 1, PAGE_BYTES, "no room for it yet");
    const Kmem__Allocate last = {.num_bytes = PAGE_BYTES, .ticket = 1};
    assert_int_equal(ask(&bob, &last), DISPATCH_OK);
    assert_error(&talk, NO_MEMORY, "");
    assert_int_equal(talk.core->queue.n, 0);
}

static void test_allocate_beside_a_full_queue_does_not_wait(void **state)
{
    (void)fill(&alice, ALL);
    waits(&bob, 1, PAGE_BYTES, "no room for it yet");
    for (uint64_t ticket = 2; ticket <= QUEUE_OF_CLIENT_MAX; ticket++) {
        waits(&bob, ticket, PAGE_BYTES, "others have waited for longer");
    }
    gives_up(&bob, PAGE_BYTES, NO_MEMORY, "");
}

static void test_allocate_does_not_wait_for_what_can_never_be(void **state)
{
    (void)fill(&alice, HALF);
    gives_up(&bob, ALL + 1, NO_MEMORY, "");
    rules.n_users = 1;
    rules.users[0] = (struct rules_party){.uid = alice.identity.uid, .reserve_bytes = HALF};
    core_set_rules(talk.core, &rules);
    gives_up(&bob, HALF + 1, NO_MEMORY, "");
    rules.users[0] = (struct rules_party){.uid = bob.identity.uid, .quota_bytes = PAGE_BYTES};
    core_set_rules(talk.core, &rules);
    gives_up(&bob, PAGE_BYTES + 1, QUOTA, "");
    rules.n_users = 0;
    rules.n_budgets = 1;
    rules.budgets[0] = (struct rules_budget){.pattern = "s/*", .max_bytes = ALL, .denies = true};
    core_set_rules(talk.core, &rules);
    rules.budgets[0].max_bytes = PAGE_BYTES;
    gives_up(&bob, PAGE_BYTES + 1, KMEM__ERROR_CODE__ERROR_BUDGET, "budget");
}

static void test_allocate_over_its_quota_or_budget_waits_if_it_may_be(void **state)
{
    rules.n_users = 1;
    rules.users[0] = (struct rules_party){.uid = bob.identity.uid, .quota_bytes = PAGE_BYTES};
    rules.n_budgets = 2;
    rules.budgets[0] = (struct rules_budget){.pattern = "t/*", .max_bytes = 1, .denies = true};
    rules.budgets[1] =
        (struct rules_budget){.pattern = "s/*", .max_bytes = 2 * PAGE_BYTES, .denies = true};
    core_set_rules(talk.core, &rules);
    (void)fill(&bob, PAGE_BYTES);
    waits(&bob, 1, PAGE_BYTES, "no room for it yet");
    (void)fill(&alice, PAGE_BYTES);
    waits(&alice, 1, PAGE_BYTES, "others have waited for longer");
    queue_leave(talk.core, bob.client, 1);
    queue_leave(talk.core, alice.client, 1);
    waits(&alice, 2, 2 * PAGE_BYTES, "no room for it yet");
}

/* It waits with its ticket, and for what comes back anyway. */
static void test_allocate_with_a_ticket_waits_for_what_the_dead_had(void **state)
{
    (void)fill(&bob, ALL);
    core_end(talk.core, bob.client, false, talk.fixture.now_ms);
    assert_int_equal(ask_waiting(&alice, 1, PAGE_BYTES), DISPATCH_PENDING);
    fixture_reap(&talk.fixture, UINT32_MAX);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    (void)talk_offset();
    assert_int_equal(talk.core->queue.n, 0);
}

/* What it asks for again is refused, and counted, once. */
static void test_allocate_over_the_quota_that_may_ask_again_is_not_counted(void **state)
{
    talk.core->config.quota_bytes = PAGE_BYTES;
    Kmem__Allocate asked = {.num_bytes = PAGE_BYTES + 1, .may_again = true};
    assert_int_equal(ask(&alice, &asked), DISPATCH_OK);
    assert_error(&talk, QUOTA, "");
    assert_int_equal(talk_statistic("refusals_quota"), 0);
    asked.may_again = false;
    assert_int_equal(ask(&alice, &asked), DISPATCH_OK);
    assert_int_equal(talk_statistic("refusals_quota"), 1);
}

static bool barrier(void)
{
    return true;
}

/* All that it had leased idle was taken from it, and one of its threads has not noticed. */
static void test_lease_of_an_owner_that_is_stale_is_BUSY(void **state)
{
    struct ledger *ledger = fixture_ledger(&talk.fixture, alice.client);
    atomic_store(&ledger->header->is_fenced, 1);
    talk.core->reclaim.barrier = barrier;
    const uint32_t first = fixture_lease(&talk.fixture, alice.client, N_PAGES - 1);
    for (uint32_t page = first; page < first + N_PAGES - 1; page++) {
        fixture_carve(&talk.fixture, alice.client, page, 0);
        lease_open_slab(alice.client->states, page, 1);
    }
    while (core_free_bytes(talk.core) < ALL) {
        (void)reclaim_step(&talk.core->reclaim);
    }
    int r = ask_lease(&talk, &alice, 2, 2);
    while (r == DISPATCH_PENDING) {
        r = ask_continue(&talk, &alice);
    }
    assert_int_equal(r, DISPATCH_OK);
    assert_error(&talk, BUSY, "has not noticed yet that idle memory was taken from it");
}

int main(void)
{
#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, room_setup, room_end)
    const struct CMUnitTest tests[] = {
        ROOM_TEST(test_allocate_waits_until_there_is_room),
        ROOM_TEST(test_allocate_behind_others_waits_or_is_refused_as_it_wants),
        ROOM_TEST(test_allocate_that_is_the_first_and_waits_no_longer_is_refused),
        ROOM_TEST(test_allocate_beside_a_full_queue_does_not_wait),
        ROOM_TEST(test_allocate_does_not_wait_for_what_can_never_be),
        ROOM_TEST(test_allocate_over_its_quota_or_budget_waits_if_it_may_be),
        ROOM_TEST(test_allocate_with_a_ticket_waits_for_what_the_dead_had),
        ROOM_TEST(test_allocate_over_the_quota_that_may_ask_again_is_not_counted),
        ROOM_TEST(test_lease_of_an_owner_that_is_stale_is_BUSY),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
