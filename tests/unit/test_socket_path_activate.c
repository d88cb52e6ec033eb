/* SPDX-License-Identifier: MIT */
/*
 * test_socket_path_activate.c - a socket that a service manager has made at the path
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/socket_path_fixture.h"
#include "tests/unit/unit.h"

/* A socket that listens at the path, as a socket unit makes one. */
static int managers_socket(const char *at)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", at);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int activate(int fd, const char **ret_log)
{
    capture_begin();
    const int r = socket_path_activate(&held, fd);
    *ret_log = capture_end();
    listener_fd = r;
    return r;
}

/* The hold ends, and nothing of it is left but what is the manager's. */
static void assert_left(bool is_there_still)
{
    socket_path_release(&held);
    assert_int_equal(is_there(path), is_there_still);
    assert_false(is_there(lock_path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_socket_path_activate_takes_connections_and_leaves_the_file(void **state)
{
    const char *log;
    take_it();
    const int fd = managers_socket(path);
    assert_int_equal(activate(fd, &log), fd);
    assert_string_equal(log, "");

    connect_once();
    assert_true(fcntl(listener_fd, F_GETFL) & O_NONBLOCK);

    assert_int_equal(close(listener_fd), 0);
    assert_left(true);
}

static void test_socket_path_activate_gives_the_file_to_the_group(void **state)
{
    const char *log;
    options.has_group = true;
    options.group = getegid();
    take_it();
    const int fd = managers_socket(path);
    assert_int_equal(chmod(path, 0600), 0);
    assert_true(activate(fd, &log) >= 0);

    assert_int_equal(status_of(path).st_mode & 07777, 0660);
    assert_int_equal(close(listener_fd), 0);
    assert_left(true);
}

static void
test_socket_path_activate_of_a_file_that_can_not_be_given_says_what_the_unit_is_to_do(void **state)
{
    const char *log;
    options.has_group = true;
    options.group = getegid();
    take_it();
    const int fd = managers_socket(path);
    assert_int_equal(chmod(path, 0600), 0);
    fail_nth("chmod", 1, EPERM);
    assert_int_equal(activate(fd, &log), -EPERM);
    assert_true(fail_end());

    assert_words(log, "have the unit do it");
    assert_left(true);
}

static void test_socket_path_activate_of_another_path_names_both(void **state)
{
    char other[128];
    const char *log;
    take_it();
    (void)snprintf(other, sizeof(other), "%s.other", path);
    assert_int_equal(activate(managers_socket(other), &log), -EADDRNOTAVAIL);

    assert_words(log, other);
    assert_words(log, "let both say the same");
    assert_int_equal(unlink(other), 0);
    assert_left(false);
}

static void test_socket_path_activate_of_a_file_that_was_removed_says_so(void **state)
{
    const char *log;
    take_it();
    const int fd = managers_socket(path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(activate(fd, &log), -EADDRNOTAVAIL);

    assert_words(log, "restart that unit");
    assert_left(false);
}

static void test_socket_path_activate_that_can_not_listen_is_said(void **state)
{
    const char *log;
    take_it();
    const int fd = managers_socket(path);
    fail_nth("listen", 1, ENOBUFS);
    assert_int_equal(activate(fd, &log), -ENOBUFS);
    assert_true(fail_end());

    assert_words(log, "cannot listen on");
    assert_left(true);
}

static void test_socket_path_renew_of_a_managers_file_makes_the_keepers_own(void **state)
{
    const char *log;
    take_it();
    const int managers = managers_socket(path);
    assert_true(activate(managers, &log) >= 0);
    assert_int_equal(unlink(path), 0);

    capture_begin();
    listener_fd = socket_path_renew(&held, false);
    assert_words(capture_end(), "was removed; it is there again");
    assert_true(listener_fd >= 0);
    connect_once();

    assert_int_equal(close(managers), 0);
    assert_int_equal(close(listener_fd), 0);
    assert_left(false);
}

/* The server looks who connects: all may be the first, whoever the socket is of. */
static void test_socket_path_activate_leaves_a_file_that_lets_everybody_connect(void **state)
{
    const char *log;
    options.has_group = true;
    options.group = 4711;
    assert_int_equal(mkdir(directory, 0755), 0);
    take_it();
    const int fd = managers_socket(path);
    const gid_t group = status_of(path).st_gid;
    assert_int_equal(chmod(path, 0666), 0);
    assert_true(activate(fd, &log) >= 0);

    assert_int_equal(status_of(path).st_mode & 07777, 0666);
    assert_int_equal(status_of(path).st_gid, group);
    assert_int_equal(close(listener_fd), 0);
    assert_left(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOCKET_PATH_TEST(test_socket_path_activate_takes_connections_and_leaves_the_file),
        SOCKET_PATH_TEST(test_socket_path_activate_gives_the_file_to_the_group),
        SOCKET_PATH_TEST(test_socket_path_activate_leaves_a_file_that_lets_everybody_connect),
        SOCKET_PATH_TEST(
            test_socket_path_activate_of_a_file_that_can_not_be_given_says_what_the_unit_is_to_do),
        SOCKET_PATH_TEST(test_socket_path_activate_of_another_path_names_both),
        SOCKET_PATH_TEST(test_socket_path_activate_of_a_file_that_was_removed_says_so),
        SOCKET_PATH_TEST(test_socket_path_activate_that_can_not_listen_is_said),
        SOCKET_PATH_TEST(test_socket_path_renew_of_a_managers_file_makes_the_keepers_own),
    };
    return cmocka_run_group_tests_name("socket_path_activate", tests, NULL, NULL);
}
