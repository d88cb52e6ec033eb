/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_again.c - requests that come again when the records they were about are gone
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/share_talk.h"

#define NO_NAME KMEM__ERROR_CODE__ERROR_NO_NAME
#define NAME "camera0/latest"

/* A restart reads as many records as were used to the last: none, where each is free. */
static void test_transfer_when_no_record_is_left_has_its_handle(void **state)
{
    (void)state;
    const uint64_t block = allocate(&alice, 100);
    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);
    const struct share_handle handle = said_handle();
    talk.sequence = 0;
    attach(&bob, &handle);
    assert_false(let_go(&bob, block));
    share_talk_restart();

    talk.sequence = 1;
    assert_int_equal(ask_transfer(&alice, block, false), DISPATCH_OK);

    const struct share_handle gone = said_handle();
    assert_int_equal(gone.generation, handle.generation);
    talk.sequence = 0;
}

/* It was to attach what the name meant; a server is killed, then the name ends, then another is. */
static void test_next_when_no_record_is_left_looks_anew(void **state)
{
    (void)state;
    const struct asked_next asked = {.name = NAME};
    const uint64_t block = allocate(&alice, 100);
    (void)publish(&alice, block, NAME, GIVE);
    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);
    const uint32_t share = shares_at(&talk.core->shares, (struct seg_off){block});
    shares_let_go(&talk.core->shares, shares_hold_of(&talk.core->shares, share, bob.client->slot));
    share_talk_restart();
    talk.sequence = 0;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    share_talk_restart();

    talk.sequence = 1;
    assert_int_equal(ask_next(&bob, &asked), DISPATCH_OK);

    assert_error(&talk, NO_NAME, "no block is published");
    talk.sequence = 0;
}

#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(test_transfer_when_no_record_is_left_has_its_handle),
        TALK_TEST(test_next_when_no_record_is_left_looks_anew),
    };
    return cmocka_run_group_tests_name("dispatch_again", tests, NULL, NULL);
}
