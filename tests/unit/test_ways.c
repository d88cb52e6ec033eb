/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/server/ways.h"
#include "proto/limits.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define SLOT 7

FAIL_WRAP(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd),
          UV_ENOMEM)
FAIL_WRAP(int, uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb called),
          (poll, events, called), UV_ENOMEM)

static uv_loop_t loop;
static struct ways ways;
static int client_fd;
static unsigned n_fds;
static unsigned n_heard;
static char last[64];

static void heard(uint32_t slot, const unsigned char *payload, size_t payload_bytes, void *user)
{
    assert_int_equal(slot, SLOT);
    assert_ptr_equal(user, &loop);
    assert_true(payload_bytes < sizeof(last));
    memcpy(last, payload, payload_bytes);
    last[payload_bytes] = '\0';
    n_heard++;
}

static int ways_setup(void **state)
{
    assert_int_equal(uv_loop_init(&loop), 0);
    n_fds = count_fds();
    n_heard = 0;
    assert_int_equal(ways_init(&ways, &loop, heard, &loop), 0);
    int ends[2];
    assert_int_equal(ways_pair(ends), 0);
    client_fd = ends[1];
    assert_int_equal(ways_open(&ways, SLOT, ends[0]), 0);
    return 0;
}

static int ways_teardown(void **state)
{
    ways_close(&ways, SLOT);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ways_fini(&ways);
    assert_int_equal(close(client_fd), 0);
    assert_int_equal(count_fds(), n_fds);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void say(const void *bytes, size_t n_bytes)
{
    assert_int_equal(send(client_fd, bytes, n_bytes, MSG_NOSIGNAL), (ssize_t)n_bytes);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void test_ways_hear_what_is_said_again_and_again(void **state)
{
    say("\5\0\0\0hello", 9);
    assert_string_equal(last, "hello");
    say("\5\0\0\0again", 9);
    assert_string_equal(last, "again");
    assert_int_equal(n_heard, 2);
}

static void test_ways_hear_only_the_last_of_what_waits_together(void **state)
{
    say("\5\0\0\0first\6\0\0\0second\4\0\0\0last", 27);
    assert_string_equal(last, "last");
    assert_int_equal(n_heard, 1);
}

static void test_ways_are_deaf_after_nonsense(void **state)
{
    const struct {
        const char *bytes;
        size_t n_bytes;
    } nonsense[] = {{"\5\0", 2},             /* half a length */
                    {"\5\0\0\0hell", 8},     /* half a frame */
                    {"\xff\xff\xff\xff", 4}, /* beyond the limit */
                    {"\5\0\0\0hello\1", 10}, /* something behind it */
                    {"\1\x10\0\0", 4}};
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        int ends[2];
        assert_int_equal(ways_pair(ends), 0);
        assert_int_equal(ways_open(&ways, SLOT, ends[0]), 0); /* in place of the one before */
        assert_int_equal(close(client_fd), 0);
        client_fd = ends[1];
        say(nonsense[i].bytes, nonsense[i].n_bytes);
        say("\5\0\0\0hello", 9);
        assert_int_equal(n_heard, 0);
    }
}

static void test_ways_do_not_spin_when_the_client_has_closed_its_end(void **state)
{
    assert_int_equal(shutdown(client_fd, SHUT_RDWR), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    /* Nothing is waited for any more: the loop ends by itself. */
    assert_int_equal(uv_run(&loop, UV_RUN_NOWAIT), 0);
    assert_int_equal(n_heard, 0);
}

static void test_ways_answer_with_a_descriptor_or_without(void **state)
{
    char bytes[8];
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    assert_int_equal(ways_answer(&ways, SLOT, (const unsigned char *)"with", 4, client_fd), 0);
    assert_int_equal(recvmsg(client_fd, &message, MSG_CMSG_CLOEXEC), 4);
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL) {
        fail_msg("no descriptor came with the answer");
        return;
    }
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    assert_int_equal(close(fd), 0);
    message.msg_controllen = sizeof(control);
    assert_int_equal(ways_answer(&ways, SLOT, (const unsigned char *)"none", 4, -1), 0);
    assert_int_equal(recvmsg(client_fd, &message, MSG_CMSG_CLOEXEC), 4);
    assert_null(CMSG_FIRSTHDR(&message));
}

static void test_ways_answer_to_one_that_never_listens_is_EAGAIN(void **state)
{
    static unsigned char frame[4096];
    int r = 0;
    for (unsigned i = 0; i < 1000 && r == 0; i++) {
        r = ways_answer(&ways, SLOT, frame, sizeof(frame), -1);
    }
    assert_int_equal(r, -EAGAIN);
}

static void test_ways_open_when_anything_fails_leaves_the_slot_without(void **state)
{
    const char *const calls[] = {"memory", "uv_poll_init", "uv_poll_start"};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        int ends[2];
        assert_int_equal(ways_pair(ends), 0);
        fail_nth(calls[i], 1, ENOMEM);
        assert_int_equal(ways_open(&ways, SLOT, ends[0]), -ENOMEM);
        assert_true(fail_end());
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(close(ends[1]), 0);
        assert_null(ways.ways[SLOT]);
    }
}

#define WAYS_TEST(test) cmocka_unit_test_setup_teardown(test, ways_setup, ways_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAYS_TEST(test_ways_hear_what_is_said_again_and_again),
        WAYS_TEST(test_ways_hear_only_the_last_of_what_waits_together),
        WAYS_TEST(test_ways_are_deaf_after_nonsense),
        WAYS_TEST(test_ways_do_not_spin_when_the_client_has_closed_its_end),
        WAYS_TEST(test_ways_answer_with_a_descriptor_or_without),
        WAYS_TEST(test_ways_answer_to_one_that_never_listens_is_EAGAIN),
        WAYS_TEST(test_ways_open_when_anything_fails_leaves_the_slot_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
