/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch.c - whole conversations: Hello, Goodbye and blocks, every error
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/limits.h"
#include "tests/unit/conversation.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 1024
#define LIMIT 3

#define MEMBER KMEM__ROLE__ROLE_MEMBER
#define OBSERVER KMEM__ROLE__ROLE_OBSERVER
#define PROTOCOL KMEM__ERROR_CODE__ERROR_PROTOCOL

static struct peer peer;

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static int talk_setup(void **state)
{
    talk_begin(N_PAGES, LIMIT);
    peer_open(&peer, 3);
    return 0;
}

static int peer_teardown(void **state)
{
    peer_close(&talk, &peer);
    return talk_teardown(state);
}

/* Return: the offset. */
static uint64_t allocate(struct peer *member, uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, member, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

static const Kmem__Error *error_now(void)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
    return talk.reply->response.error;
}

/* ----------------------------------------------------------------------------------- Hello ---- */

static void test_hello_as_a_member_is_welcome_with_descriptors(void **state)
{
    assert_int_equal(ask_hello(&talk, &peer, PROTOCOL_VERSION, MEMBER), DISPATCH_JOINED);

    assert_body(&talk, KMEM__RESPONSE__BODY_WELCOME);
    const Kmem__Welcome *welcome = talk.reply->response.welcome;
    assert_int_equal(welcome->version, PROTOCOL_VERSION);
    assert_string_equal(welcome->segment_name, FIXTURE_NAME);
    assert_int_equal(welcome->segment_bytes, N_PAGES * PAGE_BYTES);
    assert_int_equal(welcome->page_bytes, PAGE_BYTES);
    assert_int_equal(welcome->instance, talk.core->config.instance);
    assert_int_equal(welcome->slot, peer.client->slot);
    assert_int_equal(welcome->n_descriptors, WELCOME_DESCRIPTORS);
    assert_int_equal(talk.core->clients.n_live, 3);
}

static void test_hello_as_an_observer_is_welcome_without_a_descriptor(void **state)
{
    assert_int_equal(ask_hello(&talk, &peer, PROTOCOL_VERSION, OBSERVER), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_WELCOME);
    assert_int_equal(talk.reply->response.welcome->n_descriptors, 0);
    assert_int_equal(talk.core->clients.n_live, 2);
    assert_null(peer.client);
}

static void test_hello_with_another_minor_version_is_welcome(void **state)
{
    assert_int_equal(ask_hello(&talk, &peer, PROTOCOL_VERSION | 0xffff, OBSERVER), DISPATCH_OK);
}

static void test_hello_with_another_major_version_is_VERSION(void **state)
{
    assert_int_equal(ask_hello(&talk, &peer, 0x20002, MEMBER), DISPATCH_CLOSE);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_VERSION,
                 "speaks version 1.1 of the protocol, "
                 "not 2.2");
    assert_int_equal(ask_hello(&talk, &peer, 0, MEMBER), DISPATCH_CLOSE);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_VERSION, "not 0.0");
    assert_int_equal(talk.core->clients.n_live, 2);
}

static void test_hello_with_an_unknown_role_is_PROTOCOL(void **state)
{
    const int roles[] = {KMEM__ROLE__ROLE_UNSPECIFIED, 4, -1, 1000};

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        assert_int_equal(ask_hello(&talk, &peer, PROTOCOL_VERSION, roles[i]), DISPATCH_CLOSE);
        assert_error(&talk, PROTOCOL, "without a role");
    }
    assert_int_equal(talk.core->state.counters->protocol_errors, 4);
}

static void test_hello_twice_is_PROTOCOL(void **state)
{
    assert_int_equal(ask_hello(&talk, &alice, PROTOCOL_VERSION, MEMBER), DISPATCH_CLOSE);

    assert_error(&talk, PROTOCOL, "Hello was said already");
    assert_int_equal(talk.core->clients.n_live, 2);
}

static void test_hello_beyond_the_limit_is_LIMIT(void **state)
{
    struct peer third;
    peer_open_member(&talk, &third, 30);

    assert_int_equal(ask_hello(&talk, &peer, PROTOCOL_VERSION, MEMBER), DISPATCH_CLOSE);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_LIMIT, "has its 3 clients already");
    assert_int_equal(ask_hello(&talk, &peer, PROTOCOL_VERSION, OBSERVER), DISPATCH_OK);
    peer_close(&talk, &third);
}

static void test_hello_with_the_nonce_of_a_lost_connection_is_that_client(void **state)
{
    const uint64_t offset = allocate(&alice, 100, "mine");
    const uint32_t slot = alice.client->slot;
    const uint64_t nonce = alice.client->nonce;
    peer_close(&talk, &alice);
    assert_false(clients_get(&talk.core->clients, slot)->connected);

    peer_open(&alice, 1);
    assert_int_equal(ask_resume(&talk, &alice, nonce), DISPATCH_JOINED);

    const Kmem__Welcome *welcome = talk.reply->response.welcome;
    assert_true(welcome->resumed);
    assert_int_equal(welcome->resume_nonce, nonce);
    assert_int_equal(alice.client->n_blocks, 1);
    assert_int_equal(alice.client->num_bytes, 100);
    assert_int_equal(alice.client->slot, slot);
    assert_true(alice.client->connected);
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_RELEASED);
}

static void test_hello_of_a_client_that_is_being_buried_is_BUSY(void **state)
{
    (void)allocate(&alice, 100, "mine");
    core_end(talk.core, alice.client, false, talk.fixture.now_ms);
    struct peer again;
    peer_open(&again, 1);

    assert_int_equal(ask_hello(&talk, &again, PROTOCOL_VERSION, MEMBER), DISPATCH_CLOSE);

    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "try again");
    fixture_reap(&talk.fixture, UINT32_MAX);
    alice.client = NULL; /* the shell closes the connection of whoever has died */
    peer_open_member(&talk, &again, 1);
    peer_close(&talk, &again);
}

/* --------------------------------------------------------------------------------- Goodbye ---- */

static void test_goodbye_is_answered_when_everything_is_back(void **state)
{
    for (uint32_t i = 0; i < 100; i++) {
        (void)allocate(&alice, 1000, "left behind");
    }
    assert_int_equal(ask_goodbye(&talk, &alice), DISPATCH_PENDING);
    const uint64_t id = alice.pending_id;

    uint32_t n_steps = 0;
    while (ask_continue(&talk, &alice) == DISPATCH_PENDING) {
        fixture_reap(&talk.fixture, 1);
        n_steps++;
    }

    assert_true(n_steps > 2);
    assert_body(&talk, KMEM__RESPONSE__BODY_FAREWELL);
    assert_int_equal(talk.reply->response.id, id);
    assert_int_equal(talk.core->direct.n_blocks, 0);
    assert_true(talk.fixture.last.left);
    assert_null(alice.client);
    assert_int_equal(talk.core->clients.n_live, 1);
}

static void test_goodbye_closes_the_connection(void **state)
{
    assert_int_equal(ask_goodbye(&talk, &alice), DISPATCH_PENDING);
    fixture_reap(&talk.fixture, 1);

    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_CLOSE);
}

static void test_goodbye_whose_slot_has_a_new_allocator_is_answered(void **state)
{
    assert_int_equal(ask_goodbye(&talk, &alice), DISPATCH_PENDING);
    fixture_reap(&talk.fixture, 1);
    peer_open_member(&talk, &peer, 3);
    assert_ptr_equal(peer.client, alice.client); /* the same slot */

    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_CLOSE);

    assert_body(&talk, KMEM__RESPONSE__BODY_FAREWELL);
    assert_true(peer.client->connected);
}

static void test_peer_fini_of_one_that_is_leaving_does_not_touch_the_next_allocator(void **state)
{
    assert_int_equal(ask_goodbye(&talk, &alice), DISPATCH_PENDING);
    fixture_reap(&talk.fixture, 1);
    peer_open_member(&talk, &peer, 3);

    peer_close(&talk, &alice);

    assert_true(peer.client->connected);
}

/* -------------------------------------------------------------------------------- Allocate ---- */

static void test_allocate_of_nothing_or_more_than_the_segment_is_INVALID(void **state)
{
    const uint64_t wrong[] = {0, N_PAGES * PAGE_BYTES + 1, UINT64_C(1) << 32, UINT64_MAX};

    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        assert_int_equal(ask_allocate(&talk, &alice, wrong[i], "x", 1), DISPATCH_OK);
        assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "can not be allocated");
    }
    assert_int_equal(talk.core->state.counters->refusals_no_room, 0);
    assert_int_equal(talk.core->state.counters->refusals_invalid, 1);
    assert_int_equal(talk.core->state.counters->refusals_too_large, 3);
    assert_int_equal(talk.core->direct.n_blocks, 0);
}

/* Whoever is told so need not clear it. */
static void test_allocate_says_what_is_known_to_be_zero(void **state)
{
    const uint64_t num_bytes = 5 * PAGE_BYTES;
    assert_int_equal(ask_allocate(&talk, &alice, num_bytes, "new", 3), DISPATCH_OK);
    assert_true(talk.reply->response.allocated->known_zero);
    const uint64_t offset = talk.reply->response.allocated->offset;
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);

    assert_int_equal(ask_allocate(&talk, &alice, num_bytes, "used", 4), DISPATCH_OK);
    assert_int_equal(talk.reply->response.allocated->offset, offset);
    assert_false(talk.reply->response.allocated->known_zero);

    /* Of a slab nobody knows: the places in it come and go. */
    assert_int_equal(ask_allocate(&talk, &alice, 100, "in a slab", 9), DISPATCH_OK);
    assert_false(talk.reply->response.allocated->known_zero);
}

static void test_allocate_with_a_bad_reason_is_INVALID(void **state)
{
    char too_long[REASON_MAX_BYTES + 1];
    memset(too_long, 'x', sizeof(too_long));

    assert_int_equal(ask_allocate(&talk, &alice, 1, "a\0b", 3), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "UTF-8 without NUL");
    assert_int_equal(ask_allocate(&talk, &alice, 1, "\xff\xfe", 2), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "UTF-8 without NUL");
    assert_int_equal(ask_allocate(&talk, &alice, 1, "half \xc3", 6), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "UTF-8 without NUL");
    assert_int_equal(ask_allocate(&talk, &alice, 1, too_long, sizeof(too_long)), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "at most 127 bytes");
    assert_int_equal(talk.core->direct.n_blocks, 0);
    assert_int_equal(ask_allocate(&talk, &alice, 1, too_long, REASON_MAX_BYTES), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
    assert_int_equal(ask_allocate(&talk, &alice, 1, "\x1b[31m", 5), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
}

static void test_allocate_without_room_is_NO_MEMORY_and_counted(void **state)
{
    (void)allocate(&bob, N_PAGES / 2 * PAGE_BYTES, "the hog");

    assert_int_equal(ask_allocate(&talk, &alice, N_PAGES / 2 * PAGE_BYTES, "", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "\"the hog\" 8.0 MiB in 1 block");
    assert_int_equal(talk.core->state.counters->refusals_no_room, 1);
    assert_int_equal(ask_allocate(&talk, &alice, N_PAGES * PAGE_BYTES, "", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "no room for 16.0 MiB");
    (void)allocate(&alice, 44, "others go on");
}

/* ------------------------------------------------------------------------- Release, SizeOf ---- */

static void test_size_of_is_what_was_asked_for(void **state)
{
    const uint64_t sizes[] = {1, 44, 101, 65536, 65537, 1000000};

    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        assert_int_equal(ask_size_of(&talk, &alice, allocate(&alice, sizes[i], "x")), DISPATCH_OK);
        assert_body(&talk, KMEM__RESPONSE__BODY_SIZED);
        assert_int_equal(talk.reply->response.sized->num_bytes, sizes[i]);
    }
}

static void test_release_gives_the_block_back(void **state)
{
    const uint64_t offset = allocate(&alice, 101, "x");

    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);

    assert_body(&talk, KMEM__RESPONSE__BODY_RELEASED);
    assert_int_equal(talk.core->direct.n_blocks, 0);
    assert_int_equal(core_check(talk.core), 0);
}

/* The same misuse of Release and of SizeOf gets the same answer. */
static void misuse(uint64_t offset, Kmem__ErrorCode code, const char *words)
{
    const uint64_t n_misuses = talk.core->state.counters->misuses;
    const uint64_t n_blocks = talk.core->direct.n_blocks;
    assert_int_equal(ask_size_of(&talk, &alice, offset), DISPATCH_OK);
    assert_error(&talk, code, words);
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    assert_error(&talk, code, words);
    assert_int_equal(talk.core->state.counters->misuses, n_misuses + 2);
    assert_int_equal(talk.core->direct.n_blocks, n_blocks);
}

static void test_release_of_a_wild_offset_is_WILD(void **state)
{
    const uint64_t wild[] = {0, 1, PAGE_BYTES, N_PAGES * PAGE_BYTES, UINT64_MAX};

    for (size_t i = 0; i < N_ELEMENTS(wild); i++) {
        misuse(wild[i], KMEM__ERROR_CODE__ERROR_WILD, "lies in no block");
        assert_int_equal(error_now()->offset, wild[i]);
    }
}

static void test_release_twice_is_RELEASED(void **state)
{
    const uint64_t offset = allocate(&alice, 101, "x");
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);

    misuse(offset, KMEM__ERROR_CODE__ERROR_RELEASED, "has been released already");

    assert_int_equal(error_now()->offset, offset);
}

static void test_release_of_an_interior_offset_is_INTERIOR_and_names_the_block(void **state)
{
    const uint64_t offset = allocate(&alice, 200000, "video/frame");

    misuse(offset + 100000, KMEM__ERROR_CODE__ERROR_INTERIOR,
           "lies 100000 bytes inside the block at offset");

    assert_int_equal(error_now()->offset, offset);
    assert_int_equal(error_now()->num_bytes, 200000);
    assert_string_equal(error_now()->reason, "video/frame");
}

static void test_release_of_anothers_block_is_FOREIGN_and_names_the_owner(void **state)
{
    const uint64_t offset = allocate(&bob, 77, "bob's");

    misuse(offset, KMEM__ERROR_CODE__ERROR_FOREIGN, "(77 bytes, \"bob's\") belongs to process 2");

    assert_int_equal(error_now()->offset, offset);
    assert_int_equal(error_now()->num_bytes, 77);
    assert_string_equal(error_now()->reason, "bob's");
}

static void test_release_error_escapes_the_longest_reason(void **state)
{
    char reason[REASON_MAX_BYTES + 1] = "";
    memset(reason, '\x1b', REASON_MAX_BYTES);
    const uint64_t offset = allocate(&bob, 77, reason);

    misuse(offset, KMEM__ERROR_CODE__ERROR_FOREIGN, "\\x1b\\x1b\") belongs to process 2");

    assert_null(strchr(error_now()->message, '\x1b'));
    assert_string_equal(error_now()->reason, reason);
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_hello_as_a_member_is_welcome_with_descriptors),
        TALK_TEST(test_hello_as_an_observer_is_welcome_without_a_descriptor),
        TALK_TEST(test_hello_with_another_minor_version_is_welcome),
        TALK_TEST(test_hello_with_another_major_version_is_VERSION),
        TALK_TEST(test_hello_with_an_unknown_role_is_PROTOCOL),
        TALK_TEST(test_hello_twice_is_PROTOCOL),
        TALK_TEST(test_hello_beyond_the_limit_is_LIMIT),
        TALK_TEST(test_hello_with_the_nonce_of_a_lost_connection_is_that_client),
        TALK_TEST(test_hello_of_a_client_that_is_being_buried_is_BUSY),
        TALK_TEST(test_goodbye_is_answered_when_everything_is_back),
        TALK_TEST(test_goodbye_closes_the_connection),
        TALK_TEST(test_goodbye_whose_slot_has_a_new_allocator_is_answered),
        TALK_TEST(test_peer_fini_of_one_that_is_leaving_does_not_touch_the_next_allocator),
        TALK_TEST(test_allocate_of_nothing_or_more_than_the_segment_is_INVALID),
        TALK_TEST(test_allocate_says_what_is_known_to_be_zero),
        TALK_TEST(test_allocate_with_a_bad_reason_is_INVALID),
        TALK_TEST(test_allocate_without_room_is_NO_MEMORY_and_counted),
        TALK_TEST(test_size_of_is_what_was_asked_for),
        TALK_TEST(test_release_gives_the_block_back),
        TALK_TEST(test_release_of_a_wild_offset_is_WILD),
        TALK_TEST(test_release_twice_is_RELEASED),
        TALK_TEST(test_release_of_an_interior_offset_is_INTERIOR_and_names_the_block),
        TALK_TEST(test_release_of_anothers_block_is_FOREIGN_and_names_the_owner),
        TALK_TEST(test_release_error_escapes_the_longest_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
