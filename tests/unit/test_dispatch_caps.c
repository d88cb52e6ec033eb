/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_caps.c - a greedy user is refused, with a sentence, what a modest one is given
 *
 * Alice is greedy. Bob is modest, and of another user.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define FULL KMEM__ERROR_CODE__ERROR_FULL

static struct core *core;

static int caps_setup(void **state)
{
    (void)share_talk_setup(state);
    core = talk.core;
    const uint32_t limits[N_CAPS] = {3, 2, 2, 3};
    memcpy(core->config.caps, limits, sizeof(limits)); /* of a server that follows, too */
    caps_set(&core->caps, limits);
    core->config.owner_uid = core->caps.owner_uid = 77;
    return 0;
}

static void assert_count(enum cap cap, const struct peer *peer, uint32_t count)
{
    assert_int_equal(caps_count(&core->caps, cap, peer->identity.uid), count);
    assert_int_equal(core_check(core), 0);
}

static void test_shares_of_a_greedy_user_end_at_its_cap(void **state)
{
    uint64_t blocks[4];
    for (size_t i = 0; i < 4; i++) {
        blocks[i] = allocate(&alice, 100);
    }
    for (size_t i = 0; i < 3; i++) {
        (void)share(&alice, blocks[i]);
    }
    assert_int_equal(ask_share(&alice, blocks[3], false), DISPATCH_OK);
    assert_error(&talk, FULL, "shares 3 blocks, of the 3 that --shares-per-uid lets one user");
    (void)share(&alice, blocks[0]); /* the same handle */
    (void)share(&bob, allocate(&bob, 100));
    assert_count(CAP_SHARES, &alice, 3);
    assert_count(CAP_SHARES, &bob, 1);
    share_talk_restart();
    assert_count(CAP_SHARES, &alice, 3);
    assert_false(let_go(&alice, blocks[0]));
    (void)share(&alice, blocks[3]);
}

/* What others hold of a block does not keep its former owner's place. */
static void test_share_counts_for_the_user_that_is_charged_for_its_block(void **state)
{
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);
    assert_count(CAP_SHARES, &alice, 1);
    assert_true(let_go(&alice, block));
    assert_count(CAP_SHARES, &alice, 0);
    assert_count(CAP_SHARES, &bob, 1);
    share_talk_restart();
    assert_count(CAP_SHARES, &bob, 1);
    assert_count(CAP_REASONS, &alice, 0);
    assert_count(CAP_REASONS, &bob, 2); /* the block's, and that of its hold */
    assert_false(let_go(&bob, block));
    assert_count(CAP_SHARES, &bob, 0);
}

/* When no client is charged, it counts for the last user that was. */
static void test_share_that_names_keep_counts_for_its_last_user(void **state)
{
    const uint32_t uid = alice.identity.uid;
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_publish(&alice, block, "kept", KEEP), DISPATCH_OK);
    fixture_end(&talk.fixture, alice.client, false);
    alice.client = NULL;
    fixture_reap(&talk.fixture, UINT32_MAX);
    assert_int_equal(caps_count(&core->caps, CAP_SHARES, uid), 1);
    assert_int_equal(caps_count(&core->caps, CAP_NAMES, uid), 1);
    assert_int_equal(core_check(core), 0);
    char why[FIXTURE_WHY_BYTES] = "";
    peer_close(&talk, &bob);
    peer_close(&talk, &carol);
    assert_int_equal(fixture_restart(&talk.fixture, why), 0);
    assert_int_equal(caps_count(&core->caps, CAP_SHARES, uid), 1);
    assert_int_equal(caps_count(&core->caps, CAP_NAMES, uid), 1);
    assert_int_equal(core_check(core), 0);
}

static void test_holds_of_a_greedy_user_end_at_its_cap(void **state)
{
    struct share_handle handles[3];
    for (size_t i = 0; i < 3; i++) {
        handles[i] = share(&bob, allocate(&bob, 100));
    }
    attach(&alice, &handles[0]);
    attach(&alice, &handles[1]);
    assert_int_equal(ask_attach(&alice, &handles[2], 1, false), DISPATCH_OK);
    assert_error(&talk, FULL,
                 "holds shared blocks 2 times, of the 2 that --holds-per-uid lets one");
    attach(&carol, &handles[2]);
    assert_count(CAP_HOLDS, &alice, 2);
    assert_count(CAP_HOLDS, &carol, 1);
    share_talk_restart();
    assert_count(CAP_HOLDS, &alice, 2);
}

/* All or none. */
static void test_holds_of_one_request_are_all_within_the_cap(void **state)
{
    struct share_handle handles[3];
    for (size_t i = 0; i < 3; i++) {
        handles[i] = share(&bob, allocate(&bob, 100));
    }
    assert_int_equal(ask_attach(&alice, handles, 3, false), DISPATCH_OK);
    assert_error(&talk, FULL, "--holds-per-uid");
    assert_count(CAP_HOLDS, &alice, 0);
    assert_int_equal(ask_attach(&alice, handles, 2, false), DISPATCH_OK);
    assert_count(CAP_HOLDS, &alice, 2);
}

static void test_names_of_a_greedy_user_end_at_its_cap(void **state)
{
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_publish(&alice, block, "a", 0), DISPATCH_OK);
    assert_int_equal(ask_publish(&alice, block, "b", 0), DISPATCH_OK);
    assert_int_equal(ask_publish(&alice, block, "c", 0), DISPATCH_OK);
    assert_error(&talk, FULL, "has 2 names, of the 2 that --names-per-uid lets one user");
    assert_int_equal(ask_publish(&alice, block, "b", 0), DISPATCH_OK); /* anew */
    assert_body(&talk, KMEM__RESPONSE__BODY_PUBLISHED);
    assert_int_equal(ask_publish(&bob, allocate(&bob, 100), "d", 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_PUBLISHED);
    assert_int_equal(ask_publish(&alice, block, "d", 0), DISPATCH_OK); /* would be its third */
    assert_error(&talk, FULL, "--names-per-uid");
    assert_count(CAP_NAMES, &alice, 2);
    assert_int_equal(ask_publish(&bob, allocate(&bob, 100), "a", 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_PUBLISHED); /* which is Bob's now */
    assert_count(CAP_NAMES, &alice, 1);
    assert_count(CAP_NAMES, &bob, 2);
    share_talk_restart();
    assert_count(CAP_NAMES, &alice, 1);
    assert_count(CAP_NAMES, &bob, 2);
}

static const char *reason_of(uint64_t offset)
{
    static char text[REASON_MAX_BYTES + 1];
    struct block block;
    size_t n_bytes;
    const int r = direct_find(&core->direct, core->clients.kept, (struct seg_off){offset}, &block);
    assert_true(r == 0 || r == DIRECT_E_FOREIGN);
    const char *words = reasons_text(&core->reasons, block.reason, &n_bytes);
    (void)snprintf(text, sizeof(text), "%.*s", (int)n_bytes, words);
    return text;
}

static uint64_t allocate_for(struct peer *peer, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, peer, 100, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

/* It is given the memory; what it is for is <other reasons>. */
static void test_reasons_of_a_greedy_user_end_at_its_cap(void **state)
{
    const uint64_t first = allocate_for(&alice, "a/1");
    (void)allocate_for(&alice, "a/2");
    (void)allocate_for(&alice, "a/3");
    const uint64_t other = allocate_for(&alice, "a/4");
    assert_string_equal(reason_of(other), "<other reasons>");
    assert_string_equal(reason_of(allocate_for(&alice, "a/2")), "a/2");
    assert_string_equal(reason_of(allocate_for(&bob, "a/4")), "a/4");
    assert_string_equal(reason_of(allocate_for(&bob, "a/1")), "a/1");
    assert_count(CAP_REASONS, &alice, 3);
    assert_count(CAP_REASONS, &bob, 2);
    assert_int_equal(core->state.counters->other_reasons, 1);

    assert_false(let_go(&alice, first)); /* Bob has the reason still, and that is Bob's */
    assert_count(CAP_REASONS, &alice, 2);
    assert_string_equal(reason_of(allocate_for(&alice, "a/5")), "a/5");
    (void)share(&alice, other); /* as what it is on the ledger */
    assert_int_equal(core_check(core), 0);
    share_talk_restart();
    assert_count(CAP_REASONS, &alice, 3);
    assert_count(CAP_REASONS, &bob, 2);
}

static void test_caps_do_not_limit_the_daemons_user(void **state)
{
    core->config.owner_uid = core->caps.owner_uid = alice.identity.uid;
    for (uint32_t i = 0; i < 5; i++) {
        (void)share(&alice, allocate(&alice, 100));
    }
    assert_count(CAP_SHARES, &alice, 5);
}

#define CAPS_TEST(test) cmocka_unit_test_setup_teardown(test, caps_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAPS_TEST(test_shares_of_a_greedy_user_end_at_its_cap),
        CAPS_TEST(test_share_counts_for_the_user_that_is_charged_for_its_block),
        CAPS_TEST(test_share_that_names_keep_counts_for_its_last_user),
        CAPS_TEST(test_holds_of_a_greedy_user_end_at_its_cap),
        CAPS_TEST(test_holds_of_one_request_are_all_within_the_cap),
        CAPS_TEST(test_names_of_a_greedy_user_end_at_its_cap),
        CAPS_TEST(test_reasons_of_a_greedy_user_end_at_its_cap),
        CAPS_TEST(test_caps_do_not_limit_the_daemons_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
