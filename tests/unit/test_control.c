/* SPDX-License-Identifier: MIT */
/*
 * test_control.c - messages between keeper and server, also of one that has died meanwhile
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static int ends[2];
static unsigned n_fds;

static int control_setup(void **state)
{
    n_fds = count_fds();
    assert_int_equal(control_pair(ends), 0);
    return 0;
}

static int control_teardown(void **state)
{
    (void)close(ends[0]); /* closed already by some */
    (void)close(ends[1]);
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

static void test_control_receive_is_what_was_sent(void **state)
{
    struct control_message message;
    int pipe_fds[2];
    char byte = 0;
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);

    assert_int_equal(control_send(ends[0], CONTROL_KEEP, 17, pipe_fds, 2, 0), 0);
    assert_int_equal(control_receive(ends[1], &message), 0);

    assert_int_equal(message.kind, CONTROL_KEEP);
    assert_int_equal(message.slot, 17);
    assert_int_equal(message.n_fds, 2);
    assert_int_equal(fcntl(message.fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(message.fds[1], "x", 1), 1);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    control_close_fds(&message);
    assert_int_equal(close(pipe_fds[0]), 0);
    assert_int_equal(close(pipe_fds[1]), 0);
}

static void test_control_receive_of_nothing_is_EAGAIN(void **state)
{
    struct control_message message;

    assert_int_equal(control_receive(ends[1], &message), -EAGAIN);
}

static void test_control_receive_of_the_dead_is_all_they_said_and_then_EPIPE(void **state)
{
    struct control_message message;
    assert_int_equal(control_send(ends[0], CONTROL_KEEP, 1, ends, 1, 0), 0);
    assert_int_equal(control_send(ends[0], CONTROL_DROP, 2, NULL, 0, 0), 0);
    assert_int_equal(close(ends[0]), 0);

    assert_int_equal(control_receive(ends[1], &message), 0);
    assert_int_equal(message.n_fds, 1);
    control_close_fds(&message);
    assert_int_equal(control_receive(ends[1], &message), 0);
    assert_int_equal(message.kind, CONTROL_DROP);

    assert_int_equal(control_receive(ends[1], &message), -EPIPE);
}

static void test_control_send_to_a_full_queue_is_EAGAIN_after_its_patience(void **state)
{
    int r = 0;
    unsigned n_sent = 0;

    for (; r == 0 && n_sent < 1000000; n_sent++) {
        r = control_send(ends[0], CONTROL_PING, 0, NULL, 0, 0);
    }

    assert_int_equal(r, -EAGAIN);
    assert_int_equal(control_send(ends[0], CONTROL_PING, 0, NULL, 0, 10), -EAGAIN);
}

static void test_control_send_to_nobody_is_EPIPE(void **state)
{
    assert_int_equal(close(ends[1]), 0);

    assert_int_equal(control_send(ends[0], CONTROL_PING, 0, NULL, 0, 0), -EPIPE);
}

static void test_control_receive_of_another_version_is_EPROTO(void **state)
{
    struct control_message message;
    const uint32_t packet[4] = {CONTROL_VERSION + 1, CONTROL_PING, 0, 0};
    assert_int_equal(send(ends[0], packet, sizeof(packet), 0), sizeof(packet));
    assert_int_equal(send(ends[0], packet, 3, 0), 3);

    assert_int_equal(control_receive(ends[1], &message), -EPROTO);
    assert_int_equal(control_receive(ends[1], &message), -EPROTO);
}

#define CONTROL_TEST(test) cmocka_unit_test_setup_teardown(test, control_setup, control_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROL_TEST(test_control_receive_is_what_was_sent),
        CONTROL_TEST(test_control_receive_of_nothing_is_EAGAIN),
        CONTROL_TEST(test_control_receive_of_the_dead_is_all_they_said_and_then_EPIPE),
        CONTROL_TEST(test_control_send_to_a_full_queue_is_EAGAIN_after_its_patience),
        CONTROL_TEST(test_control_send_to_nobody_is_EPIPE),
        CONTROL_TEST(test_control_receive_of_another_version_is_EPROTO),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
