/* SPDX-License-Identifier: MIT */
/*
 * test_refusals.c - who asked for what, when, and why it was refused
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define ALL_BYTES (N_PAGES * PAGE_BYTES)

static struct core *core;

static int refusals_setup(void **state)
{
    talk_begin(N_PAGES, 100);
    core = talk.core;
    return 0;
}

static int ask_refusals(uint64_t from_number)
{
    struct request request;
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_REFUSALS);
    base->refusals->from_number = from_number;
    return ask_request(&talk, &bob, base);
}

static const Kmem__RefusalsReport *refusals_now(void)
{
    assert_int_equal(ask_refusals(0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_REFUSALS);
    return talk.reply->response.refusals;
}

/* The last of n_rows. */
static const Kmem__Refusal *last_of(size_t n_rows)
{
    const Kmem__RefusalsReport *report = refusals_now();
    assert_int_equal(report->n_refusals, n_rows);
    return report->refusals[n_rows - 1];
}

static void assert_is(const Kmem__Refusal *row, const char *asked, const char *why)
{
    assert_string_equal(row->asked, asked);
    assert_string_equal(row->why, why);
}

static uint64_t count_of(const char *asked, const char *why)
{
    const Kmem__RefusalsReport *report = refusals_now();
    for (size_t i = 0; i < report->n_counts; i++) {
        const Kmem__RefusalCount *count = report->counts[i];
        if (strcmp(count->asked, asked) == 0 && strcmp(count->why, why) == 0) {
            assert_true(strlen(count->text) > 5);
            return count->n_times;
        }
    }
    return 0;
}

static void refuse(struct peer *peer, uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
}

static void hold(struct peer *peer, uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, "held", 4), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
}

static void test_refusals_none_are_told_before_there_is_one(void **state)
{
    const Kmem__RefusalsReport *report = refusals_now();
    assert_int_equal(report->n_refusals, 0);
    assert_int_equal(report->n_counts, 0);
    assert_false(report->more);
}

static void test_refusals_tell_who_asked_for_what_and_what_was_free(void **state)
{
    hold(&alice, ALL_BYTES / 2);
    refuse(&alice, ALL_BYTES / 2, "camera/frame#7");
    const uint64_t free_bytes = core_free_bytes(core);
    const uint64_t extent_bytes = core_largest_extent_bytes(core);
    hold(&alice, 1 << 20); /* what is told is of then */
    talk.fixture.now_ms += 5000;

    const Kmem__Refusal *row = last_of(1);
    assert_is(row, "block", "no_room");
    assert_int_equal(row->number, 1);
    assert_int_equal(row->pid, 1);
    assert_int_equal(row->uid, alice.identity.uid);
    assert_string_equal(row->command, "worker-1");
    assert_string_equal(row->reason, "camera/frame#7");
    assert_int_equal(row->n_times, 1);
    assert_int_equal(row->first_ms_ago, 5000);
    assert_int_equal(row->last_ms_ago, 5000);
    assert_int_equal(row->num_bytes, ALL_BYTES / 2);
    assert_int_equal(row->free_bytes, free_bytes);
    assert_int_equal(row->largest_extent_bytes, extent_bytes);
    assert_int_equal(row->used, ALL_BYTES / 2);
    assert_int_equal(row->limit, ALL_BYTES);
    assert_int_equal(count_of("block", "no_room"), 1);
}

static void test_refusals_tell_the_quota_from_room_and_leases_from_blocks(void **state)
{
    core->config.quota_bytes = 16 << 20;
    hold(&alice, 10 << 20);
    refuse(&alice, 7 << 20, "");
    const Kmem__Refusal *row = last_of(1);
    assert_is(row, "block", "quota");
    assert_int_equal(row->used, 10 << 20);
    assert_int_equal(row->limit, 16 << 20);

    (void)fixture_ledger(&talk.fixture, alice.client);
    assert_int_equal(ask_lease(&talk, &alice, 512, 512), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_QUOTA, "over the quota");
    row = last_of(2);
    assert_is(row, "lease", "quota");
    assert_int_equal(row->num_bytes, 512 * PAGE_BYTES);

    core->config.quota_bytes = 0;
    assert_int_equal(ask_lease(&talk, &alice, N_PAGES - 1, N_PAGES - 1), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "no room");
    assert_is(last_of(3), "lease", "no_room");

    assert_int_equal(talk_statistic("refusals"), 1);
    assert_int_equal(talk_statistic("refusals_quota"), 1);
    assert_int_equal(talk_statistic("leases_refused"), 2);
    assert_int_equal(talk_statistic("leases_refused_quota"), 1);
    assert_int_equal(talk_statistic("leases_refused_no_room"), 1);
    assert_int_equal(count_of("lease", "quota"), 1);
    assert_int_equal(count_of("block", "quota"), 1);
    assert_int_equal(count_of("lease", "no_room"), 1);
}

static void test_refusals_tell_what_can_not_be_meant(void **state)
{
    refuse(&alice, 0, "");
    assert_is(last_of(1), "block", "invalid");
    refuse(&alice, UINT64_MAX, "");
    assert_is(last_of(2), "block", "too_large");
    assert_int_equal(last_of(2)->limit, ALL_BYTES);
    assert_int_equal(last_of(2)->num_bytes, UINT64_MAX);
    refuse(&bob, 16, "\xff");
    assert_is(last_of(3), "block", "invalid");
    assert_string_equal(last_of(3)->reason, ""); /* what is no text is not told */
    assert_int_equal(ask_lease(&talk, &alice, 0, 0), DISPATCH_OK);
    assert_is(last_of(4), "lease", "invalid");
    assert_int_equal(ask_lease(&talk, &alice, UINT32_MAX, 0), DISPATCH_OK);
    assert_is(last_of(5), "lease", "too_large");
    assert_int_equal(last_of(5)->num_bytes, UINT32_MAX * PAGE_BYTES);
}

static void test_refusals_tell_that_there_are_too_many_names(void **state)
{
    hold(&alice, 100);
    const uint64_t offset = talk_offset();
    core->names.limit = 1;
    assert_int_equal(ask_publish(&alice, offset, "one", 0), DISPATCH_OK);
    assert_int_equal(ask_publish(&alice, offset, "two", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FULL, "names are in use");
    assert_is(last_of(1), "sharing", "names");
    assert_int_equal(last_of(1)->used, 1);
    assert_int_equal(last_of(1)->limit, 1);
}

static void test_refusals_tell_who_could_not_join(void **state)
{
    struct peer stranger;
    core->config.clients_per_uid = 1;
    peer_open(&stranger, 4); /* of alice's user */
    assert_int_equal(ask_hello(&talk, &stranger, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_CLOSE);
    peer_close(&talk, &stranger);
    const Kmem__Refusal *row = last_of(1);
    assert_is(row, "joining", "clients_of_user");
    assert_int_equal(row->pid, 4);
    assert_int_equal(row->used, 1);
    assert_int_equal(row->limit, 1);
    core->config.clients_per_uid = 0;

    core->config.readers = READERS_NONE;
    peer_open(&stranger, 5);
    assert_int_equal(ask_hello(&talk, &stranger, PROTOCOL_VERSION, KMEM__ROLE__ROLE_READER),
                     DISPATCH_CLOSE);
    peer_close(&talk, &stranger);
    assert_is(last_of(2), "joining", "role");
    assert_int_equal(last_of(2)->limit, 0);
}

/* The library has something to give back yet, and asks once more. */
static void test_refusals_that_may_come_again_are_not_kept(void **state)
{
    struct request request;
    hold(&alice, ALL_BYTES / 2);
    Kmem__Request *base = request_allocate(&request, ALL_BYTES / 2, NULL, 0);
    request.allocate.may_again = true;
    assert_int_equal(ask_request(&talk, &alice, base), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
    assert_int_equal(refusals_now()->n_refusals, 0);
}

/* A cache that evicts and tries again, and two others meanwhile. */
static void test_refusals_of_the_same_are_one_with_a_count(void **state)
{
    hold(&alice, ALL_BYTES / 2);
    for (uint32_t i = 0; i < 1000; i++) {
        refuse(&alice, ALL_BYTES / 2 + i, "cache");
        refuse(&bob, ALL_BYTES / 2, i == 500 ? "once" : "now and then");
        talk.fixture.now_ms += 10;
    }
    const Kmem__RefusalsReport *report = refusals_now();
    assert_int_equal(report->n_refusals, 3);
    assert_int_equal(report->refusals[0]->n_times, 1000);
    assert_int_equal(report->refusals[0]->num_bytes, ALL_BYTES / 2 + 999);
    assert_int_equal(report->refusals[0]->first_ms_ago, 10000);
    assert_int_equal(report->refusals[0]->last_ms_ago, 10);
    assert_int_equal(report->refusals[1]->n_times, 999);
    assert_string_equal(report->refusals[2]->reason, "once");
    assert_int_equal(count_of("block", "no_room"), 2000);
}

/* Reasons that are all different: the last are kept, all are counted. */
static void test_refusals_are_bounded_whatever_is_asked(void **state)
{
    hold(&alice, ALL_BYTES / 2);
    for (uint32_t i = 0; i < 1000; i++) {
        char reason[16];
        (void)snprintf(reason, sizeof(reason), "reason/%u", i);
        refuse(&alice, ALL_BYTES / 2, reason);
    }
    const Kmem__RefusalsReport *report = refusals_now();
    uint64_t n_rows = 0;
    uint64_t number = 1000 - REFUSALS_KEPT + 1;
    while (true) {
        for (size_t i = 0; i < report->n_refusals; i++) {
            assert_int_equal(report->refusals[i]->number, number++);
        }
        n_rows += report->n_refusals;
        if (!report->more) {
            break;
        }
        assert_int_equal(ask_refusals(report->next_number), DISPATCH_OK);
        report = talk.reply->response.refusals;
        assert_int_equal(report->n_counts, 0); /* in the first page alone */
    }
    assert_int_equal(n_rows, REFUSALS_KEPT);
    assert_int_equal(number, 1001);
    assert_int_equal(count_of("block", "no_room"), 1000);
    assert_int_equal(ask_refusals(UINT64_MAX), DISPATCH_OK);
    assert_int_equal(talk.reply->response.refusals->n_refusals, 0);
}

/* Every page fits its frame: ask_request() encodes each. */
static void test_refusals_of_the_longest_rows_are_told_in_pages(void **state)
{
    struct client_identity identity = fixture_identity(UINT32_MAX);
    char reason[REASON_MAX_BYTES];
    uint64_t next = 0;
    uint64_t n_rows = 0;
    memset(identity.command, 'c', COMMAND_BYTES - 1);
    identity.uid = UINT32_MAX;
    memset(reason, 'r', sizeof(reason));
    for (uint32_t i = 0; i < REFUSALS_KEPT; i++) {
        const struct refusal_facts facts = {
            ASKED_JOINING, WHY_CLIENTS_OF_USER, UINT64_MAX, UINT64_MAX,
            UINT64_MAX,    UINT64_MAX,          UINT64_MAX, 0,
        };
        (void)snprintf(reason, sizeof(reason), "%u", i);
        refusals_note(&core->refusals, &identity, &facts, reason, sizeof(reason),
                      talk.fixture.now_ms);
    }
    do {
        assert_int_equal(ask_refusals(next), DISPATCH_OK);
        assert_body(&talk, KMEM__RESPONSE__BODY_REFUSALS);
        n_rows += talk.reply->response.refusals->n_refusals;
        next = talk.reply->response.refusals->next_number;
    } while (talk.reply->response.refusals->more);
    assert_int_equal(n_rows, REFUSALS_KEPT);
}

/* ----------------------------------------------------------------------- the next server ---- */

/* What it makes of the state file, in the place of what this one has. */
static void next_server(void)
{
    refusals_init(&core->refusals, &core->state);
    assert_int_equal(refusals_check(&core->refusals), 0);
}

static void test_refusals_go_on_with_the_next_server(void **state)
{
    hold(&alice, ALL_BYTES / 2);
    for (uint32_t i = 0; i < REFUSALS_KEPT + 10; i++) {
        char reason[16];
        (void)snprintf(reason, sizeof(reason), "reason/%u", i);
        refuse(&alice, ALL_BYTES / 2, reason);
        refuse(&alice, ALL_BYTES / 2 + 1, reason);
    }
    talk.fixture.now_ms += 5000;
    next_server();
    assert_int_equal(count_of("block", "no_room"), 2 * (REFUSALS_KEPT + 10));
    assert_int_equal(ask_refusals(REFUSALS_KEPT + 10), DISPATCH_OK);
    const Kmem__Refusal *last = talk.reply->response.refusals->refusals[0];
    assert_is(last, "block", "no_room");
    assert_int_equal(last->n_times, 2);
    assert_int_equal(last->num_bytes, ALL_BYTES / 2 + 1);
    assert_int_equal(last->last_ms_ago, 5000);
    assert_int_equal(last->pid, 1);
    assert_string_equal(last->command, "worker-1");
    assert_int_equal(ask_refusals(0), DISPATCH_OK);
    assert_int_equal(talk.reply->response.refusals->refusals[0]->number, 11);
}

/* The process lives on, and asks the next server. */
static void test_refusals_of_the_same_are_one_whoever_serves(void **state)
{
    hold(&alice, ALL_BYTES / 2);
    refuse(&alice, ALL_BYTES / 2, "cache");
    next_server();
    refuse(&alice, ALL_BYTES / 2, "cache");
    refuse(&bob, ALL_BYTES / 2, "cache");
    assert_int_equal(last_of(2)->number, 2);
    assert_int_equal(refusals_now()->refusals[0]->n_times, 2);
}

static void test_refusals_that_are_damaged_are_none(void **state)
{
    struct refusal *kept = core->state.refusals->kept;
    hold(&alice, ALL_BYTES / 2);
    for (uint32_t i = 0; i < 6; i++) {
        refuse(&alice, ALL_BYTES / 2, (const char *[]){"a", "b", "c", "d", "e", "f"}[i]);
    }
    kept[1].n_reason_bytes = REASON_MAX_BYTES + 1;
    kept[2].facts[1].why = N_WHY;
    kept[3].facts[1].asked = N_ASKED;
    memset(kept[4].command, 'x', sizeof(kept[4].command));
    kept[6].number = 6 + REFUSALS_PLACES - 1;
    next_server();
    assert_string_equal(last_of(1)->reason, "e");
    refuse(&alice, ALL_BYTES / 2, "g");
    assert_int_equal(last_of(2)->number, 6);
    assert_string_equal(last_of(2)->reason, "g");
}

/* Two that the kernel gave one number, one behind the other, are two. */
static void test_refusals_of_processes_with_one_pid_are_told_apart(void **state)
{
    const struct refusal_facts facts = {.num_bytes = 1};
    struct client_identity identity = alice.identity;
    refusals_note(&core->refusals, &identity, &facts, NULL, 0, 1000);
    identity.inode++;
    refusals_note(&core->refusals, &identity, &facts, NULL, 0, 1000);
    (void)snprintf(identity.command, sizeof(identity.command), "another");
    refusals_note(&core->refusals, &identity, &facts, NULL, 0, 1000);
    refusals_note(&core->refusals, &identity, &facts, NULL, 0, 1000);
    (void)last_of(3);
}

#define REFUSALS_TEST(test) cmocka_unit_test_setup_teardown(test, refusals_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSALS_TEST(test_refusals_none_are_told_before_there_is_one),
        REFUSALS_TEST(test_refusals_tell_who_asked_for_what_and_what_was_free),
        REFUSALS_TEST(test_refusals_tell_the_quota_from_room_and_leases_from_blocks),
        REFUSALS_TEST(test_refusals_tell_what_can_not_be_meant),
        REFUSALS_TEST(test_refusals_tell_that_there_are_too_many_names),
        REFUSALS_TEST(test_refusals_tell_who_could_not_join),
        REFUSALS_TEST(test_refusals_that_may_come_again_are_not_kept),
        REFUSALS_TEST(test_refusals_of_the_same_are_one_with_a_count),
        REFUSALS_TEST(test_refusals_are_bounded_whatever_is_asked),
        REFUSALS_TEST(test_refusals_of_the_longest_rows_are_told_in_pages),
        REFUSALS_TEST(test_refusals_go_on_with_the_next_server),
        REFUSALS_TEST(test_refusals_of_the_same_are_one_whoever_serves),
        REFUSALS_TEST(test_refusals_that_are_damaged_are_none),
        REFUSALS_TEST(test_refusals_of_processes_with_one_pid_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
