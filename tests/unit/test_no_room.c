/* SPDX-License-Identifier: MIT */
/*
 * test_no_room.c - a refusal costs what an answer costs, and is true
 *
 * Cost is counted in looks that are begun and steps that are made, not in time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/no_room.h"
#include "daemon/core/report.h"
#include "daemon/core/scan.h"
#include "proto/lease.h"
#include "proto/limits.h"
#include "tests/unit/conversation.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define ALL_BYTES (N_PAGES * PAGE_BYTES)
#define MANY 100000

static struct core *core;

static int talk_setup(void **state)
{
    talk_begin(N_PAGES, 1000);
    core = talk.core;
    return 0;
}

static struct now now_of_talk(void)
{
    return (struct now){talk.fixture.now_ms, talk.fixture.now_ms * 1000};
}

/* What the loop does while nothing else is to be done. Return: how many steps. */
static uint32_t work(void)
{
    uint32_t n_steps = 0;
    for (; no_room_has_work(core); n_steps++) {
        no_room_work(core, now_of_talk());
    }
    return n_steps;
}

static int work_and_end(void **state)
{
    (void)work();
    return talk_teardown(state);
}

static uint64_t allocate(uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, &alice, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

static void allocate_numbered(uint32_t n_blocks)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        char reason[24];
        (void)snprintf(reason, sizeof(reason), "reason/%05u", i);
        (void)allocate(16, reason);
    }
}

static void allocate_many(void)
{
    for (uint32_t i = 0; i < MANY; i++) {
        (void)allocate(16, "many");
    }
}

/* At once, in one round trip. Return: the sentence. */
static const char *refused(struct peer *peer, uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, "", 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
    return talk.reply->response.error->message;
}

static void assert_says(const char *sentence, const char *words)
{
    if (!strstr(sentence, words)) {
        print_error("not in \"%s\": \"%s\"\n", sentence, words);
    }
    assert_non_null(strstr(sentence, words));
}

static void assert_ends(const char *sentence, const char *words)
{
    assert_says(sentence, words);
    assert_string_equal(sentence + strlen(sentence) - strlen(words), words);
}

/* ------------------------------------------------------------------------------------ cost ---- */

/* In a full segment everybody is refused again and again. */
static void test_refused_a_thousand_times_is_one_look_a_second(void **state)
{
    allocate_numbered(1100);

    (void)refused(&alice, ALL_BYTES);
    (void)work();
    for (uint32_t i = 0; i < 999; i++) {
        assert_says(refused(&alice, ALL_BYTES),
                    i <= 500 ? "largest holders: \"reason/00000\"" : "s ago: \"reason/00000\"");
        talk.fixture.now_ms += 1;
        if (i == 500) {
            (void)allocate(1, "what is known is not of this moment any more");
        }
    }
    assert_int_equal(core->scans.n_begun, 1);
    talk.fixture.now_ms += 1;
    (void)refused(&alice, ALL_BYTES);
    assert_int_equal(core->scans.n_begun, 2);
}

/* What one small step sees is added up again, so that the sentence is of this moment. */
static void test_refused_in_a_small_segment_names_who_has_it_now(void **state)
{
    allocate_numbered(100);
    (void)refused(&alice, ALL_BYTES);
    (void)allocate(5000000, "late");

    assert_says(refused(&alice, ALL_BYTES), "; largest holders: \"late\"");
    assert_false(no_room_has_work(core));
}

static void test_refused_among_many_blocks_makes_one_small_step(void **state)
{
    allocate_many();

    (void)refused(&alice, ALL_BYTES);

    assert_non_null(core->lookout.scan);
    assert_int_equal(core->lookout.scan->n_steps, 1);
    assert_in_range(rollup_spent(core->lookout.scan->rollup), 1, SCAN_BACKGROUND_BUDGET + 1024);
    for (uint32_t i = 0; i < 100; i++) {
        (void)refused(&alice, ALL_BYTES);
    }
    assert_int_equal(core->lookout.scan->n_steps, 1); /* no refusal makes another */
    assert_int_equal(core->scans.n_begun, 1);
}

static void test_look_of_refusals_goes_on_in_small_steps(void **state)
{
    allocate_many();
    (void)refused(&alice, ALL_BYTES);

    assert_in_range(work(), 50, 2 * MANY / SCAN_BACKGROUND_BUDGET);

    assert_says(refused(&alice, ALL_BYTES), "; largest holders: \"many\" 1.5 MiB in 100000 blocks");
    assert_true(scans_are_none(&core->scans));
}

/* Looks have a ninth of the server: the next is the later the longer the last one took. */
static void test_long_look_is_not_followed_at_once(void **state)
{
    allocate_many();
    (void)refused(&alice, ALL_BYTES);
    const uint32_t n_steps = 1 + work();

    (void)allocate(1, "a change");
    assert_true(core->lookout_us >= now_of_talk().us + (uint64_t)n_steps * 150);
    talk.fixture.now_ms += n_steps * 150 / 1000;
    (void)refused(&alice, ALL_BYTES);
    assert_int_equal(core->scans.n_begun, 1);
    talk.fixture.now_ms += 1000;
    (void)refused(&alice, ALL_BYTES);
    assert_int_equal(core->scans.n_begun, 2);
}

/* A console waits for the next look, which is made in large steps. */
static void test_look_that_others_wait_for_is_made_in_large_steps(void **state)
{
    struct peer observer;
    uint32_t n_steps = 1;
    allocate_many();
    (void)refused(&alice, ALL_BYTES);
    peer_open_observer(&talk, &observer, 3);

    int outcome = ask_ledger(&talk, &observer, KMEM__GROUP_BY__GROUP_BY_REASON, 0);
    for (; outcome == DISPATCH_PENDING; n_steps++) {
        outcome = ask_continue(&talk, &observer);
    }

    assert_int_equal(outcome, DISPATCH_OK);
    /* What is left of the first, and all of the second. */
    assert_in_range(n_steps, MANY / SCAN_BUDGET, 2 * (MANY / SCAN_BUDGET) * 5 / 4);
    peer_close(&talk, &observer);
}

/* ---------------------------------------------------------------------------- what it says ---- */

static void test_refused_before_the_first_look_names_processes(void **state)
{
    allocate_many();

    const char *sentence = refused(&bob, ALL_BYTES);

    assert_says(sentence, "; largest holders, by process: process 1 (worker-1) 1.5 MiB; ");
}

static void test_refused_long_after_the_last_look_names_processes(void **state)
{
    allocate_many();
    (void)refused(&alice, ALL_BYTES);
    (void)work();
    (void)allocate(3 << 20, "late");
    talk.fixture.now_ms += 9900;
    assert_says(refused(&alice, ALL_BYTES), "; largest holders as of 9.9 s ago: \"many\" 1.5 MiB");
    talk.fixture.now_ms += 200;
    assert_says(refused(&alice, ALL_BYTES), "by process: process 1 (worker-1) 4.5 MiB; ");
}

static void test_refused_names_five_processes_the_largest_first(void **state)
{
    struct peer others[8]; /* the last has the least */
    allocate_many();
    for (uint32_t i = 0; i < 8; i++) {
        peer_open_member(&talk, &others[i], 10 + i);
        for (uint32_t n = 0; n < (i < 7 ? (i * 3) % 7 + 2 : 1); n++) {
            assert_int_equal(ask_allocate(&talk, &others[i], 1 << 20, "", 0), DISPATCH_OK);
        }
    }

    assert_says(refused(&bob, ALL_BYTES),
                "by process: process 12 (worker-12) 8.0 MiB, process 14 (worker-14) 7.0 MiB, "
                "process 16 (worker-16) 6.0 MiB, process 11 (worker-11) 5.0 MiB, process 13 "
                "(worker-13) 4.0 MiB; ");
    for (uint32_t i = 0; i < 7; i++) {
        peer_close(&talk, &others[i]);
    }
}

static void test_refused_where_little_is_free_advises_to_release(void **state)
{
    (void)allocate(ALL_BYTES / 2, "the hog");

    const char *sentence = refused(&bob, ALL_BYTES / 2);

    assert_says(sentence,
                "no room for 32.0 MiB in segment \"fixture\": 32.0 MiB of 64.0 MiB free, "
                "largest extent 32.0 MiB; largest holders: \"the hog\" 32.0 MiB in 1 block");
    assert_ends(sentence, "; release some of it, or start kmemd with a larger --size");
}

static void test_refused_where_enough_lies_in_pieces_says_so(void **state)
{
    uint64_t blocks[8];
    for (uint32_t i = 0; i < 8; i++) {
        blocks[i] = allocate(ALL_BYTES / 8 - (i == 7 ? PAGE_BYTES : 0), "comb");
    }
    for (uint32_t i = 0; i < 8; i += 2) {
        assert_int_equal(ask_release(&talk, &alice, blocks[i]), DISPATCH_OK);
    }

    const char *sentence = refused(&alice, ALL_BYTES / 4);

    assert_says(sentence, ": 32.0 MiB of 64.0 MiB free, largest extent 8.0 MiB; ");
    assert_ends(sentence,
                "; enough is free, but not in one piece: ask for 8.0 MiB at most, release "
                "what lies between, or start kmemd with a larger --size");
}

/* There is nothing to release, and nothing that anybody could. */
static void test_refused_more_than_the_segment_can_have_advises_no_release(void **state)
{
    const char *sentence = refused(&alice, ALL_BYTES);

    assert_string_equal(sentence,
                        "no room for 64.0 MiB in segment \"fixture\": 64.0 MiB of 64.0 MiB free, "
                        "largest extent 64.0 MiB; no more than 63.9 MiB can be had in a segment of "
                        "this size: start kmemd with a larger --size");
}

static void test_refused_more_than_the_segment_can_have_though_it_is_full(void **state)
{
    (void)allocate(ALL_BYTES / 2, "the hog");

    const char *sentence = refused(&bob, ALL_BYTES);

    assert_null(strstr(sentence, "release"));
    assert_says(sentence, "\"the hog\" 32.0 MiB");
}

/* Slabs of a client that membarrier() does not reach stay its own; then it is named. */
static void test_refused_names_the_process_that_keeps_what_is_idle(void **state)
{
    bool zero;
    struct ledger *ledger = fixture_ledger(&talk.fixture, bob.client);
    bob.client->counts = ledger->counts;
    const uint32_t page = fixture_lease(&talk.fixture, bob.client, 1024);
    assert_true(lease_take(bob.client->states, page, 1024, &zero));

    const char *sentence = refused(&alice, ALL_BYTES - PAGE_BYTES);

    assert_says(sentence, ", 16.0 MiB leased without a live byte (process 2 (worker-2) keeps 16.0 "
                          "MiB of it: the system denies it membarrier())");
    assert_ends(sentence,
                "; release some of it, end process 2, or start kmemd with a larger --size");
    atomic_store(&ledger->counts->live_bytes, 1024 * PAGE_BYTES - 100);
    sentence = refused(&alice, ALL_BYTES - PAGE_BYTES);
    assert_says(sentence, ", 100 B leased without a live byte");
    assert_null(strstr(sentence, "keeps"));
    atomic_store(&ledger->counts->live_bytes, 1024 * PAGE_BYTES);
    assert_null(strstr(refused(&alice, ALL_BYTES - PAGE_BYTES), "leased without"));
}

static void test_refused_of_a_client_whose_ledger_is_lost_says_so(void **state)
{
    bool zero;
    (void)fixture_ledger(&talk.fixture, bob.client);
    const uint32_t page = fixture_lease(&talk.fixture, bob.client, 64);
    assert_true(lease_take(bob.client->states, page, 64, &zero));
    bob.client->lost = true;
    bob.client->states = NULL;
    bob.client->counts = NULL;

    assert_says(refused(&alice, ALL_BYTES - PAGE_BYTES),
                "(process 2 (worker-2) keeps 1.0 MiB of it: its ledger was lost)");
    bob.client->lost = false;
    bob.client->states = talk.fixture.ledgers[bob.client->slot].states;
    bob.client->counts = talk.fixture.ledgers[bob.client->slot].counts;
}

static void test_refused_over_the_quota_says_that_it_is_the_quota(void **state)
{
    core->config.quota_bytes = 16 << 20;
    (void)allocate(10 << 20, "");

    assert_ends(refused(&alice, 7 << 20),
                "7.0 MiB more is over the quota: process 1 has 10.0 MiB of the 16.0 MiB that one "
                "client may have; release some of it, or start kmemd with a larger --quota");
    assert_ends(refused(&alice, 17 << 20),
                "of the 16.0 MiB that one client may have; start kmemd with a larger --quota");
}

/* The library has something to give back yet, and asks once more. */
static void test_refused_that_may_come_again_is_not_counted(void **state)
{
    (void)allocate(ALL_BYTES / 2, "the hog");
    struct request request;
    (void)request_allocate(&request, ALL_BYTES / 2, NULL, 0);
    request.allocate.may_again = true;

    assert_int_equal(dispatch(core, &alice, &request.base, now_of_talk(), talk.reply), DISPATCH_OK);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "by process: process 1 (worker-1)");
    assert_int_equal(core->state.counters->refusals_no_room, 0);
    assert_int_equal(core->scans.n_begun, 0);
}

static void test_refused_without_memory_for_a_look_names_processes(void **state)
{
    fail_nth("memory", 1, ENOMEM);
    assert_null(strstr(refused(&alice, ALL_BYTES), "holders")); /* there are none */
    assert_true(fail_end());
    talk.fixture.now_ms += 11000;
    allocate_numbered(100);
    unsigned n_failures = 0;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        talk.fixture.now_ms += 11000; /* what was known is too old */
        const char *sentence = refused(&alice, ALL_BYTES);
        const bool failed = fail_end();
        n_failures += failed;
        assert_says(sentence, failed ? "by process: process 1" : "holders: \"reason/00000\"");
        (void)allocate(16, "reason/00000");
    }
    assert_true(n_failures >= 5); /* the look, its roll-up, what is in that, the order */
    assert_true(scans_are_none(&core->scans));
}

static bool barrier(void)
{
    return true;
}

/* They were looked at before the refusal, and will be before the next one. */
static void test_refused_names_no_process_whose_slabs_can_be_had(void **state)
{
    bool zero;
    struct ledger *ledger = fixture_ledger(&talk.fixture, bob.client);
    atomic_store(&ledger->header->is_fenced, 1);
    core->reclaim.barrier = barrier;
    const uint32_t page = fixture_lease(&talk.fixture, bob.client, 64);
    assert_true(lease_take(bob.client->states, page, 64, &zero));

    report_no_room(core, NULL, 0, ALL_BYTES - PAGE_BYTES, talk.reply);

    const char *sentence = talk.reply->response.error->message;
    assert_says(sentence, ", 1.0 MiB leased without a live byte");
    assert_null(strstr(sentence, "keeps"));
    core->reclaim.barrier = NULL;
}

/* It counts as free, but no one extent of it can be had. */
static void test_refused_while_clearing_what_is_free_hangs_advises_no_size(void **state)
{
    pages_scrub_begin(&core->pages, 1, N_PAGES - 1);
    pages_scrub_hang(&core->pages);

    report_no_room(core, NULL, 0, PAGE_BYTES, talk.reply);

    assert_ends(talk.reply->response.error->message,
                "; enough is free, but not in one piece: start kmemd with a larger --size");
    pages_scrub_end(&core->pages, false);
}

/* As if there were so many pages: their tables are not looked at. */
static void test_refused_more_than_the_largest_segment_advises_nothing(void **state)
{
    const uint32_t n_most = (uint32_t)(SEGMENT_MAX_BYTES >> PAGE_SHIFT);
    core->pages.n_pages = n_most;

    report_no_room(core, NULL, 0, SEGMENT_MAX_BYTES, talk.reply);

    core->pages.n_pages = N_PAGES;
    assert_ends(talk.reply->response.error->message, "can be had in a segment of this size");
}

/* A console's look is under way: that of the refusal is the same one. */
static void test_refused_while_a_console_looks_begins_no_look(void **state)
{
    struct peer observer;
    allocate_many();
    peer_open_observer(&talk, &observer, 3);
    int r = ask_ledger(&talk, &observer, KMEM__GROUP_BY__GROUP_BY_REASON, 0);
    assert_int_equal(r, DISPATCH_PENDING);

    (void)refused(&alice, ALL_BYTES);

    assert_true(no_room_has_work(core));
    assert_int_equal(core->scans.n_begun, 1);
    while (r == DISPATCH_PENDING) {
        r = ask_continue(&talk, &observer);
    }
    peer_close(&talk, &observer);
}

/* As many looks as are kept are complete, and those who wait for them have not read them yet. */
static void test_refused_while_no_look_may_begin_names_processes(void **state)
{
    struct scan_reader readers[SCANS_KEPT];
    (void)allocate(ALL_BYTES / 2, "the hog");
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        readers[i] = (struct scan_reader){.uid = 1000, .pid = i};
        scan_ask(core, &readers[i], SCAN_BY_UID);
        assert_int_equal(scan_poll(core, &readers[i], now_of_talk().us), SCAN_READY);
    }

    assert_says(refused(&alice, ALL_BYTES / 2), "by process: process 1 (worker-1) 32.0 MiB");

    assert_false(no_room_has_work(core));
    assert_true(core->lookout_us > now_of_talk().us);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &readers[i]);
    }
}

#define NO_ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, work_and_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NO_ROOM_TEST(test_refused_a_thousand_times_is_one_look_a_second),
        NO_ROOM_TEST(test_refused_in_a_small_segment_names_who_has_it_now),
        NO_ROOM_TEST(test_refused_among_many_blocks_makes_one_small_step),
        NO_ROOM_TEST(test_look_of_refusals_goes_on_in_small_steps),
        NO_ROOM_TEST(test_long_look_is_not_followed_at_once),
        NO_ROOM_TEST(test_look_that_others_wait_for_is_made_in_large_steps),
        NO_ROOM_TEST(test_refused_before_the_first_look_names_processes),
        NO_ROOM_TEST(test_refused_long_after_the_last_look_names_processes),
        NO_ROOM_TEST(test_refused_names_five_processes_the_largest_first),
        NO_ROOM_TEST(test_refused_where_little_is_free_advises_to_release),
        NO_ROOM_TEST(test_refused_where_enough_lies_in_pieces_says_so),
        NO_ROOM_TEST(test_refused_more_than_the_segment_can_have_advises_no_release),
        NO_ROOM_TEST(test_refused_more_than_the_segment_can_have_though_it_is_full),
        NO_ROOM_TEST(test_refused_names_the_process_that_keeps_what_is_idle),
        NO_ROOM_TEST(test_refused_of_a_client_whose_ledger_is_lost_says_so),
        NO_ROOM_TEST(test_refused_over_the_quota_says_that_it_is_the_quota),
        NO_ROOM_TEST(test_refused_that_may_come_again_is_not_counted),
        NO_ROOM_TEST(test_refused_without_memory_for_a_look_names_processes),
        NO_ROOM_TEST(test_refused_names_no_process_whose_slabs_can_be_had),
        NO_ROOM_TEST(test_refused_while_clearing_what_is_free_hangs_advises_no_size),
        NO_ROOM_TEST(test_refused_more_than_the_largest_segment_advises_nothing),
        NO_ROOM_TEST(test_refused_while_a_console_looks_begins_no_look),
        NO_ROOM_TEST(test_refused_while_no_look_may_begin_names_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
