/* SPDX-License-Identifier: MIT */
/*
 * test_roles.c - what a process may be, by its user and groups, and what a Hello makes of it
 */
#include <string.h>

#include "daemon/core/report.h"
#include "daemon/core/roles.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define DENIED KMEM__ERROR_CODE__ERROR_DENIED
#define INVALID KMEM__ERROR_CODE__ERROR_INVALID

#define OWNER 500
#define ALICE 1000
#define BOB 1001
#define VIDEO 44
#define AUDIO 45

#define MEMBER (ROLE_MEMBER | ROLE_READER | ROLE_OBSERVER)
#define READER (ROLE_READER | ROLE_OBSERVER)
#define ADMIN (ROLE_ADMIN | ROLE_OBSERVER)

static struct roles roles;

static int roles_setup(void **state)
{
    roles = (struct roles){.owner_uid = OWNER};
    return 0;
}

static void name_user(enum role_list list, uint32_t uid)
{
    assert_int_equal(roles_add(&roles, list, (struct principal){false, uid}), 0);
}

static void name_group(enum role_list list, uint32_t gid)
{
    assert_int_equal(roles_add(&roles, list, (struct principal){true, gid}), 0);
}

static unsigned roles_with(uint32_t uid, uint32_t gid, const uint32_t *groups, size_t n_groups)
{
    return roles_of(&roles, &(struct roles_peer){uid, gid, groups, n_groups});
}

static unsigned roles_as(uint32_t uid)
{
    return roles_with(uid, uid, NULL, 0);
}

static void test_roles_of_root_and_the_daemons_user_are_all(void **state)
{
    assert_int_equal(roles_as(0), ROLES_ALL);
    assert_int_equal(roles_as(OWNER), ROLES_ALL);
    assert_int_equal(roles_as(ALICE), 0);
    assert_int_equal(roles_with(ALICE, 0, NULL, 0), 0); /* root's group is not root */
}

static void test_roles_of_a_user_are_those_of_its_lists(void **state)
{
    name_user(ROLES_MEMBERS, ALICE);
    name_user(ROLES_READERS, BOB);
    name_user(ROLES_OBSERVERS, 7);
    name_user(ROLES_ADMINS, 8);

    assert_int_equal(roles_as(ALICE), MEMBER);
    assert_int_equal(roles_as(BOB), READER);
    assert_int_equal(roles_as(7), ROLE_OBSERVER);
    assert_int_equal(roles_as(8), ADMIN);
    assert_int_equal(roles_as(9), 0);
    name_user(ROLES_ADMINS, ALICE);
    assert_int_equal(roles_as(ALICE), MEMBER | ROLE_ADMIN);
}

static void test_roles_of_a_group_are_its_members_by_any_of_their_groups(void **state)
{
    const uint32_t groups[] = {3, VIDEO, 5};
    name_group(ROLES_MEMBERS, VIDEO);
    name_group(ROLES_OBSERVERS, AUDIO);

    assert_int_equal(roles_with(ALICE, VIDEO, NULL, 0), MEMBER);
    assert_int_equal(roles_with(ALICE, 100, groups, 3), MEMBER);
    assert_int_equal(roles_with(ALICE, 100, groups, 1), 0);
    assert_int_equal(roles_with(ALICE, AUDIO, groups, 1), ROLE_OBSERVER);
    assert_int_equal(roles_with(ALICE, AUDIO, groups, 2), MEMBER);
}

/* A user's number is no group's, nor the other way round. */
static void test_roles_tell_users_from_groups(void **state)
{
    name_user(ROLES_MEMBERS, ALICE);
    name_group(ROLES_READERS, BOB);

    assert_int_equal(roles_with(7, ALICE, NULL, 0), 0);
    assert_int_equal(roles_with(BOB, 7, NULL, 0), 0);
}

static void test_roles_of_users_and_groups_without_a_number_here_are_none(void **state)
{
    const uint32_t groups[] = {OVERFLOW_ID};
    name_user(ROLES_MEMBERS, OVERFLOW_ID);
    name_group(ROLES_MEMBERS, OVERFLOW_ID);
    name_group(ROLES_READERS, VIDEO);

    assert_int_equal(roles_as(OVERFLOW_ID), 0);
    assert_int_equal(roles_with(OVERFLOW_ID, VIDEO, NULL, 0), 0);
    assert_int_equal(roles_with(ALICE, OVERFLOW_ID, groups, 1), 0);
    roles.owner_uid = OVERFLOW_ID; /* a daemon of that user serves that user */
    assert_int_equal(roles_as(OVERFLOW_ID), ROLES_ALL);
}

static void test_roles_add_to_a_full_list_is_FULL(void **state)
{
    for (uint32_t i = 0; i < PRINCIPALS_MAX; i++) {
        name_user(ROLES_MEMBERS, 10000 + i);
    }
    assert_int_equal(roles_add(&roles, ROLES_MEMBERS, (struct principal){false, ALICE}),
                     ROLES_E_FULL);
    assert_int_equal(roles_as(10000 + PRINCIPALS_MAX - 1), MEMBER);
    assert_int_equal(roles_as(ALICE), 0);
    name_user(ROLES_READERS, ALICE);
}

/* ----------------------------------------------------------------------------------- Hello ---- */

static struct peer peer;

static int hello_as(unsigned may_be, Kmem__Role role)
{
    peer_open(&peer, 10);
    peer.may_be = may_be;
    return ask_hello(&talk, &peer, PROTOCOL_VERSION, (int)role);
}

/* What it is then leaves again. */
static void assert_hello(unsigned may_be, Kmem__Role role, int outcome)
{
    assert_int_equal(hello_as(may_be, role), outcome);
    if (peer.client) {
        fixture_end(&talk.fixture, peer.client, true);
        peer.client = NULL;
    }
    peer_close(&talk, &peer);
}

static void test_hello_is_welcome_in_each_role_that_it_has(void **state)
{
    assert_hello(MEMBER, KMEM__ROLE__ROLE_MEMBER, DISPATCH_JOINED);
    assert_hello(MEMBER, KMEM__ROLE__ROLE_READER, DISPATCH_JOINED);
    assert_hello(MEMBER, KMEM__ROLE__ROLE_OBSERVER, DISPATCH_OK);
    assert_hello(READER, KMEM__ROLE__ROLE_READER, DISPATCH_JOINED);
    assert_hello(READER, KMEM__ROLE__ROLE_OBSERVER, DISPATCH_OK);
    assert_hello(ADMIN, KMEM__ROLE__ROLE_OBSERVER, DISPATCH_OK);
    assert_hello(ROLE_OBSERVER, KMEM__ROLE__ROLE_OBSERVER, DISPATCH_OK);
}

static void test_hello_of_a_reader_as_a_member_is_DENIED(void **state)
{
    assert_hello(READER, KMEM__ROLE__ROLE_MEMBER, DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "may join segment \"" FIXTURE_NAME "\" for reading only");
    assert_error(&talk, DENIED, "members name those that may allocate");
}

static void test_hello_of_an_observer_as_anything_else_is_DENIED(void **state)
{
    assert_hello(ROLE_OBSERVER, KMEM__ROLE__ROLE_MEMBER, DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "is an observer of segment \"" FIXTURE_NAME "\"");
    assert_error(&talk, DENIED, "--group and members those that may allocate");
    assert_hello(ADMIN, KMEM__ROLE__ROLE_READER, DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "reader-users name those that may attach");
    assert_int_equal(talk.core->clients.n_live, 3);
}

static void test_hello_without_a_role_is_DENIED_in_each(void **state)
{
    assert_hello(0, KMEM__ROLE__ROLE_MEMBER, DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "has no role in segment \"" FIXTURE_NAME "\" any more");
    assert_hello(0, KMEM__ROLE__ROLE_READER, DISPATCH_CLOSE);
    assert_hello(0, KMEM__ROLE__ROLE_OBSERVER, DISPATCH_CLOSE);
    assert_error(&talk, DENIED, "has no role in segment \"" FIXTURE_NAME "\" any more");
}

/* It had joined when its user was named. */
static void test_hello_of_a_client_that_comes_back_needs_no_role(void **state)
{
    const uint64_t nonce = alice.client->nonce;
    const struct client_identity identity = alice.identity;
    peer_close(&talk, &alice);
    peer_init(&alice, &identity, 77);
    assert_int_equal(alice.may_be, 0);
    assert_int_equal(ask_resume(&talk, &alice, nonce), DISPATCH_JOINED);
    assert_true(talk.reply->response.welcome->resumed);
    assert_false(peer_may_administer(&alice));
}

static void test_peer_may_administer_as_an_admin_alone(void **state)
{
    peer_open(&peer, 10);
    assert_true(peer_may_administer(&peer));
    peer.may_be = ADMIN;
    assert_true(peer_may_administer(&peer));
    peer.may_be = MEMBER;
    assert_false(peer_may_administer(&peer));
    peer_close(&talk, &peer);
}

/* It speaks the protocol, and asks for what its role does not have: the connection goes on. */
static void test_administration_is_for_admins_alone(void **state)
{
    static const unsigned roles_without[] = {MEMBER, ROLE_OBSERVER};
    struct request request;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(hello_as(roles_without[i], KMEM__ROLE__ROLE_OBSERVER), DISPATCH_OK);
        assert_int_equal(
            ask_request(&talk, &peer, request_plain(&request, KMEM__REQUEST__BODY_RELOAD)),
            DISPATCH_OK);
        assert_error(&talk, DENIED, "is no admin of segment");
        peer_close(&talk, &peer);
    }
    assert_int_equal(hello_as(ADMIN, KMEM__ROLE__ROLE_OBSERVER), DISPATCH_OK);
    assert_int_equal(ask_request(&talk, &peer, request_plain(&request, KMEM__REQUEST__BODY_RELOAD)),
                     DISPATCH_OK);
    assert_error(&talk, INVALID, "there is no configuration"); /* but it may ask */
    peer_close(&talk, &peer);
}

static void test_more_copies_of_the_library_than_one_process_may_have_are_refused(void **state)
{
    struct peer copies[COPIES_MAX + 1];
    for (uint32_t i = 0; i <= COPIES_MAX; i++) {
        const struct client_identity identity = fixture_identity(40);
        peer_init(&copies[i], &identity, 1000 + i);
        copies[i].may_be = ROLES_ALL;
        Kmem__Hello hello = KMEM__HELLO__INIT;
        Kmem__Request request = KMEM__REQUEST__INIT;
        hello.version = PROTOCOL_VERSION;
        hello.role = KMEM__ROLE__ROLE_MEMBER;
        hello.program = 1;
        hello.copy = i + 1;
        request.body_case = KMEM__REQUEST__BODY_HELLO;
        request.hello = &hello;
        assert_int_equal(ask_request(&talk, &copies[i], &request),
                         i < COPIES_MAX ? DISPATCH_JOINED : DISPATCH_CLOSE);
    }
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_LIMIT, "copies of the library in this process");
    for (size_t i = 0; i <= COPIES_MAX; i++) {
        peer_close(&talk, &copies[i]);
    }
}

static void test_who_has_lost_its_ledger_is_told_so(void **state)
{
    report_join_refused(talk.core, CLIENTS_E_LOST, 0, talk.reply);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_GONE, "the ledger of this process was lost");
}

#define ROLES_TEST(test) cmocka_unit_test_setup(test, roles_setup)
#define HELLO_TEST(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROLES_TEST(test_roles_of_root_and_the_daemons_user_are_all),
        ROLES_TEST(test_roles_of_a_user_are_those_of_its_lists),
        ROLES_TEST(test_roles_of_a_group_are_its_members_by_any_of_their_groups),
        ROLES_TEST(test_roles_tell_users_from_groups),
        ROLES_TEST(test_roles_of_users_and_groups_without_a_number_here_are_none),
        ROLES_TEST(test_roles_add_to_a_full_list_is_FULL),
        HELLO_TEST(test_hello_is_welcome_in_each_role_that_it_has),
        HELLO_TEST(test_hello_of_a_reader_as_a_member_is_DENIED),
        HELLO_TEST(test_hello_of_an_observer_as_anything_else_is_DENIED),
        HELLO_TEST(test_hello_without_a_role_is_DENIED_in_each),
        HELLO_TEST(test_hello_of_a_client_that_comes_back_needs_no_role),
        HELLO_TEST(test_peer_may_administer_as_an_admin_alone),
        HELLO_TEST(test_administration_is_for_admins_alone),
        HELLO_TEST(test_more_copies_of_the_library_than_one_process_may_have_are_refused),
        HELLO_TEST(test_who_has_lost_its_ledger_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
