/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_again.c - requests that come again when the records they were about are gone
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/share_talk.h"

#define DENIED KMEM__ERROR_CODE__ERROR_DENIED
#define INVALID KMEM__ERROR_CODE__ERROR_INVALID
#define STALE KMEM__ERROR_CODE__ERROR_STALE
#define NO_NAME KMEM__ERROR_CODE__ERROR_NO_NAME
#define NAME "camera0/latest"

/* A restart reads as many records as were used to the last: none, where each is free. */
static void test_transfer_when_no_record_is_left_has_its_handle(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    talk.sequence = 0;
    attach(&bob, &handle);
    assert_false(let_go(&bob, block));
    share_talk_restart();

    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);

    const struct share_handle gone = said_handle();
    assert_int_equal(gone.generation, handle.generation);
    talk.sequence = 0;
}

/* It was to attach what the name meant; a server is killed, then the name ends, then another is. */
static void test_next_when_no_record_is_left_looks_anew(void **state)
{
    (void)state;
    const struct asked_next asked = {.name = NAME};
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, GIVE);
    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);
    const uint32_t share = shares_at(&talk.core->shares, (struct seg_off){block});
    shares_let_go(&talk.core->shares, shares_hold_of(&talk.core->shares, share, bob.client->slot));
    share_talk_restart();
    talk.sequence = 0;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    share_talk_restart();

    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);

    assert_error(&talk, NO_NAME, "no block is published");
    talk.sequence = 0;
}

/* It was refused what it had held for reading; the answer was lost, and it holds it again. */
static void next_for_writing_twice(struct peer *peer, uint64_t block, const char *words)
{
    const struct asked_next asked = {.name = NAME, .release_offset = block, .write = true};
    const uint32_t share = shares_at(&talk.core->shares, (struct seg_off){block});
    const struct share_handle handle = shares_handle(&talk.core->shares, share);
    for (unsigned n = 0; n < 2; n++) {
        talk.sequence = 0;
        attach(peer, &handle);
        talk.sequence = 1;
        assert_int_equal(ask_next(peer, &asked), DISPATCH_OK);
        assert_error(&talk, DENIED, words);
        assert_int_equal(talk.core->shares.n_holds, 0);
    }
    talk.sequence = 0;
}

static void test_next_of_what_is_for_reading_only_is_refused_again(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_share(&alice, block, true), DISPATCH_OK);
    (void)publish(&alice, block, NAME, 0);
    next_for_writing_twice(&bob, block, "for reading only");
}

static void test_next_for_writing_of_a_reader_is_refused_again(void **state)
{
    (void)state;
    struct peer reader;
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, 0);
    peer_open_reader(&talk, &reader, 4);
    next_for_writing_twice(&reader, block, "has joined as a reader");
    peer_close(&talk, &reader);
}

static void test_next_for_writing_stays_writable_when_it_comes_again(void **state)
{
    (void)state;
    const struct asked_next asked = {.name = NAME, .write = true};
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, 0);
    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);
    talk.sequence = 0;
    assert_int_equal(ask_share(&alice, block, true), DISPATCH_OK); /* from now on */

    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(talk.reply->response.nexted->block->offset, block);
    talk.sequence = 0;
}

static void test_next_of_a_block_held_on_has_kept_it_though_its_name_has_gone_on(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const uint64_t first = publish(&alice, block, NAME, 0);
    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = NAME}), DISPATCH_OK);
    (void)publish(&alice, block, NAME, GIVE);
    const struct asked_next asked = {.name = NAME, .after = first, .release_offset = block};
    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);
    talk.sequence = 0;
    (void)publish(&alice, allocate(&alice, 10), NAME, 0); /* Bob alone has the former one */

    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(talk.reply->response.nexted->block->offset, block);
    assert_true(talk.reply->response.nexted->released->kept);
    assert_int_equal(talk.core->shares.n_holds, 1);
    talk.sequence = 0;
}

static void test_next_of_a_slot_that_is_anothers_by_now_attaches_nothing(void **state)
{
    (void)state;
    struct peer later;
    const struct asked_next asked = {.name = NAME, .wait_ms = 1000};
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_WAITING);
    const uint32_t slot = bob.client->slot;
    core_end(talk.core, bob.client, false, talk.fixture.now_ms);
    fixture_reap(&talk.fixture, UINT32_MAX);
    peer_open_member(&talk, &later, 5);
    assert_int_equal(later.client->slot, slot);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);

    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_CLOSE);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_PROTOCOL, "has ended");
    assert_int_equal(talk.core->shares.n_holds, 0);
    peer_close(&talk, &later);
}

/* It has come back over another connection, which has taken its client from the one that waits. */
static void test_next_of_a_connection_that_was_replaced_attaches_nothing(void **state)
{
    (void)state;
    const struct asked_next asked = {.name = NAME, .wait_ms = 1000};
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_WAITING);
    struct client *client = bob.client;
    bob.client = NULL;
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);

    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_CLOSE);

    assert_int_equal(talk.core->shares.n_holds, 0);
    bob.client = client;
}

static void test_next_with_a_bad_reason_is_INVALID(void **state)
{
    (void)state;
    Kmem__Next next = KMEM__NEXT__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    uint8_t name[] = NAME;
    uint8_t reason[] = {0xc3, '('};
    next.name = (ProtobufCBinaryData){sizeof(name) - 1, name};
    next.reason = (ProtobufCBinaryData){sizeof(reason), reason};
    request.body_case = KMEM__REQUEST__BODY_NEXT;
    request.next = &next;

    assert_int_equal(ask_request(&talk, &bob, &request), DISPATCH_OK);

    assert_error(&talk, INVALID, "UTF-8");
}

/* As if the server had come as far as the first of three, when the third goes. */
static void test_attach_of_many_that_comes_again_had_got_one_alone(void **state)
{
    (void)state;
    struct share_handle handles[3];
    uint32_t share_of_second;
    for (size_t i = 0; i < 3; i++) {
        handles[i] = share(&alice, allocate(&alice, 100));
    }
    talk.sequence = 1;
    assert_int_equal(ask_attach(&bob, handles, 3, false), DISPATCH_OK);
    struct shares *shares = &talk.core->shares;
    assert_int_equal(shares_find(shares, &handles[1], &share_of_second), 0);
    shares_let_go(shares, shares_hold_of(shares, share_of_second, bob.client->slot));
    talk.sequence = 0;
    assert_true(let_go(&bob, handles[2].offset));
    assert_false(let_go(&alice, handles[2].offset));

    talk.sequence = 1;
    assert_int_equal(ask_attach(&bob, handles, 3, false), DISPATCH_OK);

    assert_error(&talk, STALE, "handle 3 of 3");
    assert_int_equal(shares->n_holds, 0);
    talk.sequence = 0;
}

/* As if there were so many, and no record was left behind the first of two. */
static void test_attach_when_no_hold_is_left_is_FULL(void **state)
{
    (void)state;
    struct shares *shares = &talk.core->shares;
    const struct share_handle handles[] = {share(&alice, allocate(&alice, 100)),
                                           share(&alice, allocate(&alice, 100))};
    shares->n_holds = HOLDS_MAX - 1;
    assert_int_equal(ask_attach(&bob, handles, 1, false), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FULL, "times a shared block is held, as many");
    shares->n_holds = 0;
    const uint32_t n_records = shares->n_hold_records;
    shares->n_hold_records = HOLDS_MAX;
    assert_int_equal(ask_attach(&bob, handles, 2, false), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FULL, "as many as can be");
    shares->n_hold_records = n_records;
    assert_int_equal(shares->n_holds, 0);
}

/* A hold that is offered, of a state file that is damaged: it never was its owner's. */
static void test_attach_of_a_hold_that_is_damaged_is_refused(void **state)
{
    (void)state;
    struct shares *shares = &talk.core->shares;
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_share(&alice, block, true), DISPATCH_OK);
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    attach(&bob, &handle);
    assert_int_equal(ask_transfer(&bob, block, false), DISPATCH_OK);
    const uint32_t share = shares_at(shares, (struct seg_off){block});
    const uint32_t hold = shares_hold_of(shares, share, bob.client->slot);
    shares->state->holds[hold].word &= ~(uint64_t)(HOLD_OWNER | HOLD_WRITE);

    const struct share_handle twice[] = {handle, handle};
    assert_int_equal(ask_attach(&bob, twice, 2, true), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
}

/* The number of the record is another share's by now. */
static void test_transfer_whose_record_is_anothers_has_its_handle(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    talk.sequence = 0;
    attach(&bob, &handle);
    assert_false(let_go(&bob, block));
    const uint64_t other = allocate(&carol, 100);
    const struct share_handle later = share(&carol, other);
    assert_int_not_equal(later.generation, handle.generation);

    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);

    const struct share_handle gone = said_handle();
    assert_int_equal(gone.generation, handle.generation);
    talk.sequence = 0;
}

static void test_transfer_of_a_block_of_another_is_FOREIGN(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);

    assert_int_equal(ask_transfer(&bob, block, false), DISPATCH_OK);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FOREIGN, "");
}

static void test_next_when_no_hold_is_left_is_FULL(void **state)
{
    (void)state;
    struct shares *shares = &talk.core->shares;
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    const uint32_t n_records = shares->n_hold_records;
    shares->n_hold_records = HOLDS_MAX;
    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = NAME}), DISPATCH_OK);
    shares->n_hold_records = n_records;

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FULL, "as many as can be");
    assert_int_equal(talk.core->state.counters->attaches_refused, 1);
}

static void test_next_without_a_reason_attaches(void **state)
{
    (void)state;
    Kmem__Next next = KMEM__NEXT__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    uint8_t name[] = NAME;
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, 0);
    next.name = (ProtobufCBinaryData){sizeof(name) - 1, name};
    request.body_case = KMEM__REQUEST__BODY_NEXT;
    request.next = &next;

    assert_int_equal(ask_request(&talk, &bob, &request), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(talk.reply->response.nexted->block->offset, block);
}

/* It holds it, but its owner never was. */
static void test_attach_for_writing_of_who_reads_already_is_DENIED(void **state)
{
    (void)state;
    assert_int_equal(ask_share(&alice, allocate(&alice, 100), true), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    attach(&bob, &handle);
    assert_int_equal(ask_attach(&bob, &handle, 1, true), DISPATCH_OK);
    assert_error(&talk, DENIED, "for reading only");
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_transfer_when_no_record_is_left_has_its_handle),
        TALK_TEST(test_next_when_no_record_is_left_looks_anew),
        TALK_TEST(test_next_of_what_is_for_reading_only_is_refused_again),
        TALK_TEST(test_next_for_writing_of_a_reader_is_refused_again),
        TALK_TEST(test_next_for_writing_stays_writable_when_it_comes_again),
        TALK_TEST(test_next_of_a_block_held_on_has_kept_it_though_its_name_has_gone_on),
        TALK_TEST(test_next_of_a_slot_that_is_anothers_by_now_attaches_nothing),
        TALK_TEST(test_next_of_a_connection_that_was_replaced_attaches_nothing),
        TALK_TEST(test_next_with_a_bad_reason_is_INVALID),
        TALK_TEST(test_attach_of_many_that_comes_again_had_got_one_alone),
        TALK_TEST(test_attach_when_no_hold_is_left_is_FULL),
        TALK_TEST(test_attach_of_a_hold_that_is_damaged_is_refused),
        TALK_TEST(test_transfer_whose_record_is_anothers_has_its_handle),
        TALK_TEST(test_transfer_of_a_block_of_another_is_FOREIGN),
        TALK_TEST(test_next_when_no_hold_is_left_is_FULL),
        TALK_TEST(test_next_without_a_reason_attaches),
        TALK_TEST(test_attach_for_writing_of_who_reads_already_is_DENIED),
    };
    return cmocka_run_group_tests_name("dispatch_again", tests, NULL, NULL);
}
