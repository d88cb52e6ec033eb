/* SPDX-License-Identifier: MIT */
/*
 * test_replay.c - clients that come back: to the same server, and to the next one
 *
 * What is asked for again with the same sequence number happens once, whatever became of the first
 * answer.
 */
#include <string.h>

#include "proto/lease.h"
#include "daemon/core/handshake.h"
#include "proto/limits.h"
#include "tests/unit/conversation.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define LIMIT 3
#define MEMBER KMEM__ROLE__ROLE_MEMBER
#define INVALID KMEM__ERROR_CODE__ERROR_INVALID

static int talk_setup(void **state)
{
    talk_begin(N_PAGES, LIMIT);
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_ledger(&talk.fixture, bob.client);
    return 0;
}

/* Return: the offset. */
static uint64_t allocate(struct peer *member, uint64_t sequence, uint64_t num_bytes)
{
    talk.sequence = sequence;
    assert_int_equal(ask_allocate(&talk, member, num_bytes, "why", 3), DISPATCH_OK);
    return talk_offset();
}

static void release(struct peer *member, uint64_t sequence, uint64_t offset)
{
    talk.sequence = sequence;
    assert_int_equal(ask_release(&talk, member, offset), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_RELEASED);
}

/* Return: the first page. */
static uint32_t lease(struct peer *member, uint64_t sequence, uint32_t n_pages)
{
    talk.sequence = sequence;
    assert_int_equal(ask_lease(&talk, member, n_pages, n_pages), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_int_equal(talk.reply->response.leased->n_pages, n_pages);
    return talk.reply->response.leased->page;
}

static void come_back(struct peer *member, uint32_t pid)
{
    const uint64_t nonce = FIXTURE_NONCE(pid);
    peer_open(member, pid);
    talk.sequence = 0;
    assert_int_equal(ask_resume(&talk, member, nonce), DISPATCH_JOINED);
    assert_true(talk.reply->response.welcome->resumed);
}

/* The server is killed and the next one begins; both come back. */
static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&talk.fixture, why), 0);
    come_back(&alice, 1);
    come_back(&bob, 2);
}

/* ----------------------------------------------------------------------------------- Hello ---- */

static void test_hello_with_another_nonce_is_DENIED(void **state)
{
    struct peer again;
    peer_open(&again, 1);

    assert_int_equal(ask_resume(&talk, &again, alice.client->nonce + 1), DISPATCH_CLOSE);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_DENIED, "another nonce");
}

static void test_hello_with_the_nonce_of_nobody_is_GONE(void **state)
{
    struct peer stranger;
    peer_open(&stranger, 77);

    assert_int_equal(ask_resume(&talk, &stranger, 5), DISPATCH_CLOSE);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_GONE, "no client");
}

static void test_hello_without_nonce_takes_nothing_from_an_open_connection(void **state)
{
    (void)allocate(&alice, 1, 100);
    struct peer again;
    peer_open(&again, 1);

    assert_int_equal(ask_hello(&talk, &again, PROTOCOL_VERSION, MEMBER), DISPATCH_CLOSE);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "another connection");
    assert_int_equal(alice.client->n_blocks, 1);
}

static void test_hello_after_a_restart_finds_what_the_client_holds(void **state)
{
    (void)allocate(&alice, 1, 100);
    (void)allocate(&alice, 2, 200);
    (void)lease(&alice, 3, 4);

    restart();
    come_back(&alice, 1);

    assert_int_equal(talk.reply->response.welcome->slot, alice.client->slot);
    assert_int_equal(alice.client->n_blocks, 2);
    assert_int_equal(alice.client->num_bytes, 300);
    assert_int_equal(alice.client->leased_pages, 4);
    assert_int_equal(alice.client->sequence, 3);
}

/* Whose roll-ups it keeps is known as before: it does not keep them as root. */
static void test_hello_on_the_way_back_is_of_the_same_process(void **state)
{
    struct peer again = {.role = PEER_UNKNOWN};
    const Kmem__Request *request = request_hello(NEW_REQUEST, MEMBER, alice.client->nonce);

    assert_int_equal(hello_return(talk.core, alice.client->slot, request, &again, talk.reply),
                     DISPATCH_JOINED);

    assert_ptr_equal(again.client, alice.client);
    assert_int_equal(again.reader.uid, alice.reader.uid);
    assert_int_equal(again.reader.pid, alice.reader.pid);
    assert_int_not_equal(again.reader.pid, 0);
}

/* --------------------------------------------------------------------- sequence numbers ---- */

static void test_allocate_with_the_same_sequence_is_the_same_block(void **state)
{
    const uint64_t offset = allocate(&alice, 1, 100);

    assert_int_equal(allocate(&alice, 1, 100), offset);

    assert_int_equal(alice.client->n_blocks, 1);
    assert_int_not_equal(allocate(&alice, 2, 100), offset);
}

static void test_allocate_with_the_same_sequence_after_a_restart_is_the_same_block(void **state)
{
    const uint64_t offset = allocate(&alice, 1, 100);

    restart();

    assert_int_equal(allocate(&alice, 1, 100), offset);
    assert_int_equal(alice.client->n_blocks, 1);
}

static void test_allocate_without_sequence_is_another_block(void **state)
{
    const uint64_t offset = allocate(&alice, 0, 100);

    assert_int_not_equal(allocate(&alice, 0, 100), offset);

    assert_int_equal(alice.client->n_blocks, 2);
}

static void test_allocate_whose_block_went_to_another_is_carved_anew(void **state)
{
    const uint64_t offset = allocate(&alice, 5, 100);
    /* As if the server had been killed between the intent and the block. */
    struct block block;
    assert_int_equal(
        direct_release(&talk.core->direct, alice.client, (struct seg_off){offset}, 0, &block), 0);
    assert_int_equal(allocate(&bob, 1, 100), offset);

    assert_int_not_equal(allocate(&alice, 5, 100), offset);

    assert_int_equal(alice.client->n_blocks, 1);
    assert_int_equal(bob.client->n_blocks, 1);
}

static void test_allocate_with_the_same_sequence_and_another_size_is_carved_anew(void **state)
{
    const uint64_t offset = allocate(&alice, 1, 100);

    assert_int_not_equal(allocate(&alice, 1, 101), offset);
}

static void test_allocate_that_was_refused_uses_up_nothing(void **state)
{
    talk.sequence = 1;
    assert_int_equal(ask_allocate(&talk, &alice, 0, "why", 3), DISPATCH_OK);
    assert_error(&talk, INVALID, "can not be allocated");

    (void)allocate(&alice, 1, 100);

    assert_int_equal(alice.client->n_blocks, 1);
}

static void test_release_with_the_same_sequence_is_released(void **state)
{
    const uint64_t offset = allocate(&alice, 1, 100);
    const uint64_t n_misuses = talk.core->state.counters->misuses;
    release(&alice, 2, offset);

    release(&alice, 2, offset);
    assert_int_equal(talk.reply->response.released->num_bytes, 0); /* not known any more */
    restart();
    release(&alice, 2, offset);
    assert_int_equal(talk.reply->response.released->num_bytes, 0);

    assert_int_equal(alice.client->n_blocks, 0);
    assert_true(talk.core->state.counters->misuses <= n_misuses);
}

static void test_release_of_another_block_with_the_same_sequence_is_no_repetition(void **state)
{
    const uint64_t offset = allocate(&alice, 1, 100);
    release(&alice, 2, offset);

    assert_int_equal(ask_release(&talk, &alice, offset + 16 * PAGE_BYTES), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
}

static void test_release_with_the_same_sequence_takes_nothing_from_the_next_holder(void **state)
{
    const uint64_t offset = allocate(&alice, 1, 100);
    release(&alice, 2, offset);
    assert_int_equal(allocate(&bob, 1, 100), offset);

    release(&alice, 2, offset);

    assert_int_equal(talk.reply->response.released->num_bytes, 0); /* nor told how large it is */
    assert_int_equal(bob.client->n_blocks, 1);
}

static void test_release_twice_with_two_sequences_is_RELEASED(void **state)
{
    const uint64_t kept = allocate(&alice, 1, 100);
    const uint64_t offset = allocate(&alice, 2, 100);
    release(&alice, 3, offset);

    talk.sequence = 4;
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_RELEASED, "released already");
    release(&alice, 4, kept);
}

static void test_lease_with_the_same_sequence_is_the_same_lease(void **state)
{
    const uint32_t page = lease(&alice, 1, 4);

    assert_int_equal(lease(&alice, 1, 4), page);
    restart();
    assert_int_equal(lease(&alice, 1, 4), page);

    assert_int_equal(alice.client->leased_pages, 4);
}

static void test_lease_of_which_a_part_was_revoked_is_granted_anew(void **state)
{
    const uint32_t page = lease(&alice, 1, 4);
    assert_int_equal(leases_return(&talk.core->leases, alice.client, page + 1, page + 2), 1);

    (void)lease(&alice, 1, 4);

    assert_int_equal(alice.client->leased_pages, 4);
}

static void test_lease_whose_pages_are_anothers_by_now_is_granted_anew(void **state)
{
    const uint32_t page = lease(&alice, 1, 4);
    (void)leases_return(&talk.core->leases, alice.client, page, page + 4);
    assert_int_equal(lease(&bob, 1, 4), page);
    assert_int_not_equal(lease(&alice, 1, 4), page);
    assert_int_equal(bob.client->leased_pages, 4);
}

/* Of a state file that is damaged. */
static void test_lease_that_was_to_be_behind_the_end_is_granted_anew(void **state)
{
    const struct intent nowhere = {.kind = INTENT_LEASE, .n_pages = 4, .at = UINT32_MAX};
    clients_intend(&talk.core->clients, alice.client->slot, 1, &nowhere);
    (void)lease(&alice, 1, 4);
}

static void test_a_sequence_that_is_past_is_INVALID(void **state)
{
    (void)allocate(&alice, 7, 100);

    talk.sequence = 6;
    assert_int_equal(ask_allocate(&talk, &alice, 100, "why", 3), DISPATCH_OK);

    assert_error(&talk, INVALID, "comes after 7");
    assert_int_equal(alice.client->n_blocks, 1);
}

#define TALK_TEST(function) cmocka_unit_test_setup_teardown(function, talk_setup, talk_teardown)

static int return_as(struct peer *peer, uint32_t slot, Kmem__Request *request)
{
    return hello_return(talk.core, slot, request, peer, talk.reply);
}

static void test_hello_on_the_way_back_is_a_clients_own(void **state)
{
    struct peer again;
    Kmem__Hello hello = KMEM__HELLO__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    hello.version = PROTOCOL_VERSION;
    hello.resume_nonce = alice.client->nonce;
    hello.role = KMEM__ROLE__ROLE_OBSERVER;
    request.hello = &hello;
    const uint32_t slot = alice.client->slot;

    assert_int_equal(return_as(&again, slot, NULL), DISPATCH_CLOSE);
    request.body_case = KMEM__REQUEST__BODY_USAGE;
    assert_int_equal(return_as(&again, slot, &request), DISPATCH_CLOSE);
    request.body_case = KMEM__REQUEST__BODY_HELLO;
    assert_int_equal(return_as(&again, slot, &request), DISPATCH_CLOSE);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_PROTOCOL, "as a member or a reader");
    hello.role = KMEM__ROLE__ROLE_MEMBER;
    hello.version = 0;
    assert_int_equal(return_as(&again, slot, &request), DISPATCH_CLOSE);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_VERSION, "");
    hello.version = PROTOCOL_VERSION;
    hello.role = KMEM__ROLE__ROLE_READER;
    assert_int_equal(return_as(&again, slot, &request), DISPATCH_CLOSE);
    hello.role = KMEM__ROLE__ROLE_MEMBER;
    assert_int_equal(return_as(&again, slot + 40, &request), DISPATCH_CLOSE);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_GONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_hello_with_another_nonce_is_DENIED),
        TALK_TEST(test_hello_with_the_nonce_of_nobody_is_GONE),
        TALK_TEST(test_hello_without_nonce_takes_nothing_from_an_open_connection),
        TALK_TEST(test_hello_after_a_restart_finds_what_the_client_holds),
        TALK_TEST(test_hello_on_the_way_back_is_of_the_same_process),
        TALK_TEST(test_allocate_with_the_same_sequence_is_the_same_block),
        TALK_TEST(test_allocate_with_the_same_sequence_after_a_restart_is_the_same_block),
        TALK_TEST(test_allocate_without_sequence_is_another_block),
        TALK_TEST(test_allocate_whose_block_went_to_another_is_carved_anew),
        TALK_TEST(test_allocate_with_the_same_sequence_and_another_size_is_carved_anew),
        TALK_TEST(test_allocate_that_was_refused_uses_up_nothing),
        TALK_TEST(test_release_with_the_same_sequence_is_released),
        TALK_TEST(test_release_of_another_block_with_the_same_sequence_is_no_repetition),
        TALK_TEST(test_release_with_the_same_sequence_takes_nothing_from_the_next_holder),
        TALK_TEST(test_release_twice_with_two_sequences_is_RELEASED),
        TALK_TEST(test_lease_with_the_same_sequence_is_the_same_lease),
        TALK_TEST(test_lease_of_which_a_part_was_revoked_is_granted_anew),
        TALK_TEST(test_lease_whose_pages_are_anothers_by_now_is_granted_anew),
        TALK_TEST(test_lease_that_was_to_be_behind_the_end_is_granted_anew),
        TALK_TEST(test_a_sequence_that_is_past_is_INVALID),
        TALK_TEST(test_hello_on_the_way_back_is_a_clients_own),
    };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
