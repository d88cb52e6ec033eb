/* SPDX-License-Identifier: MIT */
/*
 * test_listener.c - a listening socket that is paused, replaced, and closed, in any order
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

#include "daemon/server/listener.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd),
          UV_EMFILE)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return fail_now("open") ? -1 : __real_open(path, flags, mode);
}

static uv_loop_t loop;
static struct listener listener;
static unsigned n_waiting;
static unsigned n_fds;

/* Takes all that wait. */
static void waiting(void *user)
{
    int fd;
    while ((fd = listener_accept(user)) >= 0) {
        assert_int_equal(close(fd), 0);
        n_waiting++;
    }
    assert_int_equal(fd, -EAGAIN);
}

/* Abstract, and with a name of the kernel's choice. */
static int listening(struct sockaddr_un *ret_address, socklen_t *ret_bytes)
{
    const sa_family_t any = AF_UNIX;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(fd, 8), 0);
    *ret_bytes = sizeof(*ret_address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, ret_bytes), 0);
    return fd;
}

static struct sockaddr_un address;
static socklen_t address_bytes;

static int listener_setup(void **state)
{
    assert_int_equal(uv_loop_init(&loop), 0);
    n_fds = count_fds();
    n_waiting = 0;
    const int fd = listening(&address, &address_bytes);
    assert_int_equal(listener_open(&listener, &loop, fd, waiting, &listener), 0);
    return 0;
}

static int listener_teardown(void **state)
{
    listener_close(&listener);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(count_fds(), n_fds);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

/* Somebody who connects, and goes. */
static void connect_once(void)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, address_bytes), 0);
    assert_int_equal(close(fd), 0);
}

/* What waits is taken, whatever has to come to pass before. */
static void expect_taken(void)
{
    const unsigned before = n_waiting;
    connect_once();
    while (n_waiting == before) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(n_waiting, before + 1);
}

static void test_listener_takes_what_waits(void **state)
{
    expect_taken();
    expect_taken();
}

static void test_listener_pause_takes_none_for_a_moment(void **state)
{
    listener_pause(&listener);
    listener_pause(&listener); /* one is enough */
    connect_once();
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_waiting, 0);
    while (n_waiting == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_listener_replace_takes_from_the_other(void **state)
{
    listener_replace(&listener, listening(&address, &address_bytes));
    expect_taken();
    listener_pause(&listener);
    listener_replace(&listener, listening(&address, &address_bytes)); /* the pause is over */
    expect_taken();
}

/* The second comes before the first is taken from. */
static void test_listener_replace_twice_takes_from_the_last(void **state)
{
    listener_replace(&listener, listening(&address, &address_bytes));
    listener_replace(&listener, listening(&address, &address_bytes));
    expect_taken();
}

static void test_listener_replace_that_can_not_be_polled_is_tried_again(void **state)
{
    listener_replace(&listener, listening(&address, &address_bytes));
    fail_nth("uv_poll_init", 1, EMFILE);
    capture_begin();
    while (strlen(capture_end()) == 0) {
        capture_begin();
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_true(fail_end());
    expect_taken();
}

/* Its handle is closed when the loop gets there: by then nobody wants it. */
static void test_listener_close_ends_a_replacement_and_a_pause(void **state)
{
    struct listener other;
    struct sockaddr_un unused;
    socklen_t unused_bytes;
    assert_int_equal(
        listener_open(&other, &loop, listening(&unused, &unused_bytes), waiting, &other), 0);
    listener_replace(&other, listening(&unused, &unused_bytes));
    listener_close(&other);
    listener_pause(&other); /* it is over */
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    expect_taken(); /* the first is there still */
}

static void test_listener_open_that_can_not_be_polled_says_so(void **state)
{
    struct listener other;
    struct sockaddr_un unused;
    socklen_t unused_bytes;
    const int fd = listening(&unused, &unused_bytes);
    fail_nth("uv_poll_init", 1, EMFILE);
    assert_int_equal(listener_open(&other, &loop, fd, waiting, &other), UV_EMFILE);
    assert_true(fail_end());
    listener_close(&other);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* One in reserve: to tell somebody that there are no more. */
static void test_listener_accept_spare_needs_one(void **state)
{
    connect_once();
    const int fd = listener_accept_spare(&listener);
    assert_true(fd >= 0);
    assert_int_equal(listener_accept_spare(&listener), -EMFILE);
    fail_nth("open", 1, EMFILE);
    listener_save_spare(&listener);
    assert_true(fail_end());
    assert_int_equal(listener_accept_spare(&listener), -EMFILE);
    assert_int_equal(close(fd), 0);
    listener_save_spare(&listener);
    listener_save_spare(&listener); /* one is enough */
    assert_int_equal(listener_accept_spare(&listener), -EAGAIN);
}

#define LISTENER_TEST(function)                                                                    \
    cmocka_unit_test_setup_teardown(function, listener_setup, listener_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_listener_takes_what_waits),
        LISTENER_TEST(test_listener_pause_takes_none_for_a_moment),
        LISTENER_TEST(test_listener_replace_takes_from_the_other),
        LISTENER_TEST(test_listener_replace_twice_takes_from_the_last),
        LISTENER_TEST(test_listener_replace_that_can_not_be_polled_is_tried_again),
        LISTENER_TEST(test_listener_close_ends_a_replacement_and_a_pause),
        LISTENER_TEST(test_listener_open_that_can_not_be_polled_says_so),
        LISTENER_TEST(test_listener_accept_spare_needs_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
