/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_roles.c - every number that a request can have, asked in every role
 *
 * The numbers come from the protocol's own description, and from around it: a request that is new
 * there fails these tests until it is decided, here too, which roles may ask it.
 */
#include <limits.h>
#include <string.h>

#include "proto/limits.h"
#include "tests/unit/conversation.h"
#include "tests/unit/unit.h"

#define N_PAGES 64
#define LIMIT 3
/* 64: twice what the protocol has numbers for, or has set aside. */
#define N_NUMBERS 64

static struct peer bystander;
static struct peer peer;

static int talk_setup(void **state)
{
    conversation_init(&talk, N_PAGES, LIMIT);
    peer_open_member(&talk, &bystander, 1);
    assert_int_equal(ask_allocate(&talk, &bystander, 100, "held", 4), DISPATCH_OK);
    return 0;
}

static int roles_teardown(void **state)
{
    peer_close(&talk, &bystander);
    conversation_fini(&talk);
    return 0;
}

static bool may_ask(enum peer_role role, int number)
{
    switch (number) {
    case KMEM__REQUEST__BODY_HELLO:
        return role == PEER_UNKNOWN;
    case KMEM__REQUEST__BODY_USAGE:
    case KMEM__REQUEST__BODY_LEDGER:
    case KMEM__REQUEST__BODY_BLOCKS:
    case KMEM__REQUEST__BODY_CLIENTS:
    case KMEM__REQUEST__BODY_OBITUARIES:
    case KMEM__REQUEST__BODY_HOLDERS:
    case KMEM__REQUEST__BODY_NAMES:
    case KMEM__REQUEST__BODY_REFUSALS:
    case KMEM__REQUEST__BODY_LIMITS:
    case KMEM__REQUEST__BODY_PAGES:
    case KMEM__REQUEST__BODY_AT:
    case KMEM__REQUEST__BODY_CHANGES:
    case KMEM__REQUEST__BODY_HISTORY:
    case KMEM__REQUEST__BODY_LIFETIMES:
    case KMEM__REQUEST__BODY_RELOAD:
    case KMEM__REQUEST__BODY_RESIZE:
        return role == PEER_OBSERVER || role == PEER_READER || role == PEER_MEMBER;
    case KMEM__REQUEST__BODY_WATCH:
        return role == PEER_OBSERVER;
    case KMEM__REQUEST__BODY_RELEASE:
    case KMEM__REQUEST__BODY_SIZE_OF:
    case KMEM__REQUEST__BODY_GOODBYE:
    case KMEM__REQUEST__BODY_ATTACH:
    case KMEM__REQUEST__BODY_RELEASE_MANY:
    case KMEM__REQUEST__BODY_NEXT:
        return role == PEER_READER || role == PEER_MEMBER;
    case KMEM__REQUEST__BODY_ALLOCATE:
    case KMEM__REQUEST__BODY_LEASE:
    case KMEM__REQUEST__BODY_SHARE:
    case KMEM__REQUEST__BODY_TRANSFER:
    case KMEM__REQUEST__BODY_PUBLISH:
    case KMEM__REQUEST__BODY_UNPUBLISH:
        return role == PEER_MEMBER;
    default:
        return false;
    }
}

/* Process 2, in this role. */
static void peer_open_as(enum peer_role role)
{
    if (role == PEER_UNKNOWN) {
        peer_open(&peer, 2);
    } else if (role == PEER_OBSERVER) {
        peer_open_observer(&talk, &peer, 2);
    } else if (role == PEER_READER) {
        peer_open_reader(&talk, &peer, 2);
    } else {
        peer_open_member(&talk, &peer, 2);
        assert_int_equal(ask_allocate(&talk, &peer, 10, "own", 3), DISPATCH_OK);
    }
    if (role == PEER_LEAVING) {
        assert_int_equal(ask_goodbye(&talk, &peer), DISPATCH_PENDING);
    }
    assert_int_equal(peer.role, role);
}

/* The connection ends, and with it the process. */
static void peer_end(void)
{
    if (peer.role == PEER_MEMBER || peer.role == PEER_READER) {
        core_end(talk.core, peer.client, false, talk.fixture.now_ms);
    }
    fixture_reap(&talk.fixture, UINT32_MAX);
    peer_close(&talk, &peer);
}

/* The request with this number, with nothing in it; without a body if the protocol has none. */
static int ask_number(int number)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&kmem__request__descriptor, (unsigned)number);
    if (field && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        return ask_request(&talk, &peer,
                           request_plain(NEW_REQUEST, (Kmem__Request__BodyCase)number));
    }
    Kmem__Request request = KMEM__REQUEST__INIT;
    request.body_case = (Kmem__Request__BodyCase)number;
    return ask_request(&talk, &peer, &request);
}

/* What no request changes that is refused. */
struct kept {
    struct core core;
    struct state_counters counters;
    struct peer peer;
};

static struct kept kept_now(void)
{
    struct kept kept;
    memset(&kept, 0, sizeof(kept)); /* padding, too: it is compared as bytes */
    memcpy(&kept.core, talk.core, sizeof(kept.core));
    memcpy(&kept.counters, talk.core->state.counters, sizeof(kept.counters));
    memcpy(&kept.peer, &peer, sizeof(kept.peer));
    kept.counters.requests = 0;
    kept.counters.protocol_errors = 0;
    kept.peer.pending_id = 0;
    return kept;
}

/* What only members may ask a reader is denied, and goes on; all else is no request. */
static void assert_refused_and_nothing_changed(int number)
{
    const struct kept before = kept_now();
    const uint64_t n_errors = talk.core->state.counters->protocol_errors;
    const bool is_denied = peer.role == PEER_READER && may_ask(PEER_MEMBER, number);

    assert_int_equal(ask_number(number), is_denied ? DISPATCH_OK : DISPATCH_CLOSE);

    if (is_denied) {
        assert_error(&talk, KMEM__ERROR_CODE__ERROR_DENIED, "as a reader, which attaches");
    } else {
        assert_error(&talk, KMEM__ERROR_CODE__ERROR_PROTOCOL, "");
    }
    const struct kept after = kept_now();
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(talk.core->state.counters->protocol_errors, n_errors + !is_denied);
}

static void assert_answered(int number)
{
    int outcome = ask_number(number);
    const bool leaves = peer.role == PEER_LEAVING;

    while (outcome == DISPATCH_PENDING) {
        fixture_reap(&talk.fixture, UINT32_MAX);
        outcome = ask_continue(&talk, &peer);
    }

    const bool says_goodbye = number == KMEM__REQUEST__BODY_GOODBYE;
    const Kmem__Response *response = &talk.reply->response;
    assert_int_equal(leaves, says_goodbye);
    assert_int_equal(response->body_case == KMEM__RESPONSE__BODY_FAREWELL, says_goodbye);
    assert_int_equal(talk.fixture.n_buried, says_goodbye);
    if (peer.role == PEER_MEMBER) {
        assert_int_equal(peer.client->n_blocks, 1);
    }
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        /* An empty Hello is of no version, and closes the connection; others go on. */
        assert_int_equal(outcome == DISPATCH_CLOSE, number == KMEM__REQUEST__BODY_HELLO);
        assert_int_not_equal(response->error->code, KMEM__ERROR_CODE__ERROR_PROTOCOL);
    }
}

static void ask_all_numbers_as(enum peer_role role)
{
    for (int number = -1; number <= N_NUMBERS; number++) {
        const int asked = number < N_NUMBERS ? number : INT_MAX;
        peer_open_as(role);
        talk.fixture.n_buried = 0;
        if (may_ask(role, asked)) {
            assert_answered(asked);
        } else {
            assert_refused_and_nothing_changed(asked);
        }
        peer_end();
        assert_int_equal(core_check(talk.core), 0);
        assert_int_equal(talk.core->direct.n_blocks, 1); /* the bystander's */
    }
}

static void test_dispatch_of_every_number_before_hello_is_answered_or_refused(void **state)
{
    ask_all_numbers_as(PEER_UNKNOWN);
}

static void test_dispatch_of_every_number_by_an_observer_is_answered_or_refused(void **state)
{
    ask_all_numbers_as(PEER_OBSERVER);
}

static void test_dispatch_of_every_number_by_a_reader_is_answered_or_refused(void **state)
{
    ask_all_numbers_as(PEER_READER);
}

static void test_dispatch_of_every_number_by_a_member_is_answered_or_refused(void **state)
{
    ask_all_numbers_as(PEER_MEMBER);
}

static void test_dispatch_of_every_number_after_goodbye_is_refused(void **state)
{
    ask_all_numbers_as(PEER_LEAVING);
}

static void test_every_request_of_the_protocol_may_be_asked_in_some_role(void **state)
{
    uint32_t n_requests = 0;

    for (unsigned i = 0; i < kmem__request__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kmem__request__descriptor.fields[i];
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            const int number = (int)field->id;
            assert_in_range(number, 1, N_NUMBERS - 1);
            assert_true(may_ask(PEER_UNKNOWN, number) || may_ask(PEER_OBSERVER, number) ||
                        may_ask(PEER_MEMBER, number));
            n_requests++;
        }
    }

    assert_true(n_requests > 1);
}

static void test_dispatch_says_why_it_refuses(void **state)
{
    static const struct {
        enum peer_role role;
        int number;
        const char *words;
    } refusals[] = {
        {PEER_UNKNOWN, KMEM__REQUEST__BODY_GOODBYE, "the first request must be Hello"},
        {PEER_UNKNOWN, 0, "the first request must be Hello"},
        {PEER_OBSERVER, KMEM__REQUEST__BODY_ALLOCATE, "only a member"},
        {PEER_OBSERVER, 0, "a kind that this daemon does not know"},
        {PEER_MEMBER, 0, "a kind that this daemon does not know"},
        {PEER_MEMBER, KMEM__REQUEST__BODY_HELLO, "Hello was said already"},
        {PEER_LEAVING, KMEM__REQUEST__BODY_HELLO, "Hello was said already"},
        {PEER_LEAVING, KMEM__REQUEST__BODY_RELEASE, "only a member"},
    };

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        peer_open_as(refusals[i].role);
        assert_int_equal(ask_number(refusals[i].number), DISPATCH_CLOSE);
        assert_error(&talk, KMEM__ERROR_CODE__ERROR_PROTOCOL, refusals[i].words);
        peer_end();
    }
}

static void test_dispatch_of_nonsense_is_PROTOCOL_in_every_role(void **state)
{
    for (enum peer_role role = PEER_UNKNOWN; role <= PEER_LEAVING; role++) {
        peer_open_as(role);
        assert_int_equal(ask_nonsense(&talk, &peer), DISPATCH_CLOSE);
        assert_error(&talk, KMEM__ERROR_CODE__ERROR_PROTOCOL, "not a request");
        peer_end();
    }
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, roles_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_dispatch_of_every_number_before_hello_is_answered_or_refused),
        TALK_TEST(test_dispatch_of_every_number_by_an_observer_is_answered_or_refused),
        TALK_TEST(test_dispatch_of_every_number_by_a_reader_is_answered_or_refused),
        TALK_TEST(test_dispatch_of_every_number_by_a_member_is_answered_or_refused),
        TALK_TEST(test_dispatch_of_every_number_after_goodbye_is_refused),
        TALK_TEST(test_every_request_of_the_protocol_may_be_asked_in_some_role),
        TALK_TEST(test_dispatch_says_why_it_refuses),
        TALK_TEST(test_dispatch_of_nonsense_is_PROTOCOL_in_every_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
