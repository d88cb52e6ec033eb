/* SPDX-License-Identifier: MIT */
/*
 * test_readers.c - who reads behind a wall, who is let in, and what a reader is answered
 *
 * fixture_identity() gives process `pid` the user 1000 + pid % 3.
 */
#include "daemon/core/readers.h"
#include "proto/limits.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define DENIED KMEM__ERROR_CODE__ERROR_DENIED
#define NAME "camera0/latest"

/* Of the users of alice, bob and carol, and a user of whom there is no member. */
#define USER_OF(pid) (1000 + (pid) % 3)
#define NO_MEMBER 1003

static struct peer reader;

static int reader_teardown(void **state)
{
    peer_close(&talk, &reader);
    return share_talk_teardown(state);
}

/* A process of this user says Hello. Return: the outcome. */
static int say_hello(uint32_t pid, uint32_t uid, Kmem__Role role)
{
    peer_open(&reader, pid);
    reader.identity.uid = uid;
    return ask_hello(&talk, &reader, PROTOCOL_VERSION, (int)role);
}

static int read_as(uint32_t uid)
{
    return say_hello(10, uid, KMEM__ROLE__ROLE_READER);
}

static bool is_walled(uint32_t uid)
{
    return readers_are_walled(&talk.core->clients, uid);
}

/* ------------------------------------------------------------------------------- the wall -- */

static void test_readers_are_walled_unless_root_the_daemons_user_or_a_members(void **state)
{
    talk.core->clients.kept->identity.uid = 77; /* the daemon's */
    assert_true(is_walled(NO_MEMBER));
    assert_false(is_walled(0));
    assert_false(is_walled(77));
    assert_false(is_walled(USER_OF(1)));
    assert_false(is_walled(USER_OF(2)));

    assert_int_equal(read_as(NO_MEMBER), DISPATCH_JOINED);
    assert_true(is_walled(NO_MEMBER)); /* a reader is no member */
    fixture_end(&talk.fixture, bob.client, false);
    bob.client = NULL;
    assert_true(is_walled(USER_OF(2)));
}

static void test_welcome_says_whether_a_reader_is_walled(void **state)
{
    assert_int_equal(read_as(NO_MEMBER), DISPATCH_JOINED);
    assert_true(talk.reply->response.welcome->walled);
    assert_int_equal(talk.reply->response.welcome->n_descriptors, WELCOME_DESCRIPTORS);
    assert_int_equal(reader.role, PEER_READER);
    peer_close(&talk, &reader);
    assert_int_equal(say_hello(11, USER_OF(1), KMEM__ROLE__ROLE_READER), DISPATCH_JOINED);
    assert_false(talk.reply->response.welcome->walled);
    peer_close(&talk, &reader);
    assert_int_equal(say_hello(12, NO_MEMBER + 1, KMEM__ROLE__ROLE_MEMBER), DISPATCH_JOINED);
    assert_false(talk.reply->response.welcome->walled); /* it is none */
}

/* What the report says of the process. */
static const Kmem__Client *row_of(uint32_t pid)
{
    int outcome = ask_clients(&talk, &alice, 0);
    while (outcome == DISPATCH_PENDING) {
        outcome = ask_continue(&talk, &alice);
    }
    assert_body(&talk, KMEM__RESPONSE__BODY_CLIENTS);
    const Kmem__ClientsReport *report = talk.reply->response.clients;
    for (size_t i = 0; i < report->n_clients; i++) {
        if (report->clients[i]->pid == pid) {
            return report->clients[i];
        }
    }
    fail_msg("process %u is no client", pid);
    return NULL;
}

static void test_report_of_clients_says_who_reads_and_is_walled_now(void **state)
{
    struct peer member;
    assert_false(row_of(1)->reader);
    assert_false(row_of(1)->walled);
    assert_int_equal(read_as(NO_MEMBER), DISPATCH_JOINED);
    assert_true(row_of(10)->reader);
    assert_true(row_of(10)->walled);

    peer_open(&member, 11); /* breaks the wall: --readers=any */
    member.identity.uid = NO_MEMBER;
    assert_int_equal(ask_hello(&talk, &member, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_JOINED);
    assert_true(row_of(10)->reader);
    assert_false(row_of(10)->walled);
    assert_false(row_of(11)->reader);
    peer_close(&talk, &member);
}

/* --------------------------------------------------------------------------- who may join -- */

static void test_readers_none_lets_no_reader_in(void **state)
{
    talk.core->config.readers = READERS_NONE;
    assert_int_equal(read_as(NO_MEMBER), DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "kmemd was started with --readers=none; join as a member");
    assert_int_equal(talk.core->clients.n_live, 3);
    assert_int_equal(say_hello(11, NO_MEMBER, KMEM__ROLE__ROLE_MEMBER), DISPATCH_JOINED);
}

static void test_readers_walled_refuses_a_reader_without_a_wall(void **state)
{
    talk.core->config.readers = READERS_WALLED;
    assert_int_equal(read_as(USER_OF(1)), DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "a reader of user 1001 has no wall in segment");
    assert_int_equal(read_as(0), DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "run the reader as another user");
    assert_int_equal(talk.core->clients.n_live, 3);
    assert_int_equal(read_as(NO_MEMBER), DISPATCH_JOINED);
    assert_true(talk.reply->response.welcome->walled);
}

static void test_readers_walled_refuses_a_member_that_would_break_a_wall(void **state)
{
    struct peer member;
    talk.core->config.readers = READERS_WALLED;
    assert_int_equal(read_as(NO_MEMBER), DISPATCH_JOINED);

    peer_open(&member, 11);
    member.identity.uid = NO_MEMBER;
    assert_int_equal(ask_hello(&talk, &member, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "whose wall a member of the same user would break");
    assert_true(row_of(10)->walled);

    fixture_end(&talk.fixture, reader.client, false);
    reader.client = NULL;
    peer_open(&member, 11);
    member.identity.uid = NO_MEMBER;
    assert_int_equal(ask_hello(&talk, &member, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_JOINED);
    peer_close(&talk, &member);
}

/* It had joined before the daemon was started anew with --readers=walled. */
static void test_readers_walled_lets_members_join_readers_without_a_wall(void **state)
{
    struct peer member;
    assert_int_equal(read_as(USER_OF(1)), DISPATCH_JOINED);
    talk.core->config.readers = READERS_WALLED;
    peer_open(&member, 4); /* of alice's user */
    assert_int_equal(ask_hello(&talk, &member, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_JOINED);
    peer_close(&talk, &member);
}

static void test_one_of_the_reader_group_may_read_and_nothing_else(void **state)
{
    peer_open(&reader, 10);
    reader.may_be = ROLE_READER | ROLE_OBSERVER;
    assert_int_equal(ask_hello(&talk, &reader, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_CLOSE);
    assert_error(&talk, DENIED,
                 "for reading only, by --reader-group or reader-users; set KMEM_ROLE=");
    peer_open(&reader, 10);
    reader.may_be = ROLE_READER | ROLE_OBSERVER;
    assert_int_equal(ask_hello(&talk, &reader, PROTOCOL_VERSION, KMEM__ROLE__ROLE_READER),
                     DISPATCH_JOINED);
}

/* ------------------------------------------------------------------------- what it may do -- */

static int reader_setup(void **state)
{
    (void)share_talk_setup(state);
    assert_int_equal(read_as(NO_MEMBER), DISPATCH_JOINED);
    (void)fixture_ledger(&talk.fixture, reader.client);
    return 0;
}

static void test_reader_attaches_holds_and_releases(void **state)
{
    const uint64_t block = allocate(&alice, 1000);
    const struct share_handle handle = share(&alice, block);
    attach(&reader, &handle);
    assert_false(talk.reply->response.attached->blocks[0]->is_writable);
    assert_true(let_go(&alice, block));
    assert_int_equal(reader.client->n_blocks, 1); /* it is charged to the last holder */
    assert_int_equal(core_check(talk.core), 0);
    assert_int_equal(ask_size_of(&talk, &reader, block), DISPATCH_OK);
    assert_false(let_go(&reader, block));
    assert_int_equal(talk.core->direct.n_blocks, 0);
}

static void test_reader_follows_a_name(void **state)
{
    const uint64_t first = allocate(&alice, 1000);
    const uint64_t version = publish(&alice, first, NAME, GIVE);
    assert_int_equal(ask_next(&reader, &(struct asked_next){.name = NAME}), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(talk.reply->response.nexted->version, version);
    assert_int_equal(
        ask_next(&reader,
                 &(struct asked_next){.name = NAME, .after = version, .release_offset = first}),
        DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_OLD, "");
    assert_non_null(talk.reply->response.error->released);
}

static void test_reader_can_not_attach_for_writing(void **state)
{
    const uint64_t block = allocate(&alice, 1000);
    const struct share_handle handle = share(&alice, block);
    assert_int_equal(ask_attach(&reader, &handle, 1, true), DISPATCH_OK);
    assert_error(&talk, DENIED, "has joined as a reader, and can not attach the block");
    (void)publish(&alice, block, NAME, 0);
    assert_int_equal(ask_next(&reader, &(struct asked_next){.name = NAME, .write = true}),
                     DISPATCH_OK);
    assert_error(&talk, DENIED, "attach it for reading, or join as a member");
    assert_int_equal(shares_held_first(&talk.core->shares, reader.client->slot), 0);
    /* Nor by asking again for what it holds. */
    attach(&reader, &handle);
    assert_int_equal(ask_attach(&reader, &handle, 1, true), DISPATCH_OK);
    assert_error(&talk, DENIED, "has joined as a reader");
    /* Nor by a Next that lets go of it, and does. */
    const struct asked_next asked = {.name = NAME, .release_offset = block, .write = true};
    assert_int_equal(ask_next(&reader, &asked), DISPATCH_OK);
    assert_error(&talk, DENIED, "attach it for reading, or join as a member");
    assert_true(talk.reply->response.error->released->kept); /* by the name */
    assert_int_equal(shares_held_first(&talk.core->shares, reader.client->slot), 0);
    /* Nor as if it had asked for that before. */
    talk.sequence = 1;
    assert_int_equal(ask_next(&reader, &(struct asked_next){.name = NAME}), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(ask_next(&reader, &(struct asked_next){.name = NAME, .write = true}),
                     DISPATCH_OK);
    assert_error(&talk, DENIED, "attach it for reading, or join as a member");
    talk.sequence = 0;
}

static void test_reader_is_not_handed_a_block_over(void **state)
{
    const uint64_t block = allocate(&alice, 1000);
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    assert_int_equal(ask_attach(&reader, &handle, 1, false), DISPATCH_OK);
    assert_error(&talk, DENIED, "then owns it, and a reader owns none");
    assert_int_equal(alice.client->n_blocks, 1);
    attach(&bob, &handle); /* it is offered still */
    assert_true(talk.reply->response.attached->blocks[0]->is_writable);
}

static void test_reader_comes_back_as_a_reader_alone(void **state)
{
    const uint64_t block = allocate(&alice, 1000);
    const struct share_handle handle = share(&alice, block);
    attach(&reader, &handle);
    const struct client *client = reader.client;
    peer_close(&talk, &reader);

    peer_open(&reader, 10);
    reader.identity.uid = NO_MEMBER;
    assert_int_equal(ask_resume(&talk, &reader, FIXTURE_NONCE(10)), DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "has another nonce, or another role");
    assert_int_equal(client->client_state, CLIENT_LIVE);

    peer_open(&reader, 10);
    reader.identity.uid = NO_MEMBER;
    assert_int_equal(
        ask_request(&talk, &reader,
                    request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_READER, FIXTURE_NONCE(10))),
        DISPATCH_JOINED);
    assert_true(talk.reply->response.welcome->resumed);
    assert_ptr_equal(reader.client, client);
    assert_int_equal(reader.role, PEER_READER);
    assert_int_equal(ask_allocate(&talk, &reader, 100, "x", 1), DISPATCH_OK);
    assert_error(&talk, DENIED, "as a reader");
}

static void test_reader_is_one_for_the_next_server(void **state)
{
    const uint64_t block = allocate(&alice, 1000);
    const struct share_handle handle = share(&alice, block);
    attach(&reader, &handle);
    peer_close(&talk, &reader);
    share_talk_restart();
    const struct client *client = clients_next(&talk.core->clients, 3);
    assert_non_null(client);
    assert_true(client->identity.is_reader);
    assert_int_not_equal(shares_held_first(&talk.core->shares, client->slot), 0);
    for (uint32_t slot = 0; slot < 3; slot++) {
        assert_false(clients_get(&talk.core->clients, slot)->identity.is_reader);
    }
    peer_open(&reader, 10);
    reader.identity.uid = NO_MEMBER;
    assert_int_equal(ask_resume(&talk, &reader, FIXTURE_NONCE(10)), DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "another role");
    assert_true(row_of(10)->walled);
}

#define READERS_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, reader_teardown)
#define READER_TEST(test) cmocka_unit_test_setup_teardown(test, reader_setup, reader_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READERS_TEST(test_readers_are_walled_unless_root_the_daemons_user_or_a_members),
        READERS_TEST(test_welcome_says_whether_a_reader_is_walled),
        READERS_TEST(test_report_of_clients_says_who_reads_and_is_walled_now),
        READERS_TEST(test_readers_none_lets_no_reader_in),
        READERS_TEST(test_readers_walled_refuses_a_reader_without_a_wall),
        READERS_TEST(test_readers_walled_refuses_a_member_that_would_break_a_wall),
        READERS_TEST(test_readers_walled_lets_members_join_readers_without_a_wall),
        READERS_TEST(test_one_of_the_reader_group_may_read_and_nothing_else),
        READER_TEST(test_reader_attaches_holds_and_releases),
        READER_TEST(test_reader_follows_a_name),
        READER_TEST(test_reader_can_not_attach_for_writing),
        READER_TEST(test_reader_is_not_handed_a_block_over),
        READER_TEST(test_reader_comes_back_as_a_reader_alone),
        READER_TEST(test_reader_is_one_for_the_next_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
