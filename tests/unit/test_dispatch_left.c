/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_left.c - conversations about names that ended clients have left, and about news
 */
#include <string.h>

#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define DENIED KMEM__ERROR_CODE__ERROR_DENIED
#define NAME "camera0/latest"

static void test_unpublish_of_a_name_that_was_left_is_denied_to_other_users(void **state)
{
    struct peer dora;
    peer_open_member(&talk, &dora, 4);
    (void)publish(&dora, allocate(&dora, 100), NAME, KEEP);
    core_end(talk.core, dora.client, false, talk.fixture.now_ms);
    peer_close(&talk, &dora);
    fixture_reap(&talk.fixture, UINT32_MAX);
    assert_int_equal(ask_unpublish(&bob, NAME), DISPATCH_OK);
    assert_error(&talk, DENIED, "that of a process that has ended, of another user");
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
}

static void test_next_that_only_waits_is_told_at_once_of_a_newer_one(void **state)
{
    (void)publish(&alice, allocate(&alice, 100), NAME, GIVE);
    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = NAME, .only_wait = true}),
                     DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_NEXTED);
    assert_null(talk.reply->response.nexted->block);
}

/* Dora publishes, and ends; the name stays. */
static void leave(const char *name, uint64_t num_bytes)
{
    struct peer dora;
    peer_open_member(&talk, &dora, 4);
    (void)publish(&dora, allocate(&dora, num_bytes), name, KEEP);
    core_end(talk.core, dora.client, false, talk.fixture.now_ms);
    peer_close(&talk, &dora);
    fixture_reap(&talk.fixture, UINT32_MAX);
}

static void test_publish_beside_names_that_were_left_alone_says_so(void **state)
{
    leave(NAME, 100);
    talk.core->names.limit = 1;
    assert_int_equal(ask_publish(&alice, allocate(&alice, 100), "another", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FULL, "their publishers have ended");
    talk.core->names.limit = SHARE_NAMES_USUAL;
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
}

static void test_publish_beside_too_many_names_says_who_has_the_most(void **state)
{
    (void)publish(&bob, allocate(&bob, 100), "one", 0);
    (void)publish(&alice, allocate(&alice, 100), "two", 0);
    (void)publish(&bob, allocate(&bob, 100), "three", 0);
    (void)publish(&carol, allocate(&carol, 100), "four", 0);
    talk.core->names.limit = 4;
    assert_int_equal(ask_publish(&alice, allocate(&alice, 100), "five", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_FULL, "2 of them are those of process 2 (worker-2");
    talk.core->names.limit = SHARE_NAMES_USUAL;
}

/* Names keep it all, of a process that has ended: nobody is named that could release anything. */
static void test_no_room_beside_what_was_left_names_no_process(void **state)
{
    leave(NAME, (SHARE_TALK_PAGES - 2) * PAGE_BYTES);
    assert_int_equal(ask_allocate(&talk, &alice, 2 * PAGE_BYTES, "more", 4), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "unpublish names");
    assert_null(strstr(talk.reply->response.error->message, "by process:"));
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
}

int main(void)
{
#define LEFT_TEST(test) cmocka_unit_test_setup_teardown(test, share_talk_setup, share_talk_teardown)
    const struct CMUnitTest tests[] = {
        LEFT_TEST(test_unpublish_of_a_name_that_was_left_is_denied_to_other_users),
        LEFT_TEST(test_next_that_only_waits_is_told_at_once_of_a_newer_one),
        LEFT_TEST(test_publish_beside_names_that_were_left_alone_says_so),
        LEFT_TEST(test_publish_beside_too_many_names_says_who_has_the_most),
        LEFT_TEST(test_no_room_beside_what_was_left_names_no_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
