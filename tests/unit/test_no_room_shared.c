/* SPDX-License-Identifier: MIT */
/*
 * test_no_room_shared.c - a refusal says what of the memory no process holds, and what keeps it
 */
#include <stdio.h>
#include <string.h>

#include "proto/lease.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define KIB UINT64_C(1024)

/* In a segment of 4 MiB. Return: the sentence. */
static const char *refused(void)
{
    assert_int_equal(ask_allocate(&talk, &carol, 4000 * KIB, "", 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ERROR);
    assert_int_equal(talk.reply->response.error->code, KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    return talk.reply->response.error->message;
}

static void assert_says(const char *words)
{
    const char *sentence = refused();
    if (!strstr(sentence, words)) {
        fail_msg("not in \"%s\": \"%s\"", sentence, words);
    }
}

static void assert_says_nothing_of(const char *words)
{
    const char *sentence = refused();
    if (strstr(sentence, words)) {
        fail_msg("in \"%s\": \"%s\"", sentence, words);
    }
}

static void end(struct peer *peer)
{
    struct client *client = peer->client;
    peer_close(&talk, peer);
    fixture_end(&talk.fixture, client, false);
}

static void test_refused_says_what_names_alone_keep_and_the_largest(void **state)
{
    (void)state;
    (void)publish(&alice, allocate(&alice, 100 * KIB), "small", GIVE);
    (void)publish(&alice, allocate(&alice, 300 * KIB), "camera0/\x1b", GIVE);
    (void)publish(&bob, allocate(&bob, 200 * KIB), "poster", GIVE | KEEP);
    assert_says("; 600.0 KiB are kept by names alone, the largest block (300.0 KiB) by "
                "\"camera0/\\x1b\"; ");
    assert_says("; unpublish names, or start kmemd with a larger --size");
    assert_says_nothing_of("release some of it");
    end(&alice);
    assert_says("; 200.0 KiB are kept by names alone, the largest block (200.0 KiB) by \"poster\"");
    end(&bob);
    assert_says("; 200.0 KiB are kept by names alone, the largest block (200.0 KiB) by \"poster\"");
}

/* Its bytes are told, too; they are no direct block's. */
static void test_refused_says_what_names_alone_keep_of_a_lease(void **state)
{
    (void)state;
    const uint32_t page = fixture_lease(&talk.fixture, alice.client, 4);
    fixture_carve(&talk.fixture, alice.client, page, 0);
    lease_open_slab(alice.client->states, page, 1);
    const struct seg_off off =
        fixture_take(&talk.fixture, alice.client, page, size_classes[0].block_bytes);
    (void)allocate(&alice, 200 * KIB);
    (void)publish(&alice, off.bytes, "leased", GIVE);
    assert_says("; 16 B are kept by names alone, the largest block (16 B) by \"leased\"; release "
                "some of it, unpublish names, ");
}

static void test_refused_counts_a_block_of_several_names_once(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100 * KIB);
    (void)publish(&alice, block, "one", 0);
    (void)publish(&alice, block, "two", 0);
    (void)publish(&alice, block, "three", GIVE);
    assert_says("; 100.0 KiB are kept by names alone");
}

static void test_refused_does_not_count_what_a_process_holds_too(void **state)
{
    (void)state;
    const uint64_t owned = allocate(&alice, 100 * KIB);
    const uint64_t held = allocate(&alice, 300 * KIB);
    (void)publish(&alice, owned, "owned", 0);
    const struct share_handle handle = share(&alice, held);
    attach(&bob, &handle);
    (void)publish(&alice, held, "held", GIVE);
    assert_says_nothing_of("names alone");
    assert_says_nothing_of("unpublish");
    /* What bob alone holds is his, and is to be released by him. */
    assert_int_equal(bob.client->num_bytes, 300 * KIB);
    assert_says("release some of it");
    assert_true(let_go(&bob, held));
    assert_says("; 300.0 KiB are kept by names alone, the largest block (300.0 KiB) by \"held\"");
    assert_says("; release some of it, unpublish names, or ");
}

static void test_refused_says_what_was_handed_over_and_is_attached_by_no_process(void **state)
{
    (void)state;
    const uint64_t block = allocate(&bob, 100 * KIB);
    assert_int_equal(ask_transfer(&bob, block, true), DISPATCH_OK);
    assert_says_nothing_of("handed over"); /* it is charged to bob, who lives */
    end(&bob);
    assert_says("; 100.0 KiB were handed over by processes that have ended, and no process has "
                "attached them; ");
    (void)publish(&alice, allocate(&alice, 10 * KIB), "x", GIVE);
    assert_says("; 10.0 KiB are kept by names alone, the largest block (10.0 KiB) by \"x\"; "
                "100.0 KiB were handed over");
}

static void test_refused_looks_at_no_more_than_256_names(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 257; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%u", i);
        (void)publish(&alice, allocate(&alice, KIB), name, GIVE);
        if (i == 255) {
            assert_says("; 256.0 KiB are kept by names alone");
        }
    }
    assert_says("; at least 256.0 KiB are kept by names alone, the largest block (1.0 KiB) by ");
    assert_says_nothing_of("handed over"); /* which those under other names are not */
}

static void test_refused_with_a_name_of_control_characters_is_not_cut(void **state)
{
    (void)state;
    char name[SHARE_NAME_MAX_BYTES];
    memset(name, '\x1b', sizeof(name));
    const uint64_t block = allocate(&alice, 10 * KIB);
    assert_int_equal(ask_publish_as(&alice, block, name, sizeof(name)), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_PUBLISHED);
    assert_true(let_go(&alice, block));
    for (size_t i = 0; i < 5; i++) {
        char reason[REASON_MAX_BYTES];
        memset(reason, '\x1b', sizeof(reason));
        reason[0] = (char)('a' + i);
        assert_int_equal(ask_allocate(&talk, &alice, (1 + i) * KIB, reason, sizeof(reason)),
                         DISPATCH_OK);
    }
    assert_says("; 10.0 KiB are kept by names alone");
    assert_says(", or start kmemd with a larger --size");
    assert_says_nothing_of("\x1b");
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_refused_says_what_names_alone_keep_and_the_largest),
        TALK_TEST(test_refused_says_what_names_alone_keep_of_a_lease),
        TALK_TEST(test_refused_counts_a_block_of_several_names_once),
        TALK_TEST(test_refused_does_not_count_what_a_process_holds_too),
        TALK_TEST(test_refused_says_what_was_handed_over_and_is_attached_by_no_process),
        TALK_TEST(test_refused_looks_at_no_more_than_256_names),
        TALK_TEST(test_refused_with_a_name_of_control_characters_is_not_cut),
    };
    return cmocka_run_group_tests_name("no_room_shared", tests, NULL, NULL);
}
