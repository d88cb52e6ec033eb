/* SPDX-License-Identifier: MIT */
/*
 * test_names.c - blocks that names stand for: published, found, waited for
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

#define NAME "camera0/latest"
#define FRAME_BYTES ((size_t)100000)

/* Publishes a frame for each number that it is told, which is its bytes'; 0 ends. */
static void publish_as_told(const void *argument)
{
    const int flags = *(const int *)argument;
    uint64_t last = 0;
    for (uint64_t what; (what = client_await()) != 0;) {
        unsigned char *frame = filled(FRAME_BYTES, false, (int)what);
        uint64_t version = 0;
        if (kmem_publish(frame, NAME, flags, &version) < 0) {
            fail("%s", kmem_last_error());
        }
        expect_true(version > last);
        last = version;
        client_say(version);
    }
}

static struct client publisher_start(const int *flags)
{
    return client_start(publish_as_told, flags);
}

static uint64_t publish(const struct client *publisher, uint64_t what)
{
    client_tell(publisher, what);
    return client_hear(publisher);
}

static const int given[] = {KMEM_GIVE};
static const int kept[] = {KMEM_GIVE | KMEM_KEEP};
static const int held[] = {0};

static void finish(struct client *client)
{
    client_tell(client, 0);
    client_end(client);
}

/* Follows the name: tells version and bytes of each frame, when it is told to go on. */
static void follow(const void *argument)
{
    (void)argument;
    unsigned char *frame = NULL;
    uint64_t version = 0;
    while (client_await() != 0) {
        if (kmem_next(NAME, KMEM_READ, "follow", &version, &frame, -1) < 0) {
            fail("%s", kmem_last_error());
        }
        expect_filled(frame, FRAME_BYTES, frame[0]);
        client_say(version);
        client_say(frame[0]);
    }
}

static void expect_follows(const struct client *consumer, uint64_t version, int what)
{
    expect_equal(client_hear(consumer), version);
    expect_equal(client_hear(consumer), what);
}

static void test_a_consumer_follows_what_a_name_means(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(given);
    struct client consumer = client_start(follow, NULL);
    for (int i = 1; i <= 40; i++) {
        client_tell(&consumer, 1); /* before there is one: it waits */
        expect_follows(&consumer, publish(&producer, (uint64_t)i), i);
    }
    finish(&consumer);
    finish(&producer);
    daemon_stop_balanced();
}

static void test_next_is_one_round_trip_a_frame(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(given);
    struct client consumer = client_start(follow, NULL);
    const uint64_t before_look = usage_take().requests;
    const uint64_t look = usage_take().requests - before_look;
    uint64_t version = publish(&producer, 1);
    client_tell(&consumer, 1);
    expect_follows(&consumer, version, 1);
    for (int i = 2; i < 12; i++) {
        version = publish(&producer, (uint64_t)i);
        const uint64_t before = usage_take().requests;
        client_tell(&consumer, 1);
        expect_follows(&consumer, version, i);
        expect_equal(usage_take().requests - before - look, 1);
    }
    finish(&consumer);
    finish(&producer);
    daemon_stop_balanced();
}

static void test_consumers_that_wait_are_woken_by_the_server_after_a_restart(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(given);
    struct client consumer = client_start(follow, NULL);
    for (int i = 1; i <= 5; i++) {
        client_tell(&consumer, 1);
        daemon_kill_server();
        const uint64_t version = publish(&producer, (uint64_t)i);
        daemon_kill_server();
        expect_follows(&consumer, version, i);
    }
    finish(&consumer);
    finish(&producer);
    daemon_stop_balanced();
}

static void test_a_consumer_that_is_killed_takes_nothing_along(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(given);
    for (int i = 1; i <= 5; i++) {
        struct client consumer = client_start(follow, NULL);
        struct client waiting = client_start(follow, NULL);
        const uint64_t version = publish(&producer, (uint64_t)i);
        client_tell(&consumer, 1);
        expect_follows(&consumer, version, i);
        client_tell(&waiting, 1);
        expect_follows(&waiting, version, i);
        client_tell(&waiting, 1); /* it waits for the next */
        client_kill(&consumer);
        client_kill(&waiting);
    }
    finish(&producer);
    daemon_stop_balanced();
}

static void expect_no_name(const void *argument)
{
    void *frame = NULL;
    (void)argument;
    expect_equal(kmem_find(NAME, KMEM_READ, "find", &frame, NULL), -ENOENT);
    expect_true(strstr(kmem_last_error(), "kmem_find: no block is published as") != NULL);
    expect_true(frame == NULL);
}

static void find_it(const void *of_what)
{
    unsigned char *frame = NULL;
    uint64_t version = 0;
    if (kmem_find(NAME, KMEM_READ, "find", &frame, &version) < 0) {
        fail("%s", kmem_last_error());
    }
    expect_filled(frame, FRAME_BYTES, *(const int *)of_what);
    expect_true(version > 0);
    expect_equal(kmem_try_release(&frame), 0);
}

static void test_a_name_ends_with_its_publisher_and_holders_go_on(void)
{
    static const int seven = 7;
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(held);
    struct client consumer = client_start(follow, NULL);
    const uint64_t version = publish(&producer, 7);
    client_tell(&consumer, 1);
    expect_follows(&consumer, version, 7);
    client_run(find_it, &seven);
    client_kill(&producer);
    client_run(expect_no_name, NULL);
    struct client next = publisher_start(given);
    client_tell(&consumer, 1);
    const uint64_t later = publish(&next, 8);
    expect_true(later > version);
    expect_follows(&consumer, later, 8);
    finish(&consumer);
    finish(&next);
    daemon_stop_balanced();
}

static void unpublish_it(const void *argument)
{
    (void)argument;
    expect_equal(kmem_unpublish(NAME), 0);
    expect_equal(kmem_unpublish(NAME), -ENOENT);
}

static void test_a_name_that_is_kept_outlives_its_publisher(void)
{
    static const int nine = 9;
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(kept);
    (void)publish(&producer, 9);
    client_kill(&producer);
    client_run(find_it, &nine);
    daemon_kill_server();
    client_run(find_it, &nine);
    client_run(unpublish_it, NULL);
    client_run(expect_no_name, NULL);
    daemon_stop_balanced();
}

static void publish_alone(const void *argument)
{
    (void)argument;
    uint64_t version = 0;
    unsigned char *frame = filled(FRAME_BYTES, true, 1);
    expect_equal(kmem_publish(frame, NAME, KMEM_EXCLUSIVE | KMEM_GIVE, &version), -EEXIST);
    expect_true(strstr(kmem_last_error(), "is that of process") != NULL);
    expect_equal(version, 0);
    expect_filled(frame, FRAME_BYTES, 1); /* it is this process's, as before */
    release(frame);
    expect_equal(kmem_close(), 0);
}

static void test_publish_of_anothers_name_with_EXCLUSIVE_is_EEXIST(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client producer = publisher_start(given);
    (void)publish(&producer, 1);
    client_run(publish_alone, NULL);
    finish(&producer);
    daemon_stop_balanced();
}

static void misuse_names(const void *argument)
{
    (void)argument;
    char longest[KMEM_NAME_MAX_BYTES + 2];
    unsigned char *block = filled(100, true, 1);
    unsigned char *found = NULL;
    uint64_t version = 0;
    memset(longest, 'n', sizeof(longest));
    longest[KMEM_NAME_MAX_BYTES + 1] = '\0';
    expect_equal(kmem_publish(block, longest, 0, NULL), -EINVAL);
    expect_equal(kmem_publish(block, "", 0, NULL), -EINVAL);
    expect_equal(kmem_publish(block, NULL, 0, NULL), -EINVAL);
    expect_equal(kmem_publish(block, "\xff", 0, NULL), -EINVAL);
    expect_equal(kmem_publish(block, NAME, KMEM_WRITE, NULL), -EINVAL);
    expect_equal(kmem_publish(block + 16, NAME, 0, NULL), -EINVAL);
    expect_equal(kmem_unpublish(""), -EINVAL);
    expect_equal(kmem_find(longest, 0, "x", &found, NULL), -EINVAL);
    expect_equal((kmem_find)(NAME, 0, "x", NULL, NULL), -EINVAL);
    expect_equal(kmem_next("", 0, "x", &version, &found, 0), -EINVAL);
    expect_equal(kmem_next(NAME, KMEM_GIVE, "x", &version, &found, 0), -EINVAL);
    expect_equal(kmem_next(NAME, 0, "x", NULL, &found, 0), -EINVAL);
    expect_equal(kmem_wait(NULL, 0, 0, NULL), -EINVAL);
    longest[KMEM_NAME_MAX_BYTES] = '\0';
    expect_equal(kmem_publish(block, longest, 0, NULL), 0);
    expect_equal(kmem_unpublish(longest), 0);
    release(block);
    expect_equal(kmem_close(), 0);
}

static void test_a_name_is_1_to_100_bytes_of_UTF_8_or_EINVAL(void)
{
    daemon_start(NULL, NULL);
    client_run(misuse_names, NULL);
    daemon_stop_balanced();
}

static void wait_in_vain(const void *argument)
{
    (void)argument;
    unsigned char *frame = NULL;
    uint64_t version = 0;
    uint64_t said = 7;
    struct stopwatch stopwatch = stopwatch_start();
    expect_equal(kmem_next(NAME, KMEM_READ, "x", &version, &frame, 50), -EAGAIN);
    expect_lasted(&stopwatch, 49);
    expect_equal(kmem_wait(NAME, 0, 0, &said), -EAGAIN);
    expect_equal(said, 7);
    unsigned char *own = filled(FRAME_BYTES, true, 5);
    expect_equal(kmem_publish(own, NAME, 0, &version), 0);
    expect_equal(kmem_wait(NAME, 0, -1, &said), 0);
    expect_equal(said, version);
    expect_equal(kmem_wait(NAME, version, 20, &said), -EAGAIN);
    said = 0;
    expect_equal(kmem_next(NAME, KMEM_READ, "x", &said, &frame, -1), 0);
    expect_true(frame == own && said == version);
    /* It lets go of the last one, though there is no newer one. */
    expect_equal(kmem_next(NAME, KMEM_READ | KMEM_NOWAIT, "x", &said, &frame, -1), -EAGAIN);
    expect_true(frame == NULL && said == version);
    expect_filled(own, FRAME_BYTES, 5); /* its own use of it goes on */
    release(own);
    own = filled(100, true, 6);
    unsigned char *old = own;
    expect_equal(kmem_next(NAME, KMEM_READ, "x", &said, &old, 0), -EAGAIN);
    expect_true(old == NULL);
    expect_equal(kmem_try_release(&own), -EALREADY);
    old = (unsigned char *)&version;
    expect_equal(kmem_next(NAME, KMEM_READ, "x", &said, &old, 0), -EINVAL);
    expect_true(old == (unsigned char *)&version);
    expect_equal(kmem_close(), 0);
}

static void test_next_and_wait_without_anything_newer_are_EAGAIN_in_their_time(void)
{
    daemon_start(NULL, NULL);
    client_run(wait_in_vain, NULL);
    daemon_stop_balanced();
}

#define N_LENT 200

/* More frames than the segment has room for at a time: each comes home. */
static void publish_many(const void *argument)
{
    (void)argument;
    for (uint64_t i = 1; i <= N_LENT; i++) {
        unsigned char *frame = allocate(2 * FRAME_BYTES, "frame");
        expect_equal(frame[0] | frame[2 * FRAME_BYTES - 1], 0);
        memset(frame, (int)i, 2 * FRAME_BYTES);
        if (kmem_publish(frame, NAME, KMEM_GIVE, NULL) < 0) {
            fail("%s", kmem_last_error());
        }
    }
    expect_equal(kmem_unpublish(NAME), 0);
    client_say(1);
    (void)client_await();
    expect_equal(kmem_close(), 0);
}

static void test_a_producer_of_frames_for_nobody_has_them_back(void)
{
    daemon_start("--size", "4MiB", NULL);
    struct client producer = client_start(publish_many, NULL);
    expect_equal(client_hear(&producer), 1);
    client_tell(&producer, 1);
    client_end(&producer);
    daemon_stop_balanced();
}

static void wait_until_it_ends(const void *argument)
{
    (void)argument;
    client_say(1);
    expect_equal(kmem_wait(NAME, 0, -1, NULL), -ECONNRESET);
    expect_true(strstr(kmem_last_error(), "has ended") != NULL);
    client_say(2);
}

static void join_and_wait(const void *argument)
{
    release(allocate(100, "joins"));
    wait_until_it_ends(argument);
}

static void test_a_consumer_that_waits_is_told_when_the_segment_ends(void)
{
    daemon_start(NULL, NULL);
    struct client consumer = client_start(join_and_wait, NULL);
    expect_equal(client_hear(&consumer), 1);
    daemon_stop();
    expect_equal(client_hear(&consumer), 2);
    client_end(&consumer);
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_a_consumer_follows_what_a_name_means, 20),
        SYSTEM_TEST(test_next_is_one_round_trip_a_frame, 10),
        SYSTEM_TEST(test_consumers_that_wait_are_woken_by_the_server_after_a_restart, 20),
        SYSTEM_TEST(test_a_consumer_that_is_killed_takes_nothing_along, 20),
        SYSTEM_TEST(test_a_name_ends_with_its_publisher_and_holders_go_on, 10),
        SYSTEM_TEST(test_a_name_that_is_kept_outlives_its_publisher, 10),
        SYSTEM_TEST(test_publish_of_anothers_name_with_EXCLUSIVE_is_EEXIST, 10),
        SYSTEM_TEST(test_a_name_is_1_to_100_bytes_of_UTF_8_or_EINVAL, 10),
        SYSTEM_TEST(test_next_and_wait_without_anything_newer_are_EAGAIN_in_their_time, 10),
        SYSTEM_TEST(test_a_producer_of_frames_for_nobody_has_them_back, 20),
        SYSTEM_TEST(test_a_consumer_that_waits_is_told_when_the_segment_ends, 20),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
