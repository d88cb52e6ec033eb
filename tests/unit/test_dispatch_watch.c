/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_watch.c - conversations about Watch: what an observer is told, and when
 */
#include <stdio.h>
#include <string.h>

#include "proto/limits.h"
#include "proto/notice.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define NAME "camera0/latest"

static struct peer watcher;
static size_t n_woken;

static void wake(struct wait *wait, void *user)
{
    (void)user;
    assert_ptr_equal(wait, &watcher.wait);
    n_woken++;
}

static int watch_setup(void **state)
{
    (void)share_talk_setup(state);
    talk.core->config.wake = wake;
    talk.fixture.config.wake = wake;
    peer_open_observer(&talk, &watcher, 20);
    n_woken = 0;
    return 0;
}

static int watch_teardown(void **state)
{
    peer_close(&talk, &watcher);
    return share_talk_teardown(state);
}

static int ask_watch(struct peer *peer, const void *name, size_t n_bytes)
{
    Kmem__Watch watch = KMEM__WATCH__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    watch.name = (ProtobufCBinaryData){n_bytes, (uint8_t *)(uintptr_t)name};
    request.body_case = KMEM__REQUEST__BODY_WATCH;
    request.watch = &watch;
    return ask_request(&talk, peer, &request);
}

static void watch(void)
{
    assert_int_equal(ask_watch(&watcher, NAME, strlen(NAME)), DISPATCH_WATCHING);
    assert_body(&talk, KMEM__RESPONSE__BODY_WATCHED);
    assert_int_equal(talk.core->waits.n, 1);
}

/* It was woken so often, and says so, or finds that it was another name. */
static void expect_word(size_t n, int outcome)
{
    assert_int_equal(n_woken, n);
    assert_int_equal(ask_continue(&talk, &watcher), outcome);
    if (outcome == DISPATCH_WATCHING) {
        assert_body(&talk, KMEM__RESPONSE__BODY_WATCHED);
    }
    assert_int_equal(talk.core->waits.n, 1);
    assert_int_equal(watcher.wait.until_ms, WAIT_FOR_EVER);
    n_woken = 0;
}

static void test_watch_says_that_a_name_is_published_and_replaced(void **state)
{
    watch();
    const uint64_t first = allocate(&alice, 100);
    (void)publish(&alice, first, NAME, 0);
    expect_word(1, DISPATCH_WATCHING);
    (void)publish(&alice, first, NAME, 0); /* the same block, anew */
    expect_word(1, DISPATCH_WATCHING);
    (void)publish(&bob, allocate(&bob, 100), NAME, GIVE);
    expect_word(1, DISPATCH_WATCHING);
}

static void test_watch_of_a_name_that_means_something_says_so_when_that_changes(void **state)
{
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    watch();
    assert_int_equal(n_woken, 0);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    expect_word(1, DISPATCH_WATCHING);
}

static void test_watch_says_several_changes_in_one_word(void **state)
{
    watch();
    for (int i = 0; i < 10; i++) {
        (void)publish(&alice, allocate(&alice, 100), NAME, GIVE);
    }
    expect_word(1, DISPATCH_WATCHING); /* it was on no list while it was to be told */
    (void)publish(&alice, allocate(&alice, 100), NAME, GIVE);
    expect_word(1, DISPATCH_WATCHING);
}

static void test_watch_says_that_a_name_is_unpublished(void **state)
{
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    watch();
    assert_int_equal(ask_unpublish(&alice, NAME), DISPATCH_OK);
    expect_word(1, DISPATCH_WATCHING);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    expect_word(1, DISPATCH_WATCHING);
}

static void test_watch_says_that_a_name_has_ended_with_its_publisher(void **state)
{
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    watch();
    fixture_end(&talk.fixture, alice.client, false);
    alice.client = NULL;
    expect_word(1, DISPATCH_WATCHING);
}

static void test_watch_says_nothing_of_a_name_that_is_kept_when_its_publisher_ends(void **state)
{
    (void)publish(&alice, allocate(&alice, 100), NAME, KEEP);
    watch();
    fixture_end(&talk.fixture, alice.client, false);
    alice.client = NULL;
    assert_int_equal(n_woken, 0);
}

/* Some other name with the same bell. */
static void name_alike(char *buffer, size_t buffer_bytes)
{
    const uint32_t bell = notice_bell_of(NAME, strlen(NAME));
    for (uint32_t i = 0;; i++) {
        const int n_bytes = snprintf(buffer, buffer_bytes, "alike-%u", i);
        if (notice_bell_of(buffer, (size_t)n_bytes) == bell) {
            return;
        }
    }
}

static void test_watch_says_nothing_of_other_names(void **state)
{
    char alike[32];
    name_alike(alike, sizeof(alike));
    watch();
    (void)publish(&alice, allocate(&alice, 100), alike, 0);
    expect_word(1, DISPATCH_WAITING);
    (void)publish(&alice, allocate(&alice, 100), "another", 0);
    assert_int_equal(n_woken, 0);
}

static void test_watch_that_ends_is_on_no_list(void **state)
{
    watch();
    peer_close(&talk, &watcher);
    assert_int_equal(talk.core->waits.n, 0);
    (void)publish(&alice, allocate(&alice, 100), NAME, 0);
    assert_int_equal(n_woken, 0);
}

static void test_watch_of_what_is_no_name_is_INVALID_and_another_may_follow(void **state)
{
    char long_name[SHARE_NAME_MAX_BYTES + 1];
    memset(long_name, 'x', sizeof(long_name));
    assert_int_equal(ask_watch(&watcher, "", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "the name is empty");
    assert_int_equal(ask_watch(&watcher, long_name, sizeof(long_name)), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "has 101 bytes");
    assert_int_equal(ask_watch(&watcher, "\xff", 1), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "not UTF-8");
    assert_false(watcher.watches);
    assert_int_equal(ask_watch(&watcher, long_name, sizeof(long_name) - 1), DISPATCH_WATCHING);
    assert_true(watcher.watches);
}

static void test_watch_of_a_member_is_PROTOCOL(void **state)
{
    assert_int_equal(ask_watch(&carol, NAME, strlen(NAME)), DISPATCH_CLOSE);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_PROTOCOL, "over a connection of its own");
    assert_int_equal(talk.core->waits.n, 0);
}

#define WATCH_TEST(test) cmocka_unit_test_setup_teardown(test, watch_setup, watch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_watch_says_that_a_name_is_published_and_replaced),
        WATCH_TEST(test_watch_of_a_name_that_means_something_says_so_when_that_changes),
        WATCH_TEST(test_watch_says_several_changes_in_one_word),
        WATCH_TEST(test_watch_says_that_a_name_is_unpublished),
        WATCH_TEST(test_watch_says_that_a_name_has_ended_with_its_publisher),
        WATCH_TEST(test_watch_says_nothing_of_a_name_that_is_kept_when_its_publisher_ends),
        WATCH_TEST(test_watch_says_nothing_of_other_names),
        WATCH_TEST(test_watch_that_ends_is_on_no_list),
        WATCH_TEST(test_watch_of_what_is_no_name_is_INVALID_and_another_may_follow),
        WATCH_TEST(test_watch_of_a_member_is_PROTOCOL),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
