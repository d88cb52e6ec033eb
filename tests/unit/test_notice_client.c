/* SPDX-License-Identifier: MIT */
/*
 * test_notice_client.c - what a client concludes from the page and from its lock
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/link/conn.h"
#include "client/link/notice.h"
#include "tests/unit/unit.h"

static int64_t now_ms;
int64_t kmem__monotonic_ms(void)
{
    return now_ms;
}

static int daemons_fd;
static unsigned char *clients_page;
static struct notice_file notice;
static struct failure failure;

static void daemon_hold(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(daemons_fd, F_OFD_SETLK, &lock), 0);
}

static void daemon_drop(void)
{
    assert_int_equal(close(daemons_fd), 0);
    daemons_fd = -1;
}

static void daemon_write(size_t at, const void *bytes, size_t n_bytes)
{
    assert_int_equal(pwrite(daemons_fd, bytes, n_bytes, (off_t)(CLOCK_TICK_AT + at)),
                     (ssize_t)n_bytes);
}

static void daemon_tick(uint32_t tick)
{
    daemon_write(offsetof(struct notice, tick), &tick, sizeof(tick));
}

static void daemon_end(uint32_t end)
{
    static const char when[NOTICE_WHEN_BYTES] = "2026-11-22 14:03:05";
    const uint32_t last = 5;
    daemon_write(offsetof(struct notice, last_tick), &last, sizeof(last));
    daemon_write(offsetof(struct notice, when), when, sizeof(when));
    daemon_write(offsetof(struct notice, end), &end, sizeof(end));
    daemon_tick(TICK_STOPPED);
}

static int clients_file(void)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", daemons_fd);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* A client that has joined. */
static void join(void)
{
    const int fd = clients_file();
    clients_page = mmap(NULL, CLOCK_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(clients_page != MAP_FAILED);
    kmem__notice_open(&notice, clients_page, fd, "video");
}

static int daemon_setup(void **state)
{
    now_ms = 1000000;
    daemons_fd = memfd_create("notice", MFD_CLOEXEC);
    assert_true(daemons_fd >= 0);
    assert_int_equal(ftruncate(daemons_fd, CLOCK_BYTES), 0);
    daemon_tick(1);
    return 0;
}

static int setup(void **state)
{
    (void)daemon_setup(state); /* 0 */
    daemon_hold();
    join();
    return 0;
}

static int teardown(void **state)
{
    kmem__notice_close(&notice);
    assert_null(notice.at);
    assert_int_equal(munmap(clients_page, CLOCK_BYTES), 0);
    if (daemons_fd >= 0) {
        daemon_drop();
    }
    return 0;
}

static void assert_goes_on(void)
{
    assert_int_equal(kmem__notice_look(&notice, &failure), 0);
    assert_int_equal(kmem__notice_ask(&notice, &failure), 0);
}

static void assert_ended(const char *words)
{
    assert_int_equal(kmem__notice_look(&notice, &failure), -ECONNRESET);
    assert_non_null(strstr(failure.sentence, "segment \"video\" has ended: "));
    assert_non_null(strstr(failure.sentence, words));
    assert_int_equal(kmem__notice_ask(&notice, &failure), -ECONNRESET);
    assert_non_null(strstr(failure.sentence, words));
}

static void test_notice_of_a_served_segment_goes_on(void **state)
{
    assert_goes_on();
    daemon_tick(2);
    assert_goes_on();
}

static void test_notice_that_is_none_goes_on(void **state)
{
    struct notice_file none = {.at = NULL};
    assert_int_equal(kmem__notice_look(&none, &failure), 0);
    assert_int_equal(kmem__notice_ask(&none, &failure), 0);
    kmem__notice_close(&none);
    assert_goes_on(); /* descriptor 0 was not closed, say */
}

static void test_notice_of_an_end_says_when(void **state)
{
    daemon_end(NOTICE_ENDED);
    assert_ended("kmemd was stopped at 2026-11-22 14:03:05");
}

static void test_notice_of_a_suspended_segment_goes_on_while_it_is_held(void **state)
{
    daemon_end(NOTICE_SUSPENDED);
    assert_true(kmem__notice_is_suspended(&notice));
    assert_goes_on();
    daemon_end(NOTICE_SERVED); /* the next keeper's server is about to move the tick */
    assert_goes_on();
    daemon_tick(9);
    assert_false(kmem__notice_is_suspended(&notice));
    assert_goes_on();
}

static void test_notice_of_a_suspended_segment_that_was_dropped_is_an_end(void **state)
{
    daemon_end(NOTICE_SUSPENDED);
    daemon_drop();
    assert_ended("kmemd was stopped at 2026-11-22 14:03:05");
    assert_ended("kmemd was stopped at 2026-11-22 14:03:05");
}

/* Nobody was left to write it down. */
static void test_notice_ask_finds_an_end_that_look_finds_from_then_on(void **state)
{
    const _Atomic uint32_t *tick = (const void *)(clients_page + CLOCK_TICK_AT);
    assert_goes_on();
    daemon_drop();
    assert_int_equal(kmem__notice_look(&notice, &failure), 0);

    assert_int_equal(kmem__notice_ask(&notice, &failure), -ECONNRESET);

    assert_non_null(strstr(failure.sentence, "its kmemd was killed"));
    assert_int_equal(*tick, TICK_STOPPED); /* where every call looks */
    assert_int_equal(notice_tick(tick), 1);
    assert_int_equal(kmem__notice_look(&notice, &failure), -ECONNRESET);
}

static void test_notice_look_asks_once_a_second_while_the_tick_stands_still(void **state)
{
    assert_goes_on();
    daemon_drop();
    now_ms += 999;
    assert_int_equal(kmem__notice_look(&notice, &failure), 0);
    now_ms += 1;
    assert_int_equal(kmem__notice_look(&notice, &failure), -ECONNRESET);
}

static void test_notice_without_a_lock_at_first_concludes_nothing_from_it(void **state)
{
    join(); /* an older daemon's */
    assert_goes_on();
    daemon_end(NOTICE_SUSPENDED);
    assert_goes_on();
    daemon_end(NOTICE_ENDED);
    assert_ended("kmemd was stopped at");
}

/* The program has closed all descriptors, and opened its own. */
static void test_notice_of_a_descriptor_that_is_the_programs_by_now_leaves_it_alone(void **state)
{
    const int number = notice.mark.fd;
    const int programs = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup2(programs, number), number);
    assert_int_equal(close(programs), 0);
    daemon_drop();

    assert_goes_on(); /* it can not be told */
    kmem__notice_close(&notice);

    assert_true(fcntl(number, F_GETFD) >= 0);
    assert_int_equal(close(number), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notice_of_a_served_segment_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notice_that_is_none_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notice_of_an_end_says_when, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notice_of_a_suspended_segment_goes_on_while_it_is_held,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_notice_of_a_suspended_segment_that_was_dropped_is_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notice_ask_finds_an_end_that_look_finds_from_then_on,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_notice_look_asks_once_a_second_while_the_tick_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_notice_without_a_lock_at_first_concludes_nothing_from_it, daemon_setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_notice_of_a_descriptor_that_is_the_programs_by_now_leaves_it_alone, setup,
            teardown),
    };
    return cmocka_run_group_tests_name("notice_client", tests, NULL, NULL);
}
