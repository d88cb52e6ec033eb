/* SPDX-License-Identifier: MIT */
/*
 * test_socket_path.c - whose a path is, and what stands in its way
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

/* ----------------------------------------------------------------------------- socket path ---- */

static void test_socket_path_take_makes_the_directory_and_the_lock(void **state)
{
    take_it();

    assert_int_equal(status_of(directory).st_mode & 07777, 0750);
    assert_int_equal(status_of(lock_path).st_mode & 07777, 0600);
    assert_int_equal(fcntl(held.lock_fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_socket_path_take_of_anothers_path_is_EEXIST(void **state)
{
    take_it();
    const int others = held.lock_fd;

    assert_refused(-EEXIST, "another kmemd serves");

    assert_int_equal(close(others), 0);
    take_it(); /* the other has died */
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_socket_path_listen_replaces_a_dead_daemons_socket(void **state)
{
    assert_int_equal(mkdir(directory, 0750), 0);
    const int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(close(stale), 0);
    assert_int_equal(try_connect(), -ECONNREFUSED);

    open_it();

    connect_once();
    close_it();
}

static void test_socket_path_listen_leaves_what_is_no_socket(void **state)
{
    assert_int_equal(mkdir(directory, 0750), 0);

    file_make(path, 0600);
    assert_refused(-ENOTSOCK, "is not a socket; remove it, or use another --socket");
    assert_true(is_there(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_refused(-ENOTSOCK, "is not a socket");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(lock_path), 0);
    assert_int_equal(symlink("/nowhere", lock_path), 0);
    assert_refused(-ELOOP, "cannot lock");
}

static void test_socket_path_take_in_a_directory_that_can_not_be_used_fails(void **state)
{
    file_make(directory, 0600);
    assert_refused(-ENOTDIR, "is not a directory");
    assert_int_equal(unlink(directory), 0);
    assert_int_equal(mkdir(directory, 0750), 0);
    assert_int_equal(chmod(directory, 0777), 0);
    assert_refused(-EACCES, "everybody may replace files in");
    assert_int_equal(chmod(directory, 01777), 0); /* as /tmp is */
    take_it();
    assert_int_equal(close(held.lock_fd), 0);
    (void)snprintf(options.socket_path, sizeof(options.socket_path), "%s/no/such/x.sock", top);
    assert_refused(-ENOENT, "make it, or use --socket PATH");
}

static void test_socket_path_take_starts_again_when_the_lock_was_just_removed(void **state)
{
    lock_to_vanish = lock_path;

    take_it();

    assert_null(lock_to_vanish);
    struct stat locked;
    assert_int_equal(fstat(held.lock_fd, &locked), 0);
    assert_int_equal(locked.st_ino, status_of(lock_path).st_ino);
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_socket_path_take_with_a_group_gives_it_the_directory(void **state)
{
    options.has_group = true;
    options.group = getgid();

    take_it();

    assert_int_equal(status_of(directory).st_gid, getgid());
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_socket_path_take_says_what_failed_and_leaves_nothing_open(void **state)
{
    const char *const calls[] = {"mkdir", "chown", "stat",  "open",
                                 "flock", "fstat", "lstat", "unlink"};
    options.has_group = true;
    options.group = getgid();

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        (void)rmdir(directory);
        const int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strcmp(calls[i], "unlink") == 0) {
            assert_int_equal(mkdir(directory, 0750), 0);
            (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
            assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
        }
        assert_int_equal(close(stale), 0);
        const char *log;

        fail_from(calls[i], 1, EIO);
        const int r = take_and_listen(&log);

        assert_true(fail_end());
        /* The lock that can not be compared is another's as far as we know, again and again. */
        assert_int_equal(r, strcmp(calls[i], "fstat") == 0 ? -EAGAIN : -EIO);
        assert_non_null(strstr(log, "cannot"));
        assert_int_equal(count_fds(), n_fds);
        (void)unlink(lock_path);
    }
}

/* -------------------------------------------------------------------------- listen, release -- */

static void test_socket_path_listen_takes_connections(void **state)
{
    open_it();
    connect_once();
    connect_once();

    assert_int_equal(status_of(path).st_mode & 07777, 0600);
    assert_int_equal(fcntl(listener_fd, F_GETFD), FD_CLOEXEC);
    close_it();
}

static void test_socket_path_listen_with_a_group_lets_it_connect(void **state)
{
    options.has_group = true;
    options.group = getgid();

    open_it();

    assert_int_equal(status_of(path).st_mode & 07777, 0660);
    assert_int_equal(status_of(path).st_gid, getgid());
    close_it();
}

/* A file has one group, and no list of users: the server looks who connects. */
static void test_socket_path_listen_for_users_or_several_groups_lets_all_connect(void **state)
{
    const struct option_principal user = {.id = 4711};
    const struct option_principal group = {.is_group = true, .id = getgid()};
    struct option_principals *const lists[] = {&options.members, &options.reader_users,
                                               &options.observers, &options.admins};
    for (size_t i = 0; i < 4; i++) {
        *lists[i] = (struct option_principals){.list = {group}, .n = 1};
        open_it();
        assert_int_equal(status_of(path).st_mode & 07777, 0660);
        assert_int_equal(status_of(path).st_gid, getgid());
        close_it();
        lists[i]->list[0] = user;
        (void)rmdir(directory);
        open_it();
        assert_int_equal(status_of(path).st_mode & 07777, 0666);
        assert_int_equal(status_of(directory).st_mode & 07777, 0751);
        close_it();
        lists[i]->n = 0;
    }
}

static void test_socket_path_listen_leaves_the_umask_as_it_was(void **state)
{
    const mode_t before = umask(027);

    open_it();

    assert_int_equal(umask(before), 027);
    close_it();
}

static void test_socket_path_listen_that_fails_says_so_and_leaves_nothing_open(void **state)
{
    const char *const calls[] = {"socket", "bind", "chown", "chmod", "listen"};
    options.has_group = true;
    options.group = getgid();

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        take_it();
        capture_begin();
        fail_nth(calls[i], 1, EIO);
        const int r = socket_path_listen(&held);
        assert_true(fail_end());
        const char *log = capture_end();
        assert_int_equal(r, -EIO);
        assert_words(log, "cannot listen on");
        assert_int_equal(close(held.lock_fd), 0);
        assert_int_equal(count_fds(), n_fds);
    }
}

static void test_socket_path_release_removes_the_socket_and_its_lock(void **state)
{
    open_it();

    close_it();

    assert_false(is_there(path));
    assert_false(is_there(lock_path));
    assert_int_equal(count_fds(), n_fds);
    open_it(); /* and the path is free again */
    close_it();
}

static void test_socket_path_release_leaves_a_socket_that_is_anothers_by_now(void **state)
{
    open_it();
    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);

    close_it();

    assert_true(is_there(path));
}

/* ----------------------------------------------------------------------------------- adopt ---- */

static void test_socket_path_adopt_goes_on_with_the_socket(void **state)
{
    open_it();
    const int kept = listener_fd;
    assert_int_equal(close(held.lock_fd), 0); /* the first keeper is killed */
    assert_int_equal(close(held.watch_fd), 0);

    take_it();
    listener_fd = socket_path_adopt(&held, kept);

    assert_int_equal(listener_fd, kept);
    connect_once();
    close_it();
    assert_false(is_there(path));
}

static void test_socket_path_adopt_of_a_socket_whose_file_is_gone_makes_another(void **state)
{
    open_it();
    const int kept = listener_fd;
    assert_int_equal(close(held.lock_fd), 0);
    assert_int_equal(close(held.watch_fd), 0);
    assert_int_equal(unlink(path), 0);

    take_it();
    listener_fd = socket_path_adopt(&held, kept);

    connect_once();
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

/* ---------------------------------------------------------------------------------- follow ---- */

static void test_socket_path_follow_opens_what_is_there_and_closes_nothing(void **state)
{
    const struct option_principal user = {.id = 4711};
    options.has_group = true;
    options.group = getgid();
    open_it();
    assert_int_equal(status_of(path).st_mode & 07777, 0660);

    options.members = (struct option_principals){.list = {user}, .n = 1};
    socket_path_follow(&held, &options);
    assert_int_equal(status_of(path).st_mode & 07777, 0666);
    assert_int_equal(status_of(directory).st_mode & 07777, 0751);

    options.members.n = 0; /* one who was named lives, and comes back */
    socket_path_follow(&held, &options);
    assert_int_equal(status_of(path).st_mode & 07777, 0666);
    close_it();
}

static void test_socket_path_follow_gives_the_first_group_the_socket(void **state)
{
    const struct option_principal group = {.is_group = true, .id = getgid()};
    open_it();
    assert_int_equal(status_of(path).st_mode & 07777, 0600);

    options.observers = (struct option_principals){.list = {group}, .n = 1};
    socket_path_follow(&held, &options);

    assert_int_equal(status_of(path).st_mode & 07777, 0660);
    assert_int_equal(status_of(path).st_gid, getgid());
    close_it();
}

static void test_socket_path_follow_leaves_what_is_not_the_keepers(void **state)
{
    const struct option_principal user = {.id = 4711};
    assert_int_equal(mkdir(directory, 0700), 0);
    open_it();
    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);

    options.admins = (struct option_principals){.list = {user}, .n = 1};
    capture_begin();
    socket_path_follow(&held, &options);

    assert_words(capture_end(), "lets only its owner and its group pass, and others may join");
    assert_int_equal(status_of(directory).st_mode & 07777, 0700);
    assert_int_equal(status_of(path).st_mode & 07777, 0600);
    close_it();
}

static void test_socket_path_follow_that_fails_says_so(void **state)
{
    const struct option_principal user = {.id = 4711};
    open_it();
    options.admins = (struct option_principals){.list = {user}, .n = 1};

    for (unsigned i = 0; i < 2; i++) { /* of the directory, of the socket */
        held.access.is_open = false;
        assert_int_equal(chmod(path, 0600), 0);
        capture_begin();
        fail_nth("chmod", 1 + i, EPERM);
        socket_path_follow(&held, &options);
        assert_true(fail_end());
        assert_words(capture_end(), i == 0 ? "cannot set the mode of" : "cannot let all connect");
    }
    close_it();
}

static void test_socket_path_adopt_opens_the_socket_to_who_may_join_by_now(void **state)
{
    const struct option_principal user = {.id = 4711};
    assert_int_equal(mkdir(directory, 0755), 0);
    open_it();
    const int kept = listener_fd;
    assert_int_equal(close(held.lock_fd), 0);
    assert_int_equal(close(held.watch_fd), 0);

    options.reader_users = (struct option_principals){.list = {user}, .n = 1};
    take_it();
    listener_fd = socket_path_adopt(&held, kept);

    assert_int_equal(status_of(path).st_mode & 07777, 0666);
    close_it();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOCKET_PATH_TEST(test_socket_path_take_makes_the_directory_and_the_lock),
        SOCKET_PATH_TEST(test_socket_path_take_of_anothers_path_is_EEXIST),
        SOCKET_PATH_TEST(test_socket_path_listen_replaces_a_dead_daemons_socket),
        SOCKET_PATH_TEST(test_socket_path_listen_leaves_what_is_no_socket),
        SOCKET_PATH_TEST(test_socket_path_take_in_a_directory_that_can_not_be_used_fails),
        SOCKET_PATH_TEST(test_socket_path_take_starts_again_when_the_lock_was_just_removed),
        SOCKET_PATH_TEST(test_socket_path_take_with_a_group_gives_it_the_directory),
        SOCKET_PATH_TEST(test_socket_path_take_says_what_failed_and_leaves_nothing_open),
        SOCKET_PATH_TEST(test_socket_path_listen_takes_connections),
        SOCKET_PATH_TEST(test_socket_path_listen_with_a_group_lets_it_connect),
        SOCKET_PATH_TEST(test_socket_path_listen_for_users_or_several_groups_lets_all_connect),
        SOCKET_PATH_TEST(test_socket_path_listen_leaves_the_umask_as_it_was),
        SOCKET_PATH_TEST(test_socket_path_listen_that_fails_says_so_and_leaves_nothing_open),
        SOCKET_PATH_TEST(test_socket_path_release_removes_the_socket_and_its_lock),
        SOCKET_PATH_TEST(test_socket_path_release_leaves_a_socket_that_is_anothers_by_now),
        SOCKET_PATH_TEST(test_socket_path_adopt_goes_on_with_the_socket),
        SOCKET_PATH_TEST(test_socket_path_adopt_of_a_socket_whose_file_is_gone_makes_another),
        SOCKET_PATH_TEST(test_socket_path_follow_opens_what_is_there_and_closes_nothing),
        SOCKET_PATH_TEST(test_socket_path_follow_gives_the_first_group_the_socket),
        SOCKET_PATH_TEST(test_socket_path_follow_leaves_what_is_not_the_keepers),
        SOCKET_PATH_TEST(test_socket_path_follow_that_fails_says_so),
        SOCKET_PATH_TEST(test_socket_path_adopt_opens_the_socket_to_who_may_join_by_now),
    };
    return cmocka_run_group_tests_name("socket_path", tests, NULL, NULL);
}
