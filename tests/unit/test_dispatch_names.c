/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_names.c - conversations about names: Publish, Unpublish, Next, and waiting
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "proto/notice.h"
#include "tests/unit/share_talk.h"

#define DENIED KMEM__ERROR_CODE__ERROR_DENIED
#define EXISTS KMEM__ERROR_CODE__ERROR_EXISTS
#define FOREIGN KMEM__ERROR_CODE__ERROR_FOREIGN
#define FULL KMEM__ERROR_CODE__ERROR_FULL
#define INVALID KMEM__ERROR_CODE__ERROR_INVALID
#define NO_NAME KMEM__ERROR_CODE__ERROR_NO_NAME
#define OLD KMEM__ERROR_CODE__ERROR_OLD

#define NAME "camera0/latest"

/* ------------------------------------------------------------------ what the shell would do -- */

static struct peer *woken[8];
static size_t n_woken;

static void wake(struct wait *wait, void *user)
{
    (void)user;
    assert_true(n_woken < sizeof(woken) / sizeof(woken[0]));
    woken[n_woken++] = (struct peer *)((char *)wait - offsetof(struct peer, wait));
}

static int names_setup(void **state)
{
    (void)share_talk_setup(state);
    talk.core->config.wake = wake;
    talk.fixture.config.wake = wake;
    n_woken = 0;
    return 0;
}

static int next(struct peer *peer, uint64_t after, uint64_t release_offset)
{
    return ask_next(
        peer, &(struct asked_next){.name = NAME, .after = after, .release_offset = release_offset});
}

/* What was attached. Return: its offset. */
static uint64_t said_next(uint64_t version)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    const Kmem__Nexted *nexted = talk.reply->response.nexted;
    assert_int_equal(nexted->version, version);
    assert_non_null(nexted->block);
    return nexted->block->offset;
}

/* ---------------------------------------------------------------------------------- Publish -- */

static void test_publish_of_a_bad_name_says_what_is_bad(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    char text[SHARE_NAME_MAX_BYTES + 1];
    memset(text, 'n', sizeof(text));
    const struct {
        const char *bytes;
        size_t n_bytes;
        const char *words;
    } bad[] = {
        {"", 0, "the name is empty; a name is 1 to 100 bytes of UTF-8 without NUL"},
        {text, sizeof(text), "the name has 101 bytes; a name is 1 to 100 bytes"},
        {"a\0b", 3, "the name has a NUL in it; a name is"},
        {"\xc3(", 2, "the name is not UTF-8; a name is"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ask_publish_as(&alice, block, bad[i].bytes, bad[i].n_bytes), DISPATCH_OK);
        assert_error(&talk, INVALID, bad[i].words);
    }
    assert_int_equal(statistic("names"), 0);
    assert_int_equal(ask_publish_as(&alice, block, text, SHARE_NAME_MAX_BYTES), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_PUBLISHED);
    assert_int_equal(ask_unpublish(&alice, ""), DISPATCH_OK);
    assert_error(&talk, INVALID, "the name is empty");
    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = ""}), DISPATCH_OK);
    assert_error(&talk, INVALID, "the name is empty");
}

static void test_publish_replaces_and_rings(void **state)
{
    (void)state;
    const uint64_t first = allocate(&alice, 100);
    const uint64_t second = allocate(&bob, 200);

    const uint64_t older = publish(&alice, first, NAME, 0);
    const uint64_t newer = publish(&bob, second, NAME, 0);

    assert_true(newer > older);
    assert_int_equal(talk.fixture.n_rung, 2);
    assert_int_equal(talk.fixture.bell, notice_bell_of(NAME, strlen(NAME)));
    assert_int_equal(statistic("names"), 1);
    assert_int_equal(next(&carol, older, 0), DISPATCH_OK);
    assert_int_equal(said_next(newer), second);
    assert_false(let_go(&alice, first)); /* its name is another's */
}

static void test_publish_of_a_name_that_is_to_be_new_is_EXISTS(void **state)
{
    (void)state;
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    assert_int_equal(ask_publish(&bob, allocate(&bob, 10), NAME, EXCLUSIVE), DISPATCH_OK);

    assert_error(&talk, EXISTS, "the name \"" NAME "\" is that of process 1 (worker-1)");
    assert_int_equal(statistic("names"), 1);
    (void)publish(&alice, allocate(&alice, 10), NAME, EXCLUSIVE); /* its own */
}

static void test_publish_of_more_names_than_can_be_is_FULL(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    talk.core->names.limit = 2;
    (void)publish(&alice, block, "a", 0);
    (void)publish(&alice, block, "b", 0);
    assert_int_equal(ask_publish(&alice, block, "c", 0), DISPATCH_OK);
    assert_error(&talk, FULL,
                 "2 names are in use, as many as can be: 2 of them are those of process 1 "
                 "(worker-1, user 1001); unpublish some");
    assert_error(&talk, FULL, "start kmemd with a larger --names, up to ");
    assert_int_equal(statistic("names_limit"), 2);
    (void)publish(&bob, allocate(&bob, 10), "a", 0); /* one that is there is no other */
    talk.core->names.limit = SHARE_NAMES_USUAL;
}

static void test_publish_of_a_given_block_lets_go_of_it_once(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);

    talk.sequence = 1;
    const uint64_t version = publish(&alice, block, NAME, GIVE);
    assert_true(talk.reply->response.published->kept);
    share_talk_restart();
    assert_int_equal(publish(&alice, block, NAME, GIVE), version);
    assert_true(talk.reply->response.published->kept);
    talk.sequence = 0;

    assert_int_equal(ask_size_of(&talk, &alice, block), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_RELEASED, "has released it");
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    assert_int_equal(talk.core->direct.n_blocks, 0);
}

static void test_publish_that_is_repeated_undoes_nothing_that_came_after_it(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const uint64_t other = allocate(&bob, 100);
    talk.sequence = 1;
    const uint64_t version = publish(&alice, block, NAME, 0);

    talk.sequence = 0;
    const uint64_t newer = publish(&bob, other, NAME, 0);
    talk.sequence = 1;
    assert_int_equal(publish(&alice, block, NAME, 0), version);
    talk.sequence = 0;
    assert_int_equal(next(&carol, 0, 0), DISPATCH_OK);
    assert_int_equal(said_next(newer), other);
    assert_int_equal(ask_unpublish(&bob, NAME), DISPATCH_OK);
    talk.sequence = 1;
    assert_int_equal(publish(&alice, block, NAME, 0), version);
    talk.sequence = 0;

    assert_int_equal(statistic("names"), 0);
}

static void test_publish_that_was_cut_off_is_known_to_have_come_to_pass(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    talk.sequence = 1;
    const uint64_t version = publish(&alice, block, NAME, 0);
    const struct intent cut_off = {.kind = INTENT_PUBLISH, .at = version};
    clients_intend(&talk.core->clients, alice.client->slot, 1, &cut_off);
    share_talk_restart();

    talk.sequence = 0;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    clients_intend(&talk.core->clients, alice.client->slot, 1,
                   &(struct intent){.kind = INTENT_PUBLISHED, .at = version});
    talk.sequence = 1;
    assert_int_equal(publish(&alice, block, NAME, 0), version);
    talk.sequence = 0;

    assert_int_equal(statistic("names"), 0);
}

static void test_publish_that_was_never_done_is_done_when_it_comes_again(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct intent begun = {.kind = INTENT_PUBLISH, .at = names_version(&talk.core->names)};
    clients_intend(&talk.core->clients, alice.client->slot, 1, &begun);
    share_talk_restart();

    talk.sequence = 1;
    const uint64_t version = publish(&alice, block, NAME, 0);
    talk.sequence = 0;

    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    assert_int_equal(said_next(version), block);
}

static void test_publish_that_was_refused_may_be_granted_when_it_comes_again(void **state)
{
    (void)state;
    const uint64_t block = allocate(&bob, 100);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    talk.sequence = 1;
    assert_int_equal(ask_publish(&bob, block, NAME, EXCLUSIVE), DISPATCH_OK);
    assert_error(&talk, EXISTS, "");

    talk.sequence = 0;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    talk.sequence = 1;
    (void)publish(&bob, block, NAME, EXCLUSIVE);
    talk.sequence = 0;

    assert_int_equal(statistic("names"), 1);
}

/* -------------------------------------------------------------------------------- Unpublish -- */

static void test_unpublish_of_no_name_is_NO_NAME(void **state)
{
    (void)state;

    assert_int_equal(ask_unpublish(&alice, "no\nsuch"), DISPATCH_OK);

    assert_error(&talk, NO_NAME, "no block is published as \"no\\x0asuch\" in segment");
}

static void test_unpublish_by_another_user_is_DENIED(void **state)
{
    (void)state;
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);

    assert_int_equal(ask_unpublish(&bob, NAME), DISPATCH_OK);
    assert_error(&talk, DENIED, "is that of process 1 (worker-1), of another user");
    bob.client->identity.uid = alice.client->identity.uid;
    assert_int_equal(ask_unpublish(&bob, NAME), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_UNPUBLISHED);
}

static void test_unpublish_that_is_repeated_leaves_what_was_published_since(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, 0);
    talk.sequence = 1;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    share_talk_restart();
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_UNPUBLISHED);

    talk.sequence = 0;
    (void)publish(&alice, block, NAME, 0);
    talk.core->clients.table[alice.client->slot].sequence = 1;
    talk.sequence = 1;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_UNPUBLISHED);
    talk.sequence = 0;

    assert_int_equal(statistic("names"), 1);
}

/* ------------------------------------------------------------------------------------- Next -- */

static void test_next_of_no_name_or_of_nothing_newer_says_so(void **state)
{
    (void)state;

    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    assert_error(&talk, NO_NAME, "no block is published as \"" NAME "\"");

    const uint64_t version = publish(&alice, allocate(&alice, 100), NAME, 0);
    assert_int_equal(next(&bob, version, 0), DISPATCH_OK);
    assert_error(&talk, OLD, "means nothing newer than version");
    assert_int_equal(talk.reply->response.error->version, version);
    assert_null(talk.reply->response.error->released);
}

static void test_next_lets_go_of_the_old_and_attaches_the_new(void **state)
{
    (void)state;
    const uint64_t first = allocate(&alice, 100);
    const uint64_t second = allocate(&alice, 200);
    const uint64_t older = publish(&alice, first, NAME, GIVE);
    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    assert_int_equal(said_next(older), first);
    const uint64_t newer = publish(&alice, second, NAME, GIVE);

    assert_int_equal(next(&bob, older, first), DISPATCH_OK);

    assert_int_equal(said_next(newer), second);
    assert_int_equal(talk.reply->response.nexted->released->num_bytes, 100);
    assert_false(talk.reply->response.nexted->released->kept);
    assert_int_equal(talk.core->shares.n_holds, 1);
    assert_int_equal(talk.core->direct.n_blocks, 1);
}

static void test_next_of_nothing_newer_lets_go_all_the_same(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const uint64_t version = publish(&alice, block, NAME, 0);
    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);

    assert_int_equal(next(&bob, version, block), DISPATCH_OK);

    assert_error(&talk, OLD, "");
    assert_true(talk.reply->response.error->released->kept);
    assert_int_equal(talk.core->shares.n_holds, 0);
}

static void test_next_with_a_block_that_is_not_held_changes_nothing(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, 0);

    assert_int_equal(next(&bob, 0, block), DISPATCH_OK);

    assert_error(&talk, FOREIGN, "is not held by this process");
    assert_int_equal(talk.core->shares.n_holds, 0);
}

static void test_next_for_writing_of_what_is_for_reading_only_is_DENIED(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_share(&alice, block, true), DISPATCH_OK);
    (void)publish(&alice, block, NAME, 0);

    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = NAME, .write = true}),
                     DISPATCH_OK);

    assert_error(&talk, DENIED, "for reading only");
    assert_int_equal(statistic("attaches_refused"), 1);
    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = NAME}), DISPATCH_OK);
    assert_int_equal(ask_next(&bob, &(struct asked_next){NAME, 0, block, 0, .write = true}), 0);
    assert_error(&talk, DENIED, "for reading only");
    assert_int_equal(talk.core->shares.n_holds, 0); /* it is let go of, though it is the old one */
}

static void test_next_that_is_repeated_gives_the_same_block_though_there_is_a_newer(void **state)
{
    (void)state;
    const uint64_t blocks[] = {allocate(&alice, 100), allocate(&alice, 200), allocate(&alice, 300)};
    const uint64_t first = publish(&alice, blocks[0], NAME, GIVE);
    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    const uint64_t second = publish(&alice, blocks[1], NAME, GIVE);
    talk.sequence = 1;
    assert_int_equal(next(&bob, first, blocks[0]), DISPATCH_OK);
    assert_int_equal(said_next(second), blocks[1]);

    talk.sequence = 0;
    const uint64_t third = publish(&alice, blocks[2], NAME, GIVE);
    talk.sequence = 1;
    for (unsigned n = 0; n < 3; n++) {
        share_talk_restart();
        assert_int_equal(next(&bob, first, blocks[0]), DISPATCH_OK);
        assert_int_equal(said_next(second), blocks[1]);
        assert_false(talk.reply->response.nexted->released->kept);
        assert_int_equal(talk.core->shares.n_holds, 1);
    }
    talk.sequence = 2;
    assert_int_equal(next(&bob, second, blocks[1]), DISPATCH_OK);
    assert_int_equal(said_next(third), blocks[2]);
    talk.sequence = 0;
}

static void test_next_that_was_cut_off_before_it_attached_attaches_the_newest(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const uint64_t version = publish(&alice, block, NAME, 0);
    talk.sequence = 1;
    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    const uint32_t share = shares_at(&talk.core->shares, (struct seg_off){block});
    shares_let_go(&talk.core->shares, shares_hold_of(&talk.core->shares, share, bob.client->slot));
    share_talk_restart();

    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);

    assert_int_equal(said_next(version), block);
    assert_int_equal(talk.core->shares.n_holds, 1);
    talk.sequence = 0;
}

static void test_next_of_the_block_that_is_let_go_of_holds_it_on(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const uint64_t first = publish(&alice, block, NAME, 0);
    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    const uint64_t second = publish(&alice, block, NAME, GIVE);

    talk.sequence = 1;
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(next(&bob, first, block), DISPATCH_OK);
        assert_int_equal(said_next(second), block);
        assert_true(talk.reply->response.nexted->released->kept);
        assert_int_equal(talk.core->shares.n_holds, 1);
    }
    talk.sequence = 0;
}

/* ---------------------------------------------------------------------------------- waiting -- */

static int wait_for(struct peer *peer, uint64_t after, uint64_t release_offset)
{
    return ask_next(
        peer, &(struct asked_next){
                  .name = NAME, .after = after, .release_offset = release_offset, .wait_ms = 1000});
}

static void test_next_that_waits_is_woken_by_the_name(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);

    assert_int_equal(wait_for(&bob, 0, 0), DISPATCH_WAITING);
    assert_int_equal(bob.wait.until_ms, talk.fixture.now_ms + 1000);
    assert_int_equal(wait_for(&carol, 0, 0), DISPATCH_WAITING);
    (void)publish(&alice, allocate(&alice, 10), "another", 0);
    assert_int_equal(n_woken, 0); /* unless it has the same bell */
    const uint64_t version = publish(&alice, block, NAME, 0);

    assert_int_equal(n_woken, 2);
    assert_int_equal(talk.core->waits.n, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ask_continue(&talk, woken[i]), DISPATCH_OK);
        assert_int_equal(said_next(version), block);
        assert_null(woken[i]->next_step);
    }
    assert_int_equal(talk.core->shares.n_holds, 2);
}

static void test_next_that_is_woken_for_nothing_waits_on(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const uint64_t version = publish(&alice, block, NAME, 0);
    assert_int_equal(wait_for(&bob, version, 0), DISPATCH_WAITING);

    waits_ring(&talk.core->waits, notice_bell_of(NAME, strlen(NAME)), wake, NULL);

    assert_int_equal(n_woken, 1);
    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_WAITING);
    assert_int_equal(talk.core->waits.n, 1);
    talk.fixture.now_ms += 1000;
    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_OK);
    assert_error(&talk, OLD, "means nothing newer");
    assert_int_equal(talk.core->waits.n, 0);
}

static void test_next_that_waits_for_no_name_in_vain_is_NO_NAME(void **state)
{
    (void)state;
    assert_int_equal(wait_for(&bob, 0, 0), DISPATCH_WAITING);

    talk.fixture.now_ms += 1000;

    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_OK);
    assert_error(&talk, NO_NAME, "");
}

static void test_next_waits_a_minute_at_most(void **state)
{
    (void)state;
    const struct asked_next long_one = {.name = NAME, .wait_ms = UINT32_MAX};

    assert_int_equal(ask_next(&bob, &long_one), DISPATCH_WAITING);

    assert_int_equal(bob.wait.until_ms, talk.fixture.now_ms + NEXT_WAIT_MAX_MS);
}

static void test_next_that_waits_has_let_go_before(void **state)
{
    (void)state;
    const uint64_t first = allocate(&alice, 100);
    const uint64_t second = allocate(&alice, 200);
    const uint64_t older = publish(&alice, first, NAME, GIVE);
    assert_int_equal(next(&bob, 0, 0), DISPATCH_OK);
    talk.sequence = 1;
    assert_int_equal(wait_for(&bob, older, first), DISPATCH_WAITING);
    assert_int_equal(talk.core->shares.n_holds, 0);

    share_talk_restart(); /* it asks again: what it has let go of is not let go of twice */
    assert_int_equal(wait_for(&bob, older, first), DISPATCH_WAITING);
    talk.sequence = 0;
    const uint64_t newer = publish(&alice, second, NAME, GIVE);
    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_OK);

    assert_int_equal(said_next(newer), second);
    assert_true(talk.reply->response.nexted->released->kept);
    talk.sequence = 1;
    share_talk_restart();
    assert_int_equal(wait_for(&bob, older, first), DISPATCH_OK);
    assert_int_equal(said_next(newer), second);
    assert_int_equal(talk.core->shares.n_holds, 1);
    talk.sequence = 0;
}

static void test_next_that_only_waits_attaches_nothing(void **state)
{
    (void)state;
    const struct asked_next asked = {.name = NAME, .wait_ms = 10, .only_wait = true};
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_WAITING);
    const uint64_t version = publish(&alice, allocate(&alice, 100), NAME, 0);

    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_OK);

    assert_int_equal(talk.reply->response.nexted->version, version);
    assert_null(talk.reply->response.nexted->block);
    assert_int_equal(talk.core->shares.n_holds, 0);
}

static void test_next_of_a_peer_that_hangs_up_is_forgotten(void **state)
{
    (void)state;
    assert_int_equal(wait_for(&bob, 0, 0), DISPATCH_WAITING);
    assert_int_equal(wait_for(&carol, 0, 0), DISPATCH_WAITING);

    share_talk_come_back(&bob);

    assert_int_equal(talk.core->waits.n, 1);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    assert_int_equal(n_woken, 1);
    assert_ptr_equal(woken[0], &carol);
    assert_int_equal(ask_continue(&talk, &carol), DISPATCH_OK);
}

static void test_next_of_a_process_that_has_ended_attaches_nothing(void **state)
{
    (void)state;
    assert_int_equal(wait_for(&bob, 0, 0), DISPATCH_WAITING);
    core_end(talk.core, bob.client, false, talk.fixture.now_ms);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);

    assert_int_equal(ask_continue(&talk, &bob), DISPATCH_CLOSE);

    assert_int_equal(talk.core->shares.n_holds, 0);
    fixture_reap(&talk.fixture, UINT32_MAX);
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, names_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_publish_of_a_bad_name_says_what_is_bad),
        TALK_TEST(test_publish_replaces_and_rings),
        TALK_TEST(test_publish_of_a_name_that_is_to_be_new_is_EXISTS),
        TALK_TEST(test_publish_of_more_names_than_can_be_is_FULL),
        TALK_TEST(test_publish_of_a_given_block_lets_go_of_it_once),
        TALK_TEST(test_publish_that_is_repeated_undoes_nothing_that_came_after_it),
        TALK_TEST(test_publish_that_was_cut_off_is_known_to_have_come_to_pass),
        TALK_TEST(test_publish_that_was_never_done_is_done_when_it_comes_again),
        TALK_TEST(test_publish_that_was_refused_may_be_granted_when_it_comes_again),
        TALK_TEST(test_unpublish_of_no_name_is_NO_NAME),
        TALK_TEST(test_unpublish_by_another_user_is_DENIED),
        TALK_TEST(test_unpublish_that_is_repeated_leaves_what_was_published_since),
        TALK_TEST(test_next_of_no_name_or_of_nothing_newer_says_so),
        TALK_TEST(test_next_lets_go_of_the_old_and_attaches_the_new),
        TALK_TEST(test_next_of_nothing_newer_lets_go_all_the_same),
        TALK_TEST(test_next_with_a_block_that_is_not_held_changes_nothing),
        TALK_TEST(test_next_for_writing_of_what_is_for_reading_only_is_DENIED),
        TALK_TEST(test_next_that_is_repeated_gives_the_same_block_though_there_is_a_newer),
        TALK_TEST(test_next_that_was_cut_off_before_it_attached_attaches_the_newest),
        TALK_TEST(test_next_of_the_block_that_is_let_go_of_holds_it_on),
        TALK_TEST(test_next_that_waits_is_woken_by_the_name),
        TALK_TEST(test_next_that_is_woken_for_nothing_waits_on),
        TALK_TEST(test_next_that_waits_for_no_name_in_vain_is_NO_NAME),
        TALK_TEST(test_next_waits_a_minute_at_most),
        TALK_TEST(test_next_that_waits_has_let_go_before),
        TALK_TEST(test_next_that_only_waits_attaches_nothing),
        TALK_TEST(test_next_of_a_peer_that_hangs_up_is_forgotten),
        TALK_TEST(test_next_of_a_process_that_has_ended_attaches_nothing),
    };
    return cmocka_run_group_tests_name("dispatch_names", tests, NULL, NULL);
}
