/* SPDX-License-Identifier: MIT */
/*
 * test_claim.c - whose a path is, what stands in its way, and what happens when it is removed
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/claim.h"
#include "daemon/log.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"

FAIL_WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
FAIL_WRAP(int, chown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid), -1)
FAIL_WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), -1)
FAIL_WRAP(int, stat, (const char *path, struct stat *status), (path, status), -1)
FAIL_WRAP(int, lstat, (const char *path, struct stat *status), (path, status), -1)
FAIL_WRAP(int, fstat, (int fd, struct stat *status), (fd, status), -1)
FAIL_WRAP(int, unlink, (const char *path), (path), -1)
FAIL_WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
FAIL_WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t n_bytes),
          (fd, address, n_bytes), -1)
FAIL_WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1)
FAIL_WRAP(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return fail_now("open") ? -1 : __real_open(path, flags, mode);
}

/* Between our opening and our locking it, a lock's last holder removes it and another makes one. */
static const char *lock_to_vanish;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
    if (lock_to_vanish) {
        assert_int_equal(unlink(lock_to_vanish), 0);
        assert_int_equal(mknod(lock_to_vanish, S_IFREG | 0600, 0), 0);
        lock_to_vanish = NULL;
    }
    return fail_now("flock") ? -1 : __real_flock(fd, operation);
}

static char top[64];       /* private to this test */
static char directory[80]; /* of the socket */
static char path[96];
static char lock_path[112];
static struct options options;
static struct claim held;
static int listener_fd;
static unsigned n_fds;

static int claim_setup(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/kmem-claim-XXXXXX");
    assert_non_null(mkdtemp(top));
    (void)snprintf(directory, sizeof(directory), "%s/kmemd", top);
    (void)snprintf(path, sizeof(path), "%s/x.sock", directory);
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    options = (struct options){.name = "x"};
    (void)snprintf(options.socket_path, sizeof(options.socket_path), "%s", path);
    lock_to_vanish = NULL;
    n_fds = count_fds();
    return 0;
}

static int claim_teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(lock_path);
    (void)rmdir(directory);
    assert_int_equal(rmdir(top), 0);
    return 0;
}

static struct stat status_of(const char *file)
{
    struct stat status;
    assert_int_equal(lstat(file, &status), 0);
    return status;
}

static bool is_there(const char *file)
{
    return access(file, F_OK) == 0;
}

static void file_make(const char *file, mode_t mode)
{
    const int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

/* Takes the path; whoever fails holds nothing afterwards. Return: what claim_take() did. */
static int take(const char **ret_log)
{
    capture_begin();
    const int r = claim_take(&held, &options);
    *ret_log = capture_end();
    if (r && held.lock_fd >= 0) {
        assert_int_equal(close(held.lock_fd), 0);
    }
    return r;
}

/* Takes the path and listens. Return: 0 or a negative errno. */
static int take_and_listen(const char **ret_log)
{
    int r = take(ret_log);
    if (r == 0) {
        capture_begin();
        listener_fd = claim_listen(&held);
        *ret_log = capture_end();
        r = listener_fd < 0 ? listener_fd : 0;
    }
    if (r && held.lock_fd >= 0) {
        (void)close(held.lock_fd); /* closed already if it was not taken */
    }
    return r;
}

static void assert_words(const char *log, const char *words)
{
    if (strstr(log, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", log, words);
    }
}

static void assert_refused(int wanted, const char *words)
{
    const char *log;
    assert_int_equal(take_and_listen(&log), wanted);
    assert_words(log, words);
}

static void take_it(void)
{
    const char *log;
    assert_int_equal(take(&log), 0);
    assert_string_equal(log, "");
}

static void open_it(void)
{
    const char *log;
    assert_int_equal(take_and_listen(&log), 0);
    assert_string_equal(log, "");
    assert_true(claim_watch(&held) >= 0);
}

static void close_it(void)
{
    claim_release(&held);
    assert_int_equal(close(listener_fd), 0);
}

/* Return: a connection, or a negative errno. */
static int try_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        const int error = errno;
        assert_int_equal(close(fd), 0);
        return -error;
    }
    return fd;
}

static void connect_once(void)
{
    const int fd = try_connect();
    assert_true(fd >= 0);
    const int accepted = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    assert_int_equal(close(accepted), 0);
    assert_int_equal(close(fd), 0);
}

static bool something_happened(void)
{
    struct pollfd watch = {.fd = held.watch_fd, .events = POLLIN};
    return poll(&watch, 1, 0) == 1;
}

/* ----------------------------------------------------------------------------------- claim ---- */

static void test_claim_take_makes_the_directory_and_the_lock(void **state)
{
    (void)state;

    take_it();

    assert_int_equal(status_of(directory).st_mode & 07777, 0750);
    assert_int_equal(status_of(lock_path).st_mode & 07777, 0600);
    assert_int_equal(fcntl(held.lock_fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_claim_take_of_anothers_path_is_EEXIST(void **state)
{
    (void)state;
    take_it();
    const int others = held.lock_fd;

    assert_refused(-EEXIST, "another kmemd serves");

    assert_int_equal(close(others), 0);
    take_it(); /* the other has died */
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_claim_listen_replaces_a_dead_daemons_socket(void **state)
{
    (void)state;
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

static void test_claim_listen_leaves_what_is_no_socket(void **state)
{
    (void)state;
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

static void test_claim_take_in_a_directory_that_can_not_be_used_fails(void **state)
{
    (void)state;

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

static void test_claim_take_starts_again_when_the_lock_was_just_removed(void **state)
{
    (void)state;
    lock_to_vanish = lock_path;

    take_it();

    assert_null(lock_to_vanish);
    struct stat locked;
    assert_int_equal(fstat(held.lock_fd, &locked), 0);
    assert_int_equal(locked.st_ino, status_of(lock_path).st_ino);
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_claim_take_with_a_group_gives_it_the_directory(void **state)
{
    (void)state;
    options.has_group = true;
    options.group = getgid();

    take_it();

    assert_int_equal(status_of(directory).st_gid, getgid());
    assert_int_equal(close(held.lock_fd), 0);
}

static void test_claim_take_says_what_failed_and_leaves_nothing_open(void **state)
{
    (void)state;
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

static void test_claim_listen_takes_connections(void **state)
{
    (void)state;
    open_it();
    connect_once();
    connect_once();

    assert_int_equal(status_of(path).st_mode & 07777, 0600);
    assert_int_equal(fcntl(listener_fd, F_GETFD), FD_CLOEXEC);
    close_it();
}

static void test_claim_listen_with_a_group_lets_it_connect(void **state)
{
    (void)state;
    options.has_group = true;
    options.group = getgid();

    open_it();

    assert_int_equal(status_of(path).st_mode & 07777, 0660);
    assert_int_equal(status_of(path).st_gid, getgid());
    close_it();
}

static void test_claim_listen_leaves_the_umask_as_it_was(void **state)
{
    (void)state;
    const mode_t before = umask(027);

    open_it();

    assert_int_equal(umask(before), 027);
    close_it();
}

static void test_claim_listen_that_fails_says_so_and_leaves_nothing_open(void **state)
{
    (void)state;
    const char *const calls[] = {"socket", "bind", "chown", "chmod", "listen"};
    options.has_group = true;
    options.group = getgid();

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        take_it();
        capture_begin();
        fail_nth(calls[i], 1, EIO);
        const int r = claim_listen(&held);
        assert_true(fail_end());
        const char *log = capture_end();
        assert_int_equal(r, -EIO);
        assert_words(log, "cannot listen on");
        assert_int_equal(close(held.lock_fd), 0);
        assert_int_equal(count_fds(), n_fds);
    }
}

static void test_claim_release_removes_the_socket_and_its_lock(void **state)
{
    (void)state;
    open_it();

    close_it();

    assert_false(is_there(path));
    assert_false(is_there(lock_path));
    assert_int_equal(count_fds(), n_fds);
    open_it(); /* and the path is free again */
    close_it();
}

static void test_claim_release_leaves_a_socket_that_is_anothers_by_now(void **state)
{
    (void)state;
    open_it();
    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);

    close_it();

    assert_true(is_there(path));
}

/* ----------------------------------------------------------------------------------- adopt ---- */

static void test_claim_adopt_goes_on_with_the_socket(void **state)
{
    (void)state;
    open_it();
    const int kept = listener_fd;
    assert_int_equal(close(held.lock_fd), 0); /* the first keeper is killed */
    assert_int_equal(close(held.watch_fd), 0);

    take_it();
    listener_fd = claim_adopt(&held, kept);

    assert_int_equal(listener_fd, kept);
    connect_once();
    close_it();
    assert_false(is_there(path));
}

static void test_claim_adopt_of_a_socket_whose_file_is_gone_makes_another(void **state)
{
    (void)state;
    open_it();
    const int kept = listener_fd;
    assert_int_equal(close(held.lock_fd), 0);
    assert_int_equal(close(held.watch_fd), 0);
    assert_int_equal(unlink(path), 0);

    take_it();
    listener_fd = claim_adopt(&held, kept);

    connect_once();
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

/* ------------------------------------------------------- when the socket's file is removed ---- */

static void renew(const char *words)
{
    assert_true(something_happened());
    capture_begin();
    const int fd = claim_renew(&held, false);
    assert_words(capture_end(), words);
    assert_true(fd >= 0);
    assert_int_equal(close(listener_fd), 0);
    listener_fd = fd;
}

static void test_claim_renew_makes_a_socket_again_that_was_removed(void **state)
{
    (void)state;
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

static void test_claim_renew_leaves_other_files_alone(void **state)
{
    (void)state;
    char other[96];
    (void)snprintf(other, sizeof(other), "%s/other", directory);
    open_it();

    file_make(other, 0600);
    assert_true(something_happened());
    assert_int_equal(claim_renew(&held, false), -EEXIST);
    assert_false(something_happened());

    assert_int_equal(unlink(other), 0);
    connect_once();
    close_it();
}

static void test_claim_renew_says_that_its_path_was_taken(void **state)
{
    (void)state;
    open_it();

    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);
    capture_begin();
    assert_int_equal(claim_renew(&held, false), -EEXIST);

    assert_words(capture_end(), "is somebody else's now");
    close_it();
}

static void test_claim_renew_that_can_not_make_its_socket_again_says_so(void **state)
{
    (void)state;
    open_it();

    assert_int_equal(unlink(path), 0);
    capture_begin();
    fail_nth("bind", 1, EACCES);
    assert_int_equal(claim_renew(&held, false), -EACCES);
    assert_true(fail_end());

    assert_words(capture_end(), "can not be made again");
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

static void test_claim_watch_that_fails_is_said(void **state)
{
    (void)state;
    const char *log;
    assert_int_equal(take_and_listen(&log), 0);
    capture_begin();
    fail_nth("inotify_add_watch", 1, ENOSPC);
    (void)claim_watch(&held);

    assert_true(fail_end());
    assert_words(capture_end(), "can not be watched");
    connect_once();
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

/* -------------------------------------------- when the lock or the directory is removed ---- */

static void
test_claim_listen_leaves_a_socket_that_is_alive_though_its_lock_was_removed(void **state)
{
    (void)state;
    const char *log;
    open_it();
    struct claim first = held;
    const int first_listener_fd = listener_fd;

    assert_int_equal(unlink(lock_path), 0);
    assert_int_equal(take_and_listen(&log), -EEXIST);

    assert_words(log, "something listens on");
    held = first;
    listener_fd = first_listener_fd;
    connect_once();
    close_it();
}

static void test_claim_renew_makes_a_removed_lock_again(void **state)
{
    (void)state;
    open_it();

    assert_int_equal(unlink(lock_path), 0);
    assert_true(something_happened());
    assert_int_equal(claim_renew(&held, false), -EEXIST);

    struct claim first = held;
    assert_refused(-EEXIST, "another kmemd serves");
    held = first;
    connect_once();
    close_it();
    assert_false(is_there(lock_path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_claim_renew_says_once_that_its_lock_is_anothers_and_leaves_it(void **state)
{
    (void)state;
    open_it();
    assert_int_equal(unlink(lock_path), 0);
    const int other = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(other, LOCK_EX), 0);

    capture_begin();
    assert_int_equal(claim_renew(&held, false), -EEXIST);
    assert_words(capture_end(), "another kmemd holds the one that is there");
    capture_begin();
    assert_int_equal(claim_renew(&held, false), -EEXIST);
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

static void test_claim_renew_goes_into_a_directory_that_was_made_again(void **state)
{
    (void)state;
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

static void test_claim_renew_makes_the_directory_only_if_it_may(void **state)
{
    (void)state;
    open_it();

    directory_remove();
    capture_begin();
    assert_int_equal(claim_renew(&held, false), -EEXIST);
    assert_words(capture_end(), "its directory was removed");
    assert_false(is_there(directory));
    capture_begin();
    const int fd = claim_renew(&held, true);
    assert_words(capture_end(), "is there again");

    assert_true(fd >= 0);
    assert_int_equal(close(listener_fd), 0);
    listener_fd = fd;
    assert_int_equal(status_of(directory).st_mode & 07777, 0750);
    connect_once();
    close_it();
}

static void test_claim_take_sets_modes_whatever_the_umask(void **state)
{
    (void)state;
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

#define CLAIM_TEST(test) cmocka_unit_test_setup_teardown(test, claim_setup, claim_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM_TEST(test_claim_take_makes_the_directory_and_the_lock),
        CLAIM_TEST(test_claim_take_of_anothers_path_is_EEXIST),
        CLAIM_TEST(test_claim_listen_replaces_a_dead_daemons_socket),
        CLAIM_TEST(test_claim_listen_leaves_what_is_no_socket),
        CLAIM_TEST(test_claim_take_in_a_directory_that_can_not_be_used_fails),
        CLAIM_TEST(test_claim_take_starts_again_when_the_lock_was_just_removed),
        CLAIM_TEST(test_claim_take_with_a_group_gives_it_the_directory),
        CLAIM_TEST(test_claim_take_says_what_failed_and_leaves_nothing_open),
        CLAIM_TEST(test_claim_listen_takes_connections),
        CLAIM_TEST(test_claim_listen_with_a_group_lets_it_connect),
        CLAIM_TEST(test_claim_listen_leaves_the_umask_as_it_was),
        CLAIM_TEST(test_claim_listen_that_fails_says_so_and_leaves_nothing_open),
        CLAIM_TEST(test_claim_release_removes_the_socket_and_its_lock),
        CLAIM_TEST(test_claim_release_leaves_a_socket_that_is_anothers_by_now),
        CLAIM_TEST(test_claim_adopt_goes_on_with_the_socket),
        CLAIM_TEST(test_claim_adopt_of_a_socket_whose_file_is_gone_makes_another),
        CLAIM_TEST(test_claim_renew_makes_a_socket_again_that_was_removed),
        CLAIM_TEST(test_claim_renew_leaves_other_files_alone),
        CLAIM_TEST(test_claim_renew_says_that_its_path_was_taken),
        CLAIM_TEST(test_claim_renew_that_can_not_make_its_socket_again_says_so),
        CLAIM_TEST(test_claim_watch_that_fails_is_said),
        CLAIM_TEST(test_claim_listen_leaves_a_socket_that_is_alive_though_its_lock_was_removed),
        CLAIM_TEST(test_claim_renew_makes_a_removed_lock_again),
        CLAIM_TEST(test_claim_renew_says_once_that_its_lock_is_anothers_and_leaves_it),
        CLAIM_TEST(test_claim_renew_goes_into_a_directory_that_was_made_again),
        CLAIM_TEST(test_claim_renew_makes_the_directory_only_if_it_may),
        CLAIM_TEST(test_claim_take_sets_modes_whatever_the_umask),
    };
    return cmocka_run_group_tests_name("claim", tests, NULL, NULL);
}
