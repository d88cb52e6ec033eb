/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_queries.c - answers of several pages and several steps, in conversations
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/limits.h"
#include "daemon/core/scan.h"
#include "tests/unit/conversation.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define BY_REASON KMEM__GROUP_BY__GROUP_BY_REASON
#define BY_CLIENT KMEM__GROUP_BY__GROUP_BY_CLIENT
#define BY_UID KMEM__GROUP_BY__GROUP_BY_UID

static struct peer observer;

static int talk_setup(void **state)
{
    conversation_init(&talk, N_PAGES, 1000);
    peer_open_member(&talk, &alice, 1);
    peer_open_observer(&talk, &observer, 2);
    return 0;
}

static int queries_teardown(void **state)
{
    peer_close(&talk, &alice);
    peer_close(&talk, &observer);
    conversation_fini(&talk);
    return 0;
}

static void allocate(uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, &alice, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
}

static void allocate_numbered(uint32_t n_blocks)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        char reason[24];
        (void)snprintf(reason, sizeof(reason), "reason/%05u", i);
        allocate(16, reason);
    }
}

static const Kmem__LedgerReport *ledger_now(void)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_LEDGER);
    return talk.reply->response.ledger;
}

/* Reads on in the observer's roll-up, whose first page is in the reply. Return: how many rows. */
static uint32_t read_on(int by)
{
    uint32_t n_rows = (uint32_t)ledger_now()->n_rows;
    while (ledger_now()->more) {
        assert_int_equal(ask_ledger(&talk, &observer, by, n_rows), DISPATCH_OK);
        n_rows += (uint32_t)ledger_now()->n_rows;
    }
    return n_rows;
}

/* Waits for an answer as many steps as it takes. */
static void wait_for(struct peer *asker, int r)
{
    while (r == DISPATCH_PENDING) {
        r = ask_continue(&talk, asker);
    }
    assert_int_equal(r, DISPATCH_OK);
}

static void look(struct peer *asker, int by)
{
    wait_for(asker, ask_ledger(&talk, asker, by, 0));
}

static void test_ledger_of_nothing_has_no_rows(void **state)
{
    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 0), DISPATCH_OK);

    assert_int_equal(ledger_now()->n_rows, 0);
    assert_false(ledger_now()->more);
}

static void test_ledger_is_read_page_by_page_and_then_forgotten(void **state)
{
    allocate_numbered(2000);

    look(&observer, BY_REASON);
    assert_true(ledger_now()->more);
    assert_int_equal(ledger_now()->n_rows, 512);
    assert_int_equal(talk.core->scans.n_complete, 1);
    assert_int_equal(read_on(BY_REASON), 2000);

    assert_true(scans_are_none(&talk.core->scans));
    assert_null(observer.reader.scan);
}

static void test_ledger_pages_do_not_change_while_others_allocate(void **state)
{
    allocate_numbered(1000);
    look(&observer, BY_REASON);

    allocate(1000000, "larger than all, later than the roll-up");
    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 512), DISPATCH_OK);

    assert_int_equal(ledger_now()->n_rows, 488);
    assert_string_equal(ledger_now()->rows[487]->key, "reason/00999");
}

static void test_ledger_of_a_row_in_no_roll_up_is_BUSY(void **state)
{
    allocate(1, "x");

    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 512), DISPATCH_OK);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "begin with first_row 0");
}

static void test_ledger_by_size_and_by_age(void **state)
{
    allocate(16, "x");
    talk.fixture.now_ms += 3600000;
    allocate(100000, "y");
    assert_int_equal(ask_ledger(&talk, &observer, KMEM__GROUP_BY__GROUP_BY_SIZE, 0), DISPATCH_OK);
    assert_int_equal(ledger_now()->n_rows, 2);
    assert_string_equal(ledger_now()->rows[0]->key, "131072");
    assert_string_equal(ledger_now()->rows[1]->key, "16");
    assert_int_equal(ledger_now()->rows[1]->oldest_ms, 3600000);
    assert_int_equal(ask_ledger(&talk, &observer, KMEM__GROUP_BY__GROUP_BY_AGE, 0), DISPATCH_OK);
    assert_int_equal(ledger_now()->n_rows, 2);
    assert_string_equal(ledger_now()->rows[0]->key, "0");
    assert_string_equal(ledger_now()->rows[1]->key, "3600000");
    assert_int_equal(ledger_now()->rows[1]->num_bytes, 16);
}

static void unit_of_parity(const struct client_identity *identity, char *ret_unit)
{
    (void)snprintf(ret_unit, UNIT_NAME_BYTES, "%s.service",
                   identity->pid % 2 == 0 ? "even" : "odd");
}

static void test_ledger_by_unit_adds_up_the_clients_of_each(void **state)
{
    struct peer others[4];
    allocate(7, "of one that joined before units were known");
    talk.core->config.unit = unit_of_parity;
    for (uint32_t i = 0; i < 4; i++) {
        peer_open_member(&talk, &others[i], 10 + i);
        assert_int_equal(ask_allocate(&talk, &others[i], 100 + i, "", 0), DISPATCH_OK);
    }
    assert_int_equal(ask_ledger(&talk, &observer, KMEM__GROUP_BY__GROUP_BY_UNIT, 0), DISPATCH_OK);
    assert_int_equal(ledger_now()->n_rows, 3);
    assert_string_equal(ledger_now()->rows[0]->key, "odd.service");
    assert_int_equal(ledger_now()->rows[0]->num_bytes, 101 + 103);
    assert_string_equal(ledger_now()->rows[1]->key, "even.service");
    assert_int_equal(ledger_now()->rows[1]->n_blocks, 2);
    assert_string_equal(ledger_now()->rows[2]->key, "?");
    assert_int_equal(ask_clients(&talk, &observer, 0), DISPATCH_OK);
    assert_string_equal(talk.reply->response.clients->clients[0]->unit, "");
    assert_string_equal(talk.reply->response.clients->clients[1]->unit, "even.service");
    for (uint32_t i = 0; i < 4; i++) {
        peer_close(&talk, &others[i]);
    }
}

static void test_ledger_by_what_there_is_not_is_INVALID(void **state)
{
    assert_int_equal(ask_ledger(&talk, &observer, 6, 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "no grouping 6");
    assert_int_equal(ask_ledger(&talk, &observer, -1, 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "no grouping -1");
}

static void test_ledger_of_many_blocks_is_pending_while_others_are_served(void **state)
{
    for (uint32_t i = 0; i < 100000; i++) {
        allocate(16, "many");
    }
    uint32_t n_steps = 1;

    assert_int_equal(ask_ledger(&talk, &observer, BY_CLIENT, 0), DISPATCH_PENDING);
    for (; ask_continue(&talk, &observer) == DISPATCH_PENDING; n_steps++) {
        allocate(100000, "meanwhile");
        assert_int_equal(ask_usage(&talk, &alice), DISPATCH_OK);
        assert_int_equal(core_check(talk.core), 0);
    }

    /* The blocks' entries, one for each of their pages, and those of what came meanwhile. */
    assert_in_range(n_steps, 100000 / SCAN_BUDGET, 100000 / SCAN_BUDGET * 5 / 4);
    assert_int_equal(ledger_now()->n_rows, 1);
    assert_true(ledger_now()->rows[0]->n_blocks >= 100000);
    assert_string_equal(ledger_now()->rows[0]->key, "worker-1");
}

static void test_ledger_asked_again_begins_a_new_roll_up(void **state)
{
    allocate_numbered(1000);
    look(&observer, BY_REASON);
    assert_true(ledger_now()->more);

    look(&observer, BY_UID);

    assert_int_equal(ledger_now()->n_rows, 1);
    assert_string_equal(ledger_now()->rows[0]->key, "1001");
    assert_true(scans_are_none(&talk.core->scans));
}

/* Six connections of one process read a page each and never come back. */
static void test_ledger_kept_by_one_process_six_times_keeps_nobody_out(void **state)
{
    struct peer hoarders[6];
    allocate_numbered(1000);
    look(&observer, BY_REASON);
    for (uint32_t i = 0; i < 6; i++) {
        peer_open_observer(&talk, &hoarders[i], 100);
        look(&hoarders[i], BY_REASON);
        assert_true(ledger_now()->more);
    }
    assert_int_equal(talk.core->scans.n_complete, SCANS_KEPT);

    /* Who asked before them reads on, who asks now is answered, and one of them begins again. */
    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 512), DISPATCH_OK);
    assert_int_equal(ledger_now()->n_rows, 488);
    for (uint32_t i = 0; i < 48; i++) {
        wait_for(&observer, ask_usage(&talk, &observer));
        assert_body(&talk, KMEM__RESPONSE__BODY_USAGE);
        wait_for(&observer, ask_clients(&talk, &observer, 0));
        assert_body(&talk, KMEM__RESPONSE__BODY_CLIENTS);
        look(&observer, BY_UID);
        assert_body(&talk, KMEM__RESPONSE__BODY_LEDGER);
    }
    assert_int_equal(ask_ledger(&talk, &hoarders[0], BY_REASON, 512), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "begin with first_row 0");
    for (uint32_t i = 0; i < 6; i++) {
        peer_close(&talk, &hoarders[i]);
    }
    assert_true(scans_are_none(&talk.core->scans));
}

static void test_ledger_asked_by_twenty_at_once_is_one_look(void **state)
{
    struct peer others[20];
    for (uint32_t i = 0; i < 30 * SCAN_BUDGET; i++) { /* so that all ask while it is under way */
        allocate(16, "many");
    }
    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 0), DISPATCH_PENDING);
    for (uint32_t i = 0; i < 20; i++) {
        peer_open_observer(&talk, &others[i], 100 + i);
        assert_int_equal(ask_ledger(&talk, &others[i], BY_REASON, 0), DISPATCH_PENDING);
    }

    uint32_t n_answered = 0;
    for (uint32_t turn = 0; turn < 1000 && n_answered < 20; turn++) {
        for (uint32_t i = 0; i < 20; i++) {
            if (others[i].reader.waits || others[i].reader.scan) {
                n_answered += ask_continue(&talk, &others[i]) == DISPATCH_OK;
            }
        }
    }

    assert_int_equal(n_answered, 20);
    /* Theirs began after their questions: not the one that was under way then. */
    assert_int_equal(talk.core->scans.n_begun, 2);
    assert_int_equal(ask_continue(&talk, &observer), DISPATCH_OK);
    for (uint32_t i = 0; i < 20; i++) {
        peer_close(&talk, &others[i]);
    }
}

/* What is allocated before the question is in the answer, whatever was under way. */
static void test_ledger_tells_of_a_time_after_the_question(void **state)
{
    struct peer other;
    for (uint32_t i = 0; i < 50000; i++) {
        allocate(16, "many");
    }
    peer_open_observer(&talk, &other, 100);
    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 0), DISPATCH_PENDING);
    allocate(4000000, "late");

    int outcome = ask_ledger(&talk, &other, BY_REASON, 0);
    while (outcome == DISPATCH_PENDING) {
        outcome = ask_continue(&talk, &other);
    }

    assert_int_equal(outcome, DISPATCH_OK);
    assert_string_equal(ledger_now()->rows[0]->key, "late");
    peer_close(&talk, &other);
}

static void test_ledger_whose_asker_goes_in_the_middle_of_it_is_given_up(void **state)
{
    struct peer other;
    for (uint32_t i = 0; i < 50000; i++) {
        allocate(16, "many");
    }
    peer_open_observer(&talk, &other, 100);
    assert_int_equal(ask_ledger(&talk, &other, BY_REASON, 0), DISPATCH_PENDING);

    peer_close(&talk, &other);

    assert_true(scans_are_none(&talk.core->scans));
}

static void test_ledger_without_memory_is_BUSY_and_the_next_is_answered(void **state)
{
    allocate_numbered(100);
    unsigned n_failures = 0;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 0), DISPATCH_OK);
        const bool failed = fail_end();
        n_failures += failed;
        if (failed) {
            assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "try again");
            assert_null(observer.reader.scan);
        } else {
            assert_int_equal(ledger_now()->n_rows, 100);
        }
    }
    assert_true(n_failures >= 5); /* the look, its roll-up, what is in that, the order */
}

static void test_allocate_without_memory_for_its_reason_is_allocated(void **state)
{
    fail_from("memory", 1, ENOMEM);
    allocate(10, "cannot be remembered");
    assert_true(fail_end());

    assert_int_equal(ask_ledger(&talk, &observer, BY_REASON, 0), DISPATCH_OK);
    assert_string_equal(ledger_now()->rows[0]->key, OTHER_REASONS);
    assert_int_equal(talk.core->state.counters->other_reasons, 1);
}

static void test_blocks_is_read_page_by_page_each_once(void **state)
{
    allocate_numbered(1300);
    uint64_t from = 0;
    uint32_t n_rows = 0;
    uint64_t last = 0;

    do {
        assert_int_equal(ask_blocks(&talk, &observer, from), DISPATCH_OK);
        assert_body(&talk, KMEM__RESPONSE__BODY_BLOCKS);
        const Kmem__BlocksReport *report = talk.reply->response.blocks;
        for (size_t i = 0; i < report->n_blocks; i++) {
            assert_true(report->blocks[i]->offset > last);
            last = report->blocks[i]->offset;
        }
        n_rows += (uint32_t)report->n_blocks;
        from = report->next_offset;
    } while (talk.reply->response.blocks->more);

    assert_int_equal(n_rows, 1300);
}

static void test_queries_from_beyond_the_end_are_empty(void **state)
{
    allocate(10, "x");

    assert_int_equal(ask_blocks(&talk, &observer, UINT64_MAX), DISPATCH_OK);
    assert_int_equal(talk.reply->response.blocks->n_blocks, 0);
    assert_false(talk.reply->response.blocks->more);
    assert_int_equal(ask_clients(&talk, &observer, UINT32_MAX), DISPATCH_OK);
    assert_int_equal(talk.reply->response.clients->n_clients, 0);
    assert_int_equal(ask_obituaries(&talk, &observer, UINT64_MAX), DISPATCH_OK);
    assert_int_equal(talk.reply->response.obituaries->n_obituaries, 0);
}

static void test_requests_are_counted(void **state)
{
    const uint64_t n_requests = talk.core->state.counters->requests;

    assert_int_equal(ask_usage(&talk, &observer), DISPATCH_OK);
    assert_int_equal(ask_nonsense(&talk, &observer), DISPATCH_CLOSE);

    assert_int_equal(talk.core->state.counters->requests, n_requests + 2);
    assert_int_equal(talk.core->state.counters->protocol_errors, 1);
}

static int ask_lifetimes(uint32_t first_row)
{
    Kmem__Lifetimes lifetimes = KMEM__LIFETIMES__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    lifetimes.first_row = first_row;
    request.body_case = KMEM__REQUEST__BODY_LIFETIMES;
    request.lifetimes = &lifetimes;
    return ask_request(&talk, &observer, &request);
}

static void test_lifetimes_are_read_page_by_page(void **state)
{
    allocate_numbered(1200);
    int r = ask_lifetimes(0);
    while (r == DISPATCH_PENDING) {
        r = ask_continue(&talk, &observer);
    }
    assert_body(&talk, KMEM__RESPONSE__BODY_LIFETIMES);
    uint32_t n_rows = (uint32_t)talk.reply->response.lifetimes->n_rows;
    while (talk.reply->response.lifetimes->more) {
        assert_int_equal(ask_lifetimes(n_rows), DISPATCH_OK);
        n_rows += (uint32_t)talk.reply->response.lifetimes->n_rows;
    }
    assert_int_equal(n_rows, ROLLUP_AGED_GROUPS + 1); /* and the others */
}

static void test_lifetimes_that_are_not_kept_begin_at_the_first(void **state)
{
    assert_int_equal(ask_lifetimes(7), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "row 7 of a look that is not kept");
    allocate_numbered(3000);
    int r = ask_ledger(&talk, &observer, BY_REASON, 0);
    while (r == DISPATCH_PENDING) {
        r = ask_continue(&talk, &observer);
    }
    assert_true(ledger_now()->more);
    assert_int_equal(ask_lifetimes(7), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "row 7 of a look that is not kept");
}

static void test_ledger_by_what_is_no_grouping_is_INVALID(void **state)
{
    assert_int_equal(ask_ledger(&talk, &observer, _KMEM__GROUP_BY_IS_INT_SIZE, 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "no grouping");
}

static void test_pages_by_cells_of_half_a_page_are_INVALID(void **state)
{
    Kmem__Pages pages = KMEM__PAGES__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    pages.cell_bytes = PAGE_BYTES / 2;
    request.body_case = KMEM__REQUEST__BODY_PAGES;
    request.pages = &pages;
    assert_int_equal(ask_request(&talk, &observer, &request), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "no multiple of a page");
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, queries_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_ledger_of_nothing_has_no_rows),
        TALK_TEST(test_ledger_is_read_page_by_page_and_then_forgotten),
        TALK_TEST(test_ledger_pages_do_not_change_while_others_allocate),
        TALK_TEST(test_ledger_of_a_row_in_no_roll_up_is_BUSY),
        TALK_TEST(test_ledger_by_size_and_by_age),
        TALK_TEST(test_ledger_by_unit_adds_up_the_clients_of_each),
        TALK_TEST(test_ledger_by_what_there_is_not_is_INVALID),
        TALK_TEST(test_ledger_of_many_blocks_is_pending_while_others_are_served),
        TALK_TEST(test_ledger_asked_again_begins_a_new_roll_up),
        TALK_TEST(test_ledger_kept_by_one_process_six_times_keeps_nobody_out),
        TALK_TEST(test_ledger_asked_by_twenty_at_once_is_one_look),
        TALK_TEST(test_ledger_tells_of_a_time_after_the_question),
        TALK_TEST(test_ledger_whose_asker_goes_in_the_middle_of_it_is_given_up),
        TALK_TEST(test_ledger_without_memory_is_BUSY_and_the_next_is_answered),
        TALK_TEST(test_allocate_without_memory_for_its_reason_is_allocated),
        TALK_TEST(test_blocks_is_read_page_by_page_each_once),
        TALK_TEST(test_queries_from_beyond_the_end_are_empty),
        TALK_TEST(test_requests_are_counted),
        TALK_TEST(test_lifetimes_are_read_page_by_page),
        TALK_TEST(test_lifetimes_that_are_not_kept_begin_at_the_first),
        TALK_TEST(test_ledger_by_what_is_no_grouping_is_INVALID),
        TALK_TEST(test_pages_by_cells_of_half_a_page_are_INVALID),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
