/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_release.c - Release, ReleaseMany and SizeOf, of those who hold a shared block
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "tests/unit/share_talk.h"

#define FOREIGN KMEM__ERROR_CODE__ERROR_FOREIGN
#define INTERIOR KMEM__ERROR_CODE__ERROR_INTERIOR
#define INVALID KMEM__ERROR_CODE__ERROR_INVALID
#define RELEASED KMEM__ERROR_CODE__ERROR_RELEASED
#define WILD KMEM__ERROR_CODE__ERROR_WILD

/* A leased block of Alice's, of 64 bytes. */
static uint64_t carve(void)
{
    const uint32_t size_class = size_class_of(64);
    const uint32_t page =
        fixture_lease(&talk.fixture, alice.client, size_classes[size_class].span_pages);
    fixture_carve(&talk.fixture, alice.client, page, size_class);
    const uint32_t index = ledger_take(&talk.fixture.ledgers[alice.client->slot], page, 64,
                                       fixture_tell(&talk.fixture, alice.client, "leased"), 0, 0);
    return page * PAGE_BYTES + index * UINT64_C(64);
}

/* ----------------------------------------------------------------------- Release and SizeOf -- */

static void test_release_and_size_of_serve_every_holder(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 1234);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);
    attach(&carol, &handle);

    assert_int_equal(ask_size_of(&talk, &bob, block), DISPATCH_OK);
    assert_int_equal(talk.reply->response.sized->num_bytes, 1234);
    assert_true(let_go(&alice, block));
    assert_int_equal(talk.reply->response.released->num_bytes, 1234);
    assert_int_equal(ask_size_of(&talk, &alice, block), DISPATCH_OK);
    assert_error(&talk, RELEASED, "has released it or handed it over");
    assert_int_equal(ask_size_of(&talk, &carol, block), DISPATCH_OK);
    assert_int_equal(talk.reply->response.sized->num_bytes, 1234);
    assert_true(let_go(&bob, block));
    assert_int_equal(talk.core->direct.n_blocks, 1);
    assert_false(let_go(&carol, block));
    assert_int_equal(talk.core->direct.n_blocks, 0);
    assert_int_equal(talk.core->shares.n_shares, 0);
}

static void test_release_of_a_shared_block_by_others_is_refused(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);

    assert_int_equal(ask_release(&talk, &carol, block), DISPATCH_OK);
    assert_error(&talk, FOREIGN, "is not held by this process; attach it first");
    assert_int_equal(talk.reply->response.error->num_bytes, 100);
    assert_int_equal(ask_release(&talk, &bob, block + 16), DISPATCH_OK);
    assert_error(&talk, INTERIOR, "not at its start");
    assert_true(let_go(&bob, block));
    assert_int_equal(ask_release(&talk, &bob, block), DISPATCH_OK);
    assert_error(&talk, FOREIGN, "is not held by this process");
}

static void test_release_that_is_repeated_says_the_same_again(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    const struct share_handle handle = share(&alice, block);
    attach(&bob, &handle);

    talk.sequence = 1;
    assert_true(let_go(&alice, block));
    share_talk_come_back(&alice);
    assert_true(let_go(&alice, block));
    share_talk_restart();
    assert_true(let_go(&alice, block));
    assert_int_equal(talk.core->shares.n_holds, 1);
    assert_false(let_go(&bob, block));
    share_talk_restart();
    assert_false(let_go(&bob, block));
    assert_true(let_go(&alice, block)); /* though nobody keeps it any more */
    talk.sequence = 0;
    assert_int_equal(talk.core->direct.n_blocks, 0);
}

/* ------------------------------------------------------------------------------ ReleaseMany -- */

static void test_release_many_lets_go_of_own_and_of_shared_blocks(void **state)
{
    (void)state;
    const uint64_t own = allocate(&bob, 10);
    const struct share_handle kept = share(&alice, allocate(&alice, 20));
    const struct share_handle last = share(&alice, allocate(&alice, 30));
    attach(&bob, &kept);
    attach(&bob, &last);
    assert_true(let_go(&alice, last.offset));
    const uint64_t offsets[] = {own, kept.offset, last.offset};

    talk.sequence = 1;
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(ask_release_many(&bob, offsets, 3), DISPATCH_OK);
        assert_body(&talk, KMEM__RESPONSE__BODY_RELEASED_MANY);
        const Kmem__ReleasedMany *released = talk.reply->response.released_many;
        assert_null(released->refused);
        assert_int_equal(released->n_released, 3);
        assert_int_equal(released->released[0]->num_bytes, n == 0 ? 10 : 0);
        assert_false(released->released[0]->kept);
        assert_true(released->released[1]->kept); /* also when it is asked for again */
        assert_false(released->released[2]->kept);
        assert_int_equal(released->released[2]->unwritten, n == 0); /* not known any more */
        share_talk_restart();
    }
    talk.sequence = 0;
    assert_int_equal(talk.core->direct.n_blocks, 1);
}

static void test_release_many_ends_with_the_first_that_is_refused(void **state)
{
    (void)state;
    const uint64_t first = allocate(&bob, 10);
    const uint64_t last = allocate(&bob, 30);
    const uint64_t offsets[] = {first, first + 8 * PAGE_BYTES, last};

    talk.sequence = 1;
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(ask_release_many(&bob, offsets, 3), DISPATCH_OK);
        const Kmem__ReleasedMany *released = talk.reply->response.released_many;
        assert_int_equal(released->n_released, 1);
        assert_non_null(released->refused);
        assert_int_equal(released->refused->code, WILD);
        assert_int_equal(released->refused->offset, offsets[1]);
    }
    talk.sequence = 0;
    assert_int_equal(ask_size_of(&talk, &bob, last), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_SIZED);
}

static void test_release_many_of_the_same_twice_releases_it_once(void **state)
{
    (void)state;
    const uint64_t block = allocate(&bob, 10);
    const uint64_t offsets[] = {block, block};

    assert_int_equal(ask_release_many(&bob, offsets, 2), DISPATCH_OK);

    assert_int_equal(talk.reply->response.released_many->n_released, 1);
    assert_non_null(talk.reply->response.released_many->refused);
}

static void test_release_many_of_65_or_none_is_INVALID(void **state)
{
    (void)state;
    const uint64_t offsets[SHARE_MANY_MAX + 1] = {0};

    assert_int_equal(ask_release_many(&bob, offsets, SHARE_MANY_MAX + 1), DISPATCH_OK);
    assert_error(&talk, INVALID, "65 blocks can not be released in one request: 1 to 64 can");
    assert_int_equal(ask_release_many(&bob, offsets, 0), DISPATCH_OK);
    assert_error(&talk, INVALID, "0 blocks can not be released");
}

/* ------------------------------------------------------------------------------- of a lease -- */

static void test_share_of_a_leased_block_is_kept_until_the_last_has_let_go(void **state)
{
    (void)state;
    const uint64_t block = carve();
    const struct share_handle handle = share(&alice, block);
    assert_int_equal(handle.num_bytes, 64);
    attach(&bob, &handle);

    talk.sequence = 1;
    assert_true(let_go(&alice, block));
    share_talk_restart();
    assert_true(let_go(&alice, block));
    assert_int_equal(ask_size_of(&talk, &bob, block), DISPATCH_OK);
    assert_int_equal(talk.reply->response.sized->num_bytes, 64);
    assert_false(let_go(&bob, block));
    assert_true(let_go(&alice, block)); /* it comes home by the returns */
    talk.sequence = 0;
    assert_int_equal(talk.core->shares.n_shares, 0);
}

static void test_release_of_a_leased_block_by_its_last_owner_is_home_also_again(void **state)
{
    (void)state;
    const uint64_t block = carve();
    (void)share(&alice, block);

    talk.sequence = 1;
    assert_false(let_go(&alice, block));
    share_talk_restart();
    assert_false(let_go(&alice, block));
    talk.sequence = 0;
    assert_int_equal(talk.core->shares.n_shares, 0);
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_release_and_size_of_serve_every_holder),
        TALK_TEST(test_release_of_a_shared_block_by_others_is_refused),
        TALK_TEST(test_release_that_is_repeated_says_the_same_again),
        TALK_TEST(test_release_many_lets_go_of_own_and_of_shared_blocks),
        TALK_TEST(test_release_many_ends_with_the_first_that_is_refused),
        TALK_TEST(test_release_many_of_the_same_twice_releases_it_once),
        TALK_TEST(test_release_many_of_65_or_none_is_INVALID),
        TALK_TEST(test_share_of_a_leased_block_is_kept_until_the_last_has_let_go),
        TALK_TEST(test_release_of_a_leased_block_by_its_last_owner_is_home_also_again),
    };
    return cmocka_run_group_tests_name("dispatch_release", tests, NULL, NULL);
}
