/* SPDX-License-Identifier: MIT */
/*
 * test_changes.c - what the server does, as those who watch are told
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

static struct peer watcher;
static size_t n_woken;
static uint64_t from; /* where the watcher goes on */

static void wake(struct wait *wait, void *user)
{
    (void)user;
    assert_ptr_equal(wait, &watcher.wait);
    n_woken++;
}

static int ask(uint64_t from_number, uint32_t wait_ms, bool from_now)
{
    Kmem__Changes changes = KMEM__CHANGES__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    changes.from_number = from_number;
    changes.wait_ms = wait_ms;
    changes.from_now = from_now;
    request.body_case = KMEM__REQUEST__BODY_CHANGES;
    request.changes = &changes;
    return ask_request(&talk, &watcher, &request);
}

static const Kmem__ChangesReport *told(void)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_CHANGES);
    return talk.reply->response.changes;
}

static const Kmem__ChangesReport *ask_from(uint64_t from_number)
{
    assert_int_equal(ask(from_number, 0, false), DISPATCH_OK);
    return told();
}

static int changes_setup(void **state)
{
    (void)share_talk_setup(state);
    talk.core->config.wake = wake;
    talk.fixture.config.wake = wake;
    peer_open_observer(&talk, &watcher, 20);
    n_woken = 0;
    assert_int_equal(ask(0, 0, true), DISPATCH_OK);
    from = told()->next_number;
    assert_int_equal(told()->n_changes, 0);
    return 0;
}

static int changes_teardown(void **state)
{
    peer_close(&talk, &watcher);
    return share_talk_teardown(state);
}

/* The next changes are these, in this order. */
static const Kmem__ChangesReport *expect(const char *kinds)
{
    char said[512] = "";
    size_t n_said = 0;
    const Kmem__ChangesReport *report = ask_from(from);
    for (size_t i = 0; i < report->n_changes; i++) {
        assert_true(report->changes[i]->number == from + i);
        n_said += (size_t)snprintf(said + n_said, sizeof(said) - n_said, "%s%s", i > 0 ? " " : "",
                                   report->changes[i]->kind);
        assert_true(n_said < sizeof(said));
    }
    assert_string_equal(said, kinds);
    assert_false(report->more);
    assert_true(report->n_missed == 0);
    from = report->next_number;
    return report;
}

static void test_changes_of_a_direct_block_have_size_place_and_reason(void **state)
{
    const uint64_t off = allocate(&alice, 1000);
    talk.fixture.now_ms += 250;
    assert_false(let_go(&alice, off));

    const Kmem__ChangesReport *report = expect("allocated released");

    for (size_t i = 0; i < 2; i++) {
        const Kmem__Change *change = report->changes[i];
        assert_true(change->offset == off && change->num_bytes == 1000);
        assert_int_equal(change->pid, alice.identity.pid);
        assert_int_equal(change->uid, alice.identity.uid);
        assert_string_equal(change->command, alice.identity.command);
        assert_true(*change->reason != '\0');
        assert_string_equal(change->reason, report->changes[0]->reason);
    }
    assert_true(report->changes[0]->ms_ago == 250);
    assert_true(report->changes[1]->ms_ago == 0);
}

static void test_changes_of_sharing_are_told_once_each(void **state)
{
    const uint64_t off = allocate(&alice, 1000);
    const struct share_handle handle = share(&alice, off);
    (void)share(&alice, off); /* again: nothing changes */
    attach(&bob, &handle);
    (void)publish(&bob, off, "camera/latest", 0);
    assert_int_equal(ask_unpublish(&bob, "camera/latest"), DISPATCH_OK);
    assert_true(let_go(&bob, off));
    assert_false(let_go(&alice, off));

    const Kmem__ChangesReport *report =
        expect("allocated shared attached published unpublished let_go released");

    assert_int_equal(report->changes[2]->pid, bob.identity.pid);
    assert_string_equal(report->changes[3]->name, "camera/latest");
    assert_string_equal(report->changes[3]->reason, "");
    assert_true(report->changes[3]->offset == off);
    assert_string_equal(report->changes[4]->name, "camera/latest");
}

static void test_changes_of_clients_are_joined_left_and_taken_back(void **state)
{
    struct peer eve;
    peer_open_member(&talk, &eve, 30);
    (void)allocate(&eve, 5000);
    core_end(talk.core, eve.client, false, talk.fixture.now_ms);
    fixture_reap(&talk.fixture, UINT32_MAX);

    const Kmem__ChangesReport *report = expect("joined allocated died taken_back");

    assert_int_equal(report->changes[0]->pid, 30);
    assert_int_equal(report->changes[2]->pid, 30);
    assert_true(report->changes[3]->num_bytes == 5000);
    assert_true(report->changes[3]->n_blocks == 1);
    peer_close(&talk, &eve);
}

static void test_changes_tell_who_was_refused_what_and_why(void **state)
{
    assert_int_equal(ask_allocate(&talk, &alice, SHARE_TALK_PAGES * PAGE_BYTES, "too much", 8),
                     DISPATCH_OK);

    const Kmem__Change *change = expect("refused")->changes[0];

    assert_string_equal(change->why, "block no_room");
    assert_string_equal(change->reason, "too much");
    assert_true(change->num_bytes == SHARE_TALK_PAGES * PAGE_BYTES);
}

static void test_changes_of_leases_are_granted_and_taken_back(void **state)
{
    (void)fixture_ledger(&talk.fixture, alice.client);
    const uint32_t page = fixture_lease(&talk.fixture, alice.client, 24);
    leases_return_all(&talk.core->leases);

    /* Granted by the fixture: not on request. Word by word, and told as one. */
    const Kmem__Change *change = expect("returned")->changes[0];
    assert_true(change->offset == (uint64_t)page * PAGE_BYTES);
    assert_true(change->num_bytes == 24 * PAGE_BYTES);
    assert_int_equal(change->pid, alice.identity.pid);
}

static void test_changes_wait_for_the_first_one(void **state)
{
    assert_int_equal(ask(from, 5000, false), DISPATCH_WAITING);
    assert_int_equal(n_woken, 0);

    const uint64_t off = allocate(&alice, 10);
    assert_int_equal(n_woken, 1);
    assert_false(let_go(&alice, off));
    assert_int_equal(n_woken, 1); /* it does not wait any more */

    assert_int_equal(ask_continue(&talk, &watcher), DISPATCH_OK);
    assert_int_equal(told()->n_changes, 2);
    assert_int_equal(talk.core->waits.n, 0);
}

static void test_changes_that_do_not_come_are_waited_for_so_long(void **state)
{
    assert_int_equal(ask(from, UINT32_MAX, false), DISPATCH_WAITING);
    assert_true(watcher.wait.until_ms == talk.fixture.now_ms + CHANGES_WAIT_MAX_MS);

    talk.fixture.now_ms = watcher.wait.until_ms;
    assert_int_equal(ask_continue(&talk, &watcher), DISPATCH_OK);

    assert_int_equal(told()->n_changes, 0);
    assert_true(told()->next_number == from);
}

static void test_changes_taken_back_without_a_request_wake_with_the_next_tick(void **state)
{
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_lease(&talk.fixture, alice.client, 8);
    assert_int_equal(ask(from, 5000, false), DISPATCH_WAITING);
    leases_return_all(&talk.core->leases);
    assert_int_equal(n_woken, 0);

    core_tick_changes(talk.core, talk.fixture.now_ms);
    assert_int_equal(n_woken, 1);
    core_tick_changes(talk.core, talk.fixture.now_ms);
    assert_int_equal(n_woken, 1);
}

static void test_changes_that_are_not_kept_are_counted(void **state)
{
    for (uint32_t i = 0; i < CHANGES_KEPT; i++) {
        assert_false(let_go(&alice, allocate(&alice, 10)));
    }

    const Kmem__ChangesReport *report = ask_from(from);

    assert_true(report->n_missed == CHANGES_KEPT);
    assert_true(report->changes[0]->number == from + CHANGES_KEPT);
    assert_true(report->more);
    uint64_t n_told = 0;
    for (uint64_t next = from; n_told < CHANGES_KEPT; next = told()->next_number) {
        n_told += ask_from(next)->n_changes;
        assert_true(told()->n_changes > 0);
    }
    assert_true(n_told == CHANGES_KEPT);
    assert_false(told()->more);
}

static void test_changes_from_a_number_of_another_server_are_none_and_it_is_named(void **state)
{
    const Kmem__ChangesReport *report = ask_from(UINT64_MAX);
    const uint64_t server = report->server;
    assert_int_equal(report->n_changes, 0);
    assert_true(report->next_number == from);
    assert_true(report->n_missed == 0);

    peer_close(&talk, &watcher);
    share_talk_restart();
    peer_open_observer(&talk, &watcher, 20);

    assert_true(ask_from(0)->server != server);
    assert_true(told()->next_number < from);
}

/* The same process for the kernel, of another user: what it gives back is told by itself. */
static void test_changes_of_another_user_do_not_go_on(void **state)
{
    struct client_identity identity = alice.identity;
    struct change_facts facts = {.kind = CHANGE_RETURNED, .offset = 0, .num_bytes = PAGE_BYTES};
    changes_note(&talk.core->changes, &identity, &facts, NULL, 0);
    identity.uid++;
    facts.offset = PAGE_BYTES;
    changes_note(&talk.core->changes, &identity, &facts, NULL, 0);
    assert_int_equal(ask_from(from)->n_changes, 2);
}

#define CHANGES_TEST(test) cmocka_unit_test_setup_teardown(test, changes_setup, changes_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGES_TEST(test_changes_of_a_direct_block_have_size_place_and_reason),
        CHANGES_TEST(test_changes_of_sharing_are_told_once_each),
        CHANGES_TEST(test_changes_of_clients_are_joined_left_and_taken_back),
        CHANGES_TEST(test_changes_tell_who_was_refused_what_and_why),
        CHANGES_TEST(test_changes_of_leases_are_granted_and_taken_back),
        CHANGES_TEST(test_changes_wait_for_the_first_one),
        CHANGES_TEST(test_changes_that_do_not_come_are_waited_for_so_long),
        CHANGES_TEST(test_changes_taken_back_without_a_request_wake_with_the_next_tick),
        CHANGES_TEST(test_changes_that_are_not_kept_are_counted),
        CHANGES_TEST(test_changes_from_a_number_of_another_server_are_none_and_it_is_named),
        CHANGES_TEST(test_changes_of_another_user_do_not_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
