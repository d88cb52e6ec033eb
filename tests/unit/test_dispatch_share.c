/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_share.c - conversations about shared blocks: Share, Attach, Transfer
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "tests/support/seeded.h"
#include "tests/unit/share_talk.h"

#define DENIED KMEM__ERROR_CODE__ERROR_DENIED
#define FOREIGN KMEM__ERROR_CODE__ERROR_FOREIGN
#define FULL KMEM__ERROR_CODE__ERROR_FULL
#define HELD KMEM__ERROR_CODE__ERROR_HELD
#define INTERIOR KMEM__ERROR_CODE__ERROR_INTERIOR
#define INVALID KMEM__ERROR_CODE__ERROR_INVALID
#define RELEASED KMEM__ERROR_CODE__ERROR_RELEASED
#define STALE KMEM__ERROR_CODE__ERROR_STALE
#define WILD KMEM__ERROR_CODE__ERROR_WILD

#define SEED 12

static void assert_same_handle(const struct share_handle *left, const struct share_handle *right)
{
    assert_memory_equal(left, right, sizeof(*left));
}

/* A handle is refused, and nothing has changed. */
static void refused(struct peer *peer, const struct share_handle *handle, bool write,
                    Kmem__ErrorCode code, const char *words)
{
    const uint32_t n_holds = talk.core->shares.n_holds;
    assert_int_equal(ask_attach(peer, handle, 1, write), DISPATCH_OK);
    assert_error(&talk, code, words);
    assert_int_equal(talk.core->shares.n_holds, n_holds);
}

/* ------------------------------------------------------------------------------------ Share -- */

static void test_share_is_answered_with_a_handle_and_again_with_the_same(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1000);

    const struct share_handle first = share(&alice, block);

    const struct share_handle again = share(&alice, block);
    assert_same_handle(&first, &again);
    assert_int_equal(first.instance, talk.core->state.header->instance);
    assert_int_equal(first.offset, block);
    assert_int_equal(first.num_bytes, 1000);
    assert_true(first.tag != 0);
    assert_int_equal(statistic("shares"), 1);
    assert_int_equal(statistic("holds"), 0);
}

static void test_share_of_no_block_says_what_is_there(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1000);
    const uint64_t bobs = allocate(&bob, 1000);
    const uint64_t gone = allocate(&alice, 3000);
    assert_int_equal(ask_release(&talk, &alice, gone), DISPATCH_OK);
    const struct {
        uint64_t offset;
        Kmem__ErrorCode code;
        const char *words;
    } wrong[] = {
        {0, WILD, "offset 0 lies in no block"},
        {UINT64_MAX, WILD, "lies in no block"},
        {(SHARE_TALK_PAGES - 1) * PAGE_BYTES, WILD, "lies in no block"},
        {block + 16, INTERIOR, "16 bytes inside the block"},
        {bobs, FOREIGN, "belongs to process 2"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(ask_share(&alice, wrong[i].offset, false), DISPATCH_OK);
        assert_error(&talk, wrong[i].code, wrong[i].words);
        assert_int_equal(ask_transfer(&alice, wrong[i].offset, false), DISPATCH_OK);
        assert_error(&talk, wrong[i].code, wrong[i].words);
        assert_int_equal(ask_publish(&alice, wrong[i].offset, "x", 0), DISPATCH_OK);
        assert_error(&talk, wrong[i].code, wrong[i].words);
    }
    assert_int_equal(statistic("shares"), 0);
    assert_int_equal(statistic("misuses"), 3 * sizeof(wrong) / sizeof(wrong[0]));
}

static void test_share_by_a_holder_that_is_not_the_owner_is_FOREIGN(void **state)
{
    (void)state;
    const struct share_handle handle = share(&alice, allocate(&alice, 100));
    attach(&bob, &handle);

    assert_int_equal(ask_share(&bob, handle.offset, true), DISPATCH_OK);

    assert_error(&talk, FOREIGN, "");
    refused(&carol, &(struct share_handle){.instance = handle.instance}, false, STALE, "is gone");
    assert_int_equal(ask_attach(&carol, &handle, 1, true), DISPATCH_OK); /* still for writing */
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
}

/* ----------------------------------------------------------------------------------- Attach -- */

static void test_attach_is_answered_with_the_block_and_again_with_the_same(void **state)
{
    (void)state;
    const struct share_handle handle = share(&alice, allocate(&alice, 5000));

    for (unsigned n = 0; n < 2; n++) {
        attach(&bob, &handle);
        const Kmem__Attached *attached = talk.reply->response.attached;
        assert_int_equal(attached->n_blocks, 1);
        assert_int_equal(attached->blocks[0]->offset, handle.offset);
        assert_int_equal(attached->blocks[0]->num_bytes, 5000);
        assert_int_equal(attached->blocks[0]->generation, handle.generation);
        assert_int_equal(attached->blocks[0]->tag, handle.tag);
        assert_false(attached->blocks[0]->is_own);
        assert_false(attached->blocks[0]->is_writable);
        assert_int_equal(talk.core->shares.n_holds, 1);
    }
    assert_int_equal(ask_attach(&bob, &handle, 1, true), DISPATCH_OK);
    assert_true(talk.reply->response.attached->blocks[0]->is_writable);
    assert_int_equal(talk.core->shares.n_holds, 1);
    assert_int_equal(statistic("attaches"), 3);
}

static void test_attach_by_the_owner_makes_no_hold(void **state)
{
    (void)state;
    const struct share_handle handle = share(&alice, allocate(&alice, 100));

    attach(&alice, &handle);

    assert_true(talk.reply->response.attached->blocks[0]->is_own);
    assert_true(talk.reply->response.attached->blocks[0]->is_writable);
    assert_int_equal(talk.core->shares.n_holds, 0);
}

static void test_attach_of_a_changed_handle_is_refused_and_says_why(void **state)
{
    (void)state;
    const struct share_handle handle = share(&alice, allocate(&alice, 100));
    struct share_handle changed = handle;

    changed.tag ^= 1;
    refused(&bob, &changed, false, DENIED, "its tag is wrong");
    changed = handle;
    changed.instance++;
    refused(&bob, &changed, false, STALE, "of another segment than \"" FIXTURE_NAME "\"");
    changed = handle;
    changed.generation += UINT64_C(1) << SHARE_INDEX_BITS;
    refused(&bob, &changed, false, STALE, "is gone, or never was; ask for a new handle");
    changed = handle;
    changed.generation++; /* another record */
    refused(&bob, &changed, false, STALE, "is gone, or never was");
    changed = handle;
    changed.offset += 16;
    refused(&bob, &changed, false, STALE, "is gone, or never was");
    assert_int_equal(statistic("attaches_refused"), 5);
}

static void test_attach_of_random_handles_is_refused(void **state)
{
    (void)state;
    struct seeded seeded = {SEED};
    const struct share_handle handle = share(&alice, allocate(&alice, 100));
    print_message("seed %d\n", SEED);

    for (unsigned n = 0; n < 20000; n++) {
        struct share_handle guess = handle;
        uint64_t *const words[] = {&guess.instance, &guess.generation, &guess.tag, &guess.offset};
        const uint64_t was = *words[n % 4];
        *words[n % 4] = seeded_log(&seeded, 64);
        assert_int_equal(ask_attach(&bob, &guess, 1, false), DISPATCH_OK);
        assert_true(was == *words[n % 4] ||
                    talk.reply->response.body_case == KMEM__RESPONSE__BODY_ERROR);
    }

    assert_int_equal(talk.core->shares.n_holds, 0);
}

static void test_attach_of_a_block_that_is_gone_is_STALE_for_ever(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle gone = share(&alice, block);
    assert_false(let_go(&alice, block));

    refused(&bob, &gone, false, STALE, "is gone");
    assert_int_equal(allocate(&alice, 100), block); /* the same place, and the same record */
    const struct share_handle next = share(&alice, block);
    assert_int_not_equal(next.generation, gone.generation);
    refused(&bob, &gone, false, STALE, "is gone");
    attach(&bob, &next);
}

static void test_attach_for_writing_of_what_is_shared_read_only_is_DENIED(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_share(&alice, block, true), DISPATCH_OK);
    const struct share_handle handle = said_handle();

    refused(&bob, &handle, true, DENIED, "\"frame\") is shared for reading only");

    attach(&bob, &handle);
    assert_int_equal(ask_attach(&alice, &handle, 1, true), DISPATCH_OK); /* the owner */
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
    assert_int_equal(ask_share(&alice, block, false), DISPATCH_OK);
    assert_int_equal(ask_attach(&bob, &handle, 1, true), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
}

static void test_attach_with_a_bad_reason_is_INVALID(void **state)
{
    (void)state;
    const struct share_handle handle = share(&alice, allocate(&alice, 100));
    char text[REASON_MAX_BYTES + 1];
    memset(text, 'r', sizeof(text));
    const struct {
        const char *bytes;
        size_t n_bytes;
    } bad[] = {{"\xff", 1}, {"a\0b", 3}, {text, sizeof(text)}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ask_attach_as(&bob, &handle, bad[i].bytes, bad[i].n_bytes), DISPATCH_OK);
        assert_error(&talk, INVALID, "the reason must be UTF-8 without NUL, at most 127 bytes");
    }
    assert_int_equal(talk.core->shares.n_holds, 0);
    assert_int_equal(ask_attach_as(&bob, &handle, "", 0), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
}

static void make_handles(struct share_handle *handles, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        handles[i] = share(&alice, allocate(&alice, 100));
    }
}

static void test_attach_of_64_is_answered_and_of_65_or_none_INVALID(void **state)
{
    (void)state;
    struct share_handle handles[SHARE_MANY_MAX + 1];
    make_handles(handles, SHARE_MANY_MAX + 1);

    assert_int_equal(ask_attach(&bob, handles, SHARE_MANY_MAX + 1, false), DISPATCH_OK);
    assert_error(&talk, INVALID, "65 handles can not be attached in one request: 1 to 64 can");
    assert_int_equal(ask_attach(&bob, handles, 0, false), DISPATCH_OK);
    assert_error(&talk, INVALID, "0 handles can not be attached");
    assert_int_equal(talk.core->shares.n_holds, 0);
    assert_int_equal(ask_attach(&bob, handles, SHARE_MANY_MAX, false), DISPATCH_OK);
    assert_int_equal(talk.reply->response.attached->n_blocks, SHARE_MANY_MAX);
    assert_int_equal(talk.core->shares.n_holds, SHARE_MANY_MAX);
}

static void test_attach_of_many_is_of_all_or_of_none(void **state)
{
    (void)state;
    struct share_handle handles[4];
    make_handles(handles, 4);
    attach(&bob, &handles[1]);
    assert_false(let_go(&alice, handles[3].offset));

    assert_int_equal(ask_attach(&bob, handles, 4, false), DISPATCH_OK);

    assert_error(&talk, STALE, "handle 4 of 4: its block");
    assert_int_equal(talk.core->shares.n_holds, 1); /* what it had before */
}

static void test_attach_of_many_that_comes_again_and_fails_lets_go_of_what_it_had_got(void **state)
{
    (void)state;
    struct share_handle handles[4];
    make_handles(handles, 4);
    attach(&bob, &handles[1]);
    talk.sequence = 1;
    assert_int_equal(ask_attach(&bob, handles, 4, false), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);

    /* The answer was lost; as if the server had come as far as three of them, one is gone now. */
    const uint32_t slot = bob.client->slot;
    uint32_t share;
    assert_int_equal(shares_find(&talk.core->shares, &handles[3], &share), 0);
    shares_let_go(&talk.core->shares, shares_hold_of(&talk.core->shares, share, slot));
    talk.sequence = 0;
    assert_false(let_go(&alice, handles[3].offset));
    share_talk_restart();
    talk.sequence = 1;
    assert_int_equal(ask_attach(&bob, handles, 4, false), DISPATCH_OK);

    assert_error(&talk, STALE, "handle 4 of 4");
    assert_int_equal(talk.core->shares.n_holds, 1);
    assert_int_equal(shares_find(&talk.core->shares, &handles[1], &share), 0);
    assert_int_not_equal(shares_hold_of(&talk.core->shares, share, slot), 0);
    talk.sequence = 0;
}

static void test_attach_without_a_free_hold_is_FULL(void **state)
{
    (void)state;
    struct share_handle handles[2];
    make_handles(handles, 2);
    const uint32_t n_holds = talk.core->shares.n_holds;
    talk.core->shares.n_holds = HOLDS_MAX - 2; /* as if there were so many */

    assert_int_equal(ask_attach(&bob, handles, 2, false), DISPATCH_OK);

    assert_error(&talk, FULL, "as many as can be; release some of them");
    talk.core->shares.n_holds = n_holds;
    assert_int_equal(ask_attach(&bob, handles, 2, false), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
}

static void test_attach_of_offers_without_a_hold_for_each_takes_up_none(void **state)
{
    (void)state;
    struct share_handle handles[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ask_transfer(&alice, allocate(&alice, 100), false), DISPATCH_OK);
        handles[i] = said_handle();
    }
    talk.core->shares.n_holds = HOLDS_MAX - 2; /* as if there were so many */

    assert_int_equal(ask_attach(&bob, handles, 2, true), DISPATCH_OK);

    assert_error(&talk, FULL, "as many as can be; release some of them");
    talk.core->shares.n_holds = 0;
    attach(&carol, &handles[0]);
    attach(&bob, &handles[1]);
}

/* --------------------------------------------------------------------------------- Transfer -- */

static void test_transfer_makes_the_first_to_attach_the_owner(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);

    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();

    assert_int_equal(ask_release(&talk, &alice, block), DISPATCH_OK);
    assert_error(&talk, RELEASED, "has released it or handed it over");
    attach(&bob, &handle);
    assert_true(talk.reply->response.attached->blocks[0]->is_writable);
    assert_int_equal(ask_share(&bob, block, false), DISPATCH_OK); /* as an owner may */
    assert_body(&talk, KMEM__RESPONSE__BODY_SHARED);
    assert_false(let_go(&bob, block));
    assert_int_equal(talk.core->direct.n_blocks, 0);
}

static void test_transfer_of_what_others_hold_is_HELD(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);
    (void)publish(&alice, block, "name", 0);

    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);

    assert_error(&talk, HELD, "1 others hold it, and 1 names mean it");
    assert_int_equal(ask_size_of(&talk, &alice, block), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_SIZED);
}

static void test_transfer_that_is_repeated_has_the_same_handle(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle shared = share(&alice, block); /* so others know the handle */
    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, true), DISPATCH_OK);
    share_talk_restart();
    assert_int_equal(ask_transfer(&alice, block, true), DISPATCH_OK);
    const struct share_handle again = said_handle();
    assert_same_handle(&again, &shared);

    talk.sequence = 0;
    attach(&bob, &shared);
    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, true), DISPATCH_OK);
    const struct share_handle taken = said_handle();
    assert_same_handle(&taken, &shared);

    talk.sequence = 0;
    assert_false(let_go(&bob, block));
    assert_int_equal(allocate(&alice, 100), block); /* in its place, and not what is asked of */
    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, true), DISPATCH_OK);
    const struct share_handle gone = said_handle();
    assert_int_equal(gone.generation, shared.generation);
    talk.sequence = 0;
    refused(&carol, &gone, false, STALE, "is gone");
    assert_int_equal(ask_size_of(&talk, &alice, block), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_SIZED);
}

static void test_transfer_keeps_what_is_for_reading_only(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    assert_int_equal(ask_share(&alice, block, true), DISPATCH_OK);
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();

    assert_int_equal(ask_attach(&bob, &handle, 1, true), DISPATCH_OK); /* the owner from now on */
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
    refused(&carol, &handle, true, DENIED, "for reading only");
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_share_is_answered_with_a_handle_and_again_with_the_same),
        TALK_TEST(test_share_of_no_block_says_what_is_there),
        TALK_TEST(test_share_by_a_holder_that_is_not_the_owner_is_FOREIGN),
        TALK_TEST(test_attach_is_answered_with_the_block_and_again_with_the_same),
        TALK_TEST(test_attach_by_the_owner_makes_no_hold),
        TALK_TEST(test_attach_of_a_changed_handle_is_refused_and_says_why),
        TALK_TEST(test_attach_of_random_handles_is_refused),
        TALK_TEST(test_attach_of_a_block_that_is_gone_is_STALE_for_ever),
        TALK_TEST(test_attach_for_writing_of_what_is_shared_read_only_is_DENIED),
        TALK_TEST(test_attach_with_a_bad_reason_is_INVALID),
        TALK_TEST(test_attach_of_64_is_answered_and_of_65_or_none_INVALID),
        TALK_TEST(test_attach_of_many_is_of_all_or_of_none),
        TALK_TEST(test_attach_of_many_that_comes_again_and_fails_lets_go_of_what_it_had_got),
        TALK_TEST(test_attach_without_a_free_hold_is_FULL),
        TALK_TEST(test_attach_of_offers_without_a_hold_for_each_takes_up_none),
        TALK_TEST(test_transfer_makes_the_first_to_attach_the_owner),
        TALK_TEST(test_transfer_of_what_others_hold_is_HELD),
        TALK_TEST(test_transfer_that_is_repeated_has_the_same_handle),
        TALK_TEST(test_transfer_keeps_what_is_for_reading_only),
    };
    return cmocka_run_group_tests_name("dispatch_share", tests, NULL, NULL);
}
