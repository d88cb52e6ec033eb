/* SPDX-License-Identifier: MIT */
/*
 * test_notice.c - what the daemon writes into the page that clients map, and who holds its lock
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/notice.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static int daemons_fd;
static int clients_fd; /* another open file, for reading */
static const struct notice *page;

static int notice_setup(void **state)
{
    char path[64];
    daemons_fd = memfd_create("notice", MFD_CLOEXEC);
    assert_true(daemons_fd >= 0);
    assert_int_equal(ftruncate(daemons_fd, CLOCK_BYTES), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", daemons_fd);
    clients_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(clients_fd >= 0);
    const unsigned char *at = mmap(NULL, CLOCK_BYTES, PROT_READ, MAP_SHARED, clients_fd, 0);
    assert_true(at != MAP_FAILED);
    page = (const void *)(at + CLOCK_TICK_AT);
    return 0;
}

static int notice_teardown(void **state)
{
    assert_int_equal(munmap((void *)((uintptr_t)page & ~(uintptr_t)(CLOCK_BYTES - 1)), CLOCK_BYTES),
                     0);
    (void)close(daemons_fd); /* some tests have closed it */
    assert_int_equal(close(clients_fd), 0);
    return 0;
}

static bool is_held(void)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(clients_fd, F_OFD_GETLK, &lock), 0);
    return lock.l_type != F_UNLCK;
}

static void tick(uint32_t now)
{
    assert_int_equal(pwrite(daemons_fd, &now, sizeof(now), CLOCK_TICK_AT), (ssize_t)sizeof(now));
}

static void test_notice_hold_lasts_as_long_as_any_duplicate(void **state)
{
    assert_false(is_held());

    assert_int_equal(notice_hold(daemons_fd), 0);
    const int with_a_manager = fcntl(daemons_fd, F_DUPFD_CLOEXEC, 0);
    assert_true(is_held());
    assert_int_equal(close(daemons_fd), 0);
    assert_true(is_held());
    assert_int_equal(notice_hold(with_a_manager), 0); /* the next keeper's */
    assert_int_equal(close(with_a_manager), 0);

    assert_false(is_held());
}

static void test_notice_hold_can_not_be_prevented_by_a_reader(void **state)
{
    assert_int_equal(notice_hold(daemons_fd), 0);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    assert_int_equal(fcntl(clients_fd, F_OFD_SETLK, &lock), -1);

    assert_int_equal(notice_hold(daemons_fd), 0);
}

static void test_notice_write_of_an_end_stops_the_tick_and_keeps_the_last(void **state)
{
    tick(77);

    notice_write(daemons_fd, NOTICE_SUSPENDED);

    assert_int_equal(page->tick, TICK_STOPPED);
    assert_int_equal(page->end, NOTICE_SUSPENDED);
    assert_int_equal(page->last_tick, 77);
    assert_int_equal(notice_tick(&page->tick), 77);
    assert_int_equal(strlen(page->when), strlen("2026-11-22 14:03:05"));

    notice_write(daemons_fd, NOTICE_ENDED); /* and no tick is taken for that which is none */
    assert_int_equal(page->end, NOTICE_ENDED);
    assert_int_equal(notice_tick(&page->tick), 77);
}

static void test_notice_write_of_served_leaves_the_tick_to_the_server(void **state)
{
    tick(77);
    notice_write(daemons_fd, NOTICE_SUSPENDED);

    notice_write(daemons_fd, NOTICE_SERVED);

    assert_int_equal(page->end, NOTICE_SERVED);
    assert_int_equal(page->tick, TICK_STOPPED);
    tick(78);
    assert_int_equal(notice_tick(&page->tick), 78);
}

static void test_notice_write_that_fails_is_said(void **state)
{
    capture_begin();
    notice_write(clients_fd, NOTICE_ENDED);
    assert_non_null(strstr(capture_end(), "clients can not be told"));
    assert_int_equal(page->tick, 0);
}

#define NOTICE_TEST(test) cmocka_unit_test_setup_teardown(test, notice_setup, notice_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOTICE_TEST(test_notice_hold_lasts_as_long_as_any_duplicate),
        NOTICE_TEST(test_notice_hold_can_not_be_prevented_by_a_reader),
        NOTICE_TEST(test_notice_write_of_an_end_stops_the_tick_and_keeps_the_last),
        NOTICE_TEST(test_notice_write_of_served_leaves_the_tick_to_the_server),
        NOTICE_TEST(test_notice_write_that_fails_is_said),
    };
    return cmocka_run_group_tests_name("notice", tests, NULL, NULL);
}
