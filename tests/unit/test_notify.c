/* SPDX-License-Identifier: MIT */
/*
 * test_notify.c - what a service manager is told, and when it has asked for it
 *
 * The manager is a socket of this test's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/keeper/notify.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static int manager;

/* An abstract address: there is no file to remove. */
static int notify_setup(void **state)
{
    char name[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(name, sizeof(name), "@kmemd-test-notify-%ld", (long)getpid());
    memcpy(address.sun_path, name, strlen(name)); /* fits */
    address.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    (void)unsetenv("FDSTORE");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return setenv("NOTIFY_SOCKET", name, 1);
}

static int notify_teardown(void **state)
{
    (void)unsetenv("NOTIFY_SOCKET");
    return close(manager);
}

static void expect_told(const char *words)
{
    char bytes[512] = "";
    assert_true(recv(manager, bytes, sizeof(bytes) - 1, MSG_DONTWAIT) > 0);
    assert_string_equal(bytes, words);
}

static void test_notify_tells_who_asks(void **state)
{
    assert_true(notify_is_asked());
    notify_ready("segment \"%s\"", "video");
    expect_told("READY=1\nSTATUS=segment \"video\"");
    notify_alive();
    expect_told("WATCHDOG=1");
    notify_stopping();
    expect_told("STOPPING=1\nSTATUS=Ending.");
    notify_fd_store_put("segment", manager);
    expect_told("FDSTORE=1\nFDNAME=segment\nFDPOLL=0");
    notify_fd_store_remove("segment");
    expect_told("FDSTOREREMOVE=1\nFDNAME=segment");
}

static void test_notify_without_a_manager_says_nothing(void **state)
{
    assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
    assert_false(notify_is_asked());
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_false(notify_is_asked());
    capture_begin();
    notify_alive();
    notify_fd_store_put("segment", manager);
    assert_string_equal(capture_end(), "");
}

/* It goes on without being heard. */
static void test_notify_of_a_manager_that_has_gone_is_a_warning(void **state)
{
    assert_int_equal(setenv("NOTIFY_SOCKET", "@kmemd-test-notify-nobody", 1), 0);
    capture_begin();
    notify_alive();
    assert_non_null(strstr(capture_end(), "the service manager can not be notified: "));
    capture_begin();
    notify_fd_store_put("segment", manager);
    assert_non_null(strstr(capture_end(), "can not be given descriptor segment: "));
}

static void test_notify_has_fd_store_if_one_is_there_and_has_room(void **state)
{
    assert_false(notify_has_fd_store());
    assert_int_equal(setenv("FDSTORE", "", 1), 0);
    assert_false(notify_has_fd_store());
    assert_int_equal(setenv("FDSTORE", "0", 1), 0);
    assert_false(notify_has_fd_store());
    assert_int_equal(setenv("FDSTORE", "100", 1), 0);
    assert_true(notify_has_fd_store());
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_false(notify_has_fd_store()); /* it could not be reached */
}

static void test_notify_alive_is_wanted_three_times_in_the_managers_patience(void **state)
{
    assert_int_equal(notify_alive_ms(), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "3000000", 1), 0);
    assert_int_equal(notify_alive_ms(), 1000);
    assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0); /* another process's */
    assert_int_equal(notify_alive_ms(), 0);
}

#define NOTIFY_TEST(function)                                                                      \
    cmocka_unit_test_setup_teardown(function, notify_setup, notify_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOTIFY_TEST(test_notify_tells_who_asks),
        NOTIFY_TEST(test_notify_without_a_manager_says_nothing),
        NOTIFY_TEST(test_notify_of_a_manager_that_has_gone_is_a_warning),
        NOTIFY_TEST(test_notify_has_fd_store_if_one_is_there_and_has_room),
        NOTIFY_TEST(test_notify_alive_is_wanted_three_times_in_the_managers_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
