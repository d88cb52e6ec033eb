/* SPDX-License-Identifier: MIT */
/*
 * test_socket_path_renew.c - what happens when socket, lock or directory is removed
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/socket_path_fixture.h"
#include "tests/unit/unit.h"

/* ------------------------------------------------------- when the socket's file is removed ---- */

static void renew(const char *words)
{
    assert_true(something_happened());
    capture_begin();
    const int fd = socket_path_renew(&held, false);
    assert_words(capture_end(), words);
    assert_true(fd >= 0);
    assert_int_equal(close(listener_fd), 0);
    listener_fd = fd;
}

static void test_socket_path_renew_makes_a_socket_again_that_was_removed(void **state)
{
    open_it();

    assert_int_equal(unlink(path), 0);
    renew("was removed; it is there again");

    assert_int_equal(status_of(path).st_mode & 07777, 0600);
    connect_once();
    assert_int_equal(unlink(path), 0); /* and again */
    renew("was removed; it is there again");
    connect_once();
    close_it();
    assert_false(is_there(path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_socket_path_renew_leaves_other_files_alone(void **state)
{
    char other[96];
    (void)snprintf(other, sizeof(other), "%s/other", directory);
    open_it();

    file_make(other, 0600);
    assert_true(something_happened());
    assert_int_equal(socket_path_renew(&held, false), -EEXIST);
    assert_false(something_happened());

    assert_int_equal(unlink(other), 0);
    connect_once();
    close_it();
}

static void test_socket_path_renew_says_that_its_path_was_taken(void **state)
{
    open_it();

    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);
    capture_begin();
    assert_int_equal(socket_path_renew(&held, false), -EEXIST);

    assert_words(capture_end(), "is somebody else's now");
    close_it();
}

static void test_socket_path_renew_that_can_not_make_its_socket_again_says_so(void **state)
{
    open_it();

    assert_int_equal(unlink(path), 0);
    capture_begin();
    fail_nth("bind", 1, EACCES);
    assert_int_equal(socket_path_renew(&held, false), -EACCES);
    assert_true(fail_end());

    assert_words(capture_end(), "can not be made again");
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

static void test_socket_path_watch_that_fails_is_said(void **state)
{
    const char *log;
    assert_int_equal(take_and_listen(&log), 0);
    capture_begin();
    fail_nth("inotify_add_watch", 1, ENOSPC);
    (void)socket_path_watch(&held);

    assert_true(fail_end());
    assert_words(capture_end(), "can not be watched");
    connect_once();
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

/* -------------------------------------------- when the lock or the directory is removed ---- */

static void test_socket_path_listen_leaves_a_live_socket_without_a_lock(void **state)
{
    const char *log;
    open_it();
    struct socket_path first = held;
    const int first_listener_fd = listener_fd;

    assert_int_equal(unlink(lock_path), 0);
    assert_int_equal(take_and_listen(&log), -EEXIST);

    assert_words(log, "something listens on");
    held = first;
    listener_fd = first_listener_fd;
    connect_once();
    close_it();
}

static void test_socket_path_renew_makes_a_removed_lock_again(void **state)
{
    open_it();

    assert_int_equal(unlink(lock_path), 0);
    assert_true(something_happened());
    assert_int_equal(socket_path_renew(&held, false), -EEXIST);

    struct socket_path first = held;
    assert_refused(-EEXIST, "another kmemd serves");
    held = first;
    connect_once();
    close_it();
    assert_false(is_there(lock_path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_socket_path_renew_says_once_that_its_lock_is_anothers_and_leaves_it(void **state)
{
    open_it();
    assert_int_equal(unlink(lock_path), 0);
    const int other = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(other, LOCK_EX), 0);

    capture_begin();
    assert_int_equal(socket_path_renew(&held, false), -EEXIST);
    assert_words(capture_end(), "another kmemd holds the one that is there");
    capture_begin();
    assert_int_equal(socket_path_renew(&held, false), -EEXIST);
    assert_string_equal(capture_end(), "");

    close_it();
    assert_true(is_there(lock_path)); /* the other's */
    assert_int_equal(close(other), 0);
}

static void directory_remove(void)
{
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(lock_path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void test_socket_path_renew_goes_into_a_directory_that_was_made_again(void **state)
{
    open_it();

    directory_remove();
    assert_int_equal(mkdir(directory, 0750), 0);
    renew("was removed; it is there again");

    connect_once();
    assert_int_equal(unlink(path), 0); /* it is watched, too */
    renew("was removed; it is there again");
    connect_once();
    close_it();
    assert_false(is_there(lock_path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_socket_path_renew_makes_the_directory_only_if_it_may(void **state)
{
    open_it();

    directory_remove();
    capture_begin();
    assert_int_equal(socket_path_renew(&held, false), -EEXIST);
    assert_words(capture_end(), "its directory was removed");
    assert_false(is_there(directory));
    capture_begin();
    const int fd = socket_path_renew(&held, true);
    assert_words(capture_end(), "is there again");

    assert_true(fd >= 0);
    assert_int_equal(close(listener_fd), 0);
    listener_fd = fd;
    assert_int_equal(status_of(directory).st_mode & 07777, 0750);
    connect_once();
    close_it();
}

static void test_socket_path_take_sets_modes_whatever_the_umask(void **state)
{
    const mode_t before = umask(0777);
    options.has_group = true;
    options.group = getgid();

    open_it();

    assert_int_equal(umask(before), 0777);
    assert_int_equal(status_of(directory).st_mode & 07777, 0750);
    assert_int_equal(status_of(lock_path).st_mode & 07777, 0600);
    assert_int_equal(status_of(path).st_mode & 07777, 0660);
    close_it();
}

static void test_socket_path_leave_keeps_the_socket_for_the_next(void **state)
{
    open_it();
    const int kept = listener_fd;

    socket_path_leave(&held);

    assert_true(is_there(path));
    assert_false(is_there(lock_path));
    take_it();
    listener_fd = socket_path_adopt(&held, kept);
    connect_once();
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOCKET_PATH_TEST(test_socket_path_renew_makes_a_socket_again_that_was_removed),
        SOCKET_PATH_TEST(test_socket_path_renew_leaves_other_files_alone),
        SOCKET_PATH_TEST(test_socket_path_renew_says_that_its_path_was_taken),
        SOCKET_PATH_TEST(test_socket_path_renew_that_can_not_make_its_socket_again_says_so),
        SOCKET_PATH_TEST(test_socket_path_watch_that_fails_is_said),
        SOCKET_PATH_TEST(test_socket_path_listen_leaves_a_live_socket_without_a_lock),
        SOCKET_PATH_TEST(test_socket_path_renew_makes_a_removed_lock_again),
        SOCKET_PATH_TEST(test_socket_path_renew_says_once_that_its_lock_is_anothers_and_leaves_it),
        SOCKET_PATH_TEST(test_socket_path_renew_goes_into_a_directory_that_was_made_again),
        SOCKET_PATH_TEST(test_socket_path_renew_makes_the_directory_only_if_it_may),
        SOCKET_PATH_TEST(test_socket_path_take_sets_modes_whatever_the_umask),
        SOCKET_PATH_TEST(test_socket_path_leave_keeps_the_socket_for_the_next),
    };
    return cmocka_run_group_tests_name("socket_path_renew", tests, NULL, NULL);
}
