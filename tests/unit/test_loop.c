/* SPDX-License-Identifier: MIT */
/*
 * test_loop.c - a loop that can be told what libuv would abort for
 */
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uv.h>

#include "daemon/server/loop.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, epoll_ctl, (int epoll_fd, int what, int fd, struct epoll_event *event),
          (epoll_fd, what, fd, event), -1)

#define HIGH_FD 1000

static unsigned n_rung;

static void rung(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    n_rung++;
    uv_close((uv_handle_t *)poll, NULL);
}

/* Watches a bell that has been rung, until it is heard. */
static void hear(uv_loop_t *loop, int fd)
{
    uv_poll_t poll;
    n_rung = 0;
    assert_int_equal(uv_poll_init(loop, &poll, fd), 0);
    assert_int_equal(uv_poll_start(&poll, UV_READABLE, rung), 0);
    assert_int_equal(loop_reserve(loop, fd), 0);
    assert_int_equal(uv_run(loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(n_rung, 1);
}

static void test_loop_init_makes_a_loop_whose_table_needs_no_memory(void **state)
{
    uv_loop_t loop;
    const unsigned n_fds = count_fds();
    assert_int_equal(loop_init(&loop), 0);
    const int fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(dup2(fd, HIGH_FD), HIGH_FD);

    fail_from("memory", 1, ENOMEM);
    hear(&loop, fd);
    hear(&loop, HIGH_FD);
    (void)fail_end();

    assert_int_equal(close(fd), 0);
    assert_int_equal(close(HIGH_FD), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_in_range(count_fds(), n_fds, n_fds + 2); /* libuv keeps the pipe of its signals */
}

static void test_loop_init_works_again_after_the_loop_is_closed(void **state)
{
    uv_loop_t loop;

    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(loop_init(&loop), 0);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

/* The table is one loop's; another's is the allocator's, as libuv has it. */
static void test_loop_init_of_a_second_loop_gives_it_a_table_that_grows(void **state)
{
    uv_loop_t first;
    uv_loop_t second;
    const int fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(loop_init(&first), 0);
    hear(&first, fd);
    assert_int_equal(loop_init(&second), 0);
    hear(&second, fd);
    assert_int_equal(dup2(fd, HIGH_FD), HIGH_FD);
    hear(&second, HIGH_FD);
    hear(&first, HIGH_FD);
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(HIGH_FD), 0);
    assert_int_equal(uv_loop_close(&second), 0);
    assert_int_equal(uv_loop_close(&first), 0);
}

static void test_loop_init_that_epoll_refuses_leaves_no_loop(void **state)
{
    uv_loop_t loop;
    const unsigned n_fds = count_fds();

    for (unsigned nth = 1; nth <= 2; nth++) {
        fail_nth("epoll_ctl", nth, ENOSPC);
        assert_int_equal(loop_init(&loop), -ENOSPC);
        assert_true(fail_end());
        assert_int_equal(count_fds(), n_fds);
    }
}

static void test_loop_reserve_says_what_epoll_says(void **state)
{
    uv_loop_t loop;
    assert_int_equal(loop_init(&loop), 0);
    const int fd = eventfd(0, EFD_CLOEXEC);

    fail_nth("epoll_ctl", 1, ENOSPC);
    assert_int_equal(loop_reserve(&loop, fd), -ENOSPC);
    assert_true(fail_end());

    assert_int_equal(loop_reserve(&loop, fd), 0);
    assert_int_equal(loop_reserve(&loop, fd), 0); /* twice is no fault */
    assert_int_equal(close(fd), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_init_makes_a_loop_whose_table_needs_no_memory),
        cmocka_unit_test(test_loop_init_works_again_after_the_loop_is_closed),
        cmocka_unit_test(test_loop_init_of_a_second_loop_gives_it_a_table_that_grows),
        cmocka_unit_test(test_loop_init_that_epoll_refuses_leaves_no_loop),
        cmocka_unit_test(test_loop_reserve_says_what_epoll_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
