/* SPDX-License-Identifier: MIT */
/*
 * test_listener.c - whose a path is, what stands in its way, and what happens when it is removed
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "daemon/listener.h"
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
FAIL_WRAP(int, uv_pipe_init, (uv_loop_t * loop, uv_pipe_t *pipe, int ipc), (loop, pipe, ipc),
          UV_ENOMEM)
FAIL_WRAP(int, uv_pipe_open, (uv_pipe_t * pipe, uv_file fd), (pipe, fd), UV_EINVAL)
FAIL_WRAP(int, uv_listen, (uv_stream_t * stream, int backlog, uv_connection_cb called),
          (stream, backlog, called), UV_EADDRINUSE)
FAIL_WRAP(int, uv_fs_event_start,
          (uv_fs_event_t * watch, uv_fs_event_cb called, const char *path, unsigned flags),
          (watch, called, path, flags), UV_ENOSPC)

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
static struct listener listener;
static uv_loop_t loop;
static unsigned n_connected;
static unsigned n_fds;

/* The loop opens descriptors of its own with its first socket and its first watch. */
static void loop_warm_up(void)
{
    uv_pipe_t pipe;
    uv_fs_event_t watch;
    assert_int_equal(uv_pipe_init(&loop, &pipe, 0), 0);
    assert_int_equal(uv_fs_event_init(&loop, &watch), 0);
    assert_int_equal(uv_fs_event_start(&watch, NULL, top, 0), 0);
    uv_close((uv_handle_t *)&pipe, NULL);
    uv_close((uv_handle_t *)&watch, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
}

static int listener_setup(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/kmem-listener-XXXXXX");
    assert_non_null(mkdtemp(top));
    (void)snprintf(directory, sizeof(directory), "%s/kmemd", top);
    (void)snprintf(path, sizeof(path), "%s/x.sock", directory);
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    options = (struct options){.name = "x"};
    (void)snprintf(options.socket_path, sizeof(options.socket_path), "%s", path);
    n_connected = 0;
    lock_to_vanish = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    loop_warm_up();
    n_fds = count_fds();
    return 0;
}

static int listener_teardown(void **state)
{
    (void)state;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
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

/* Claims; a claim that fails holds nothing afterwards. Return: what listener_claim() did. */
static int claim(const char **ret_log)
{
    capture_begin();
    const int r = listener_claim(&listener, &options);
    *ret_log = capture_end();
    if (r && listener.lock_fd >= 0) {
        assert_int_equal(close(listener.lock_fd), 0);
    }
    return r;
}

static void assert_claim_fails(int wanted, const char *words)
{
    const char *log;
    assert_int_equal(claim(&log), wanted);
    if (strstr(log, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", log, words);
    }
}

static void claim_it(void)
{
    const char *log;
    assert_int_equal(claim(&log), 0);
    assert_string_equal(log, "");
}

static void connected(uv_stream_t *stream, int status)
{
    assert_int_equal(status, 0);
    assert_ptr_equal(stream->data, &options);
    n_connected++;
    /* Accepted as a session would. */
    static uv_pipe_t accepted;
    assert_int_equal(uv_pipe_init(&loop, &accepted, 0), 0);
    assert_int_equal(uv_accept(stream, (uv_stream_t *)&accepted), 0);
    uv_close((uv_handle_t *)&accepted, NULL);
}

static void open_it(void)
{
    claim_it();
    assert_int_equal(listener_open(&listener, &loop, connected, &options), 0);
}

static void close_it(void)
{
    listener_close(&listener);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
}

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
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
    const unsigned n_before = n_connected;
    const int fd = try_connect();
    assert_true(fd >= 0);
    while (n_connected == n_before) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    turn(); /* what was accepted is closed */
    assert_int_equal(close(fd), 0);
}

/* ----------------------------------------------------------------------------------- claim ---- */

static void test_listener_claim_makes_the_directory_and_the_lock(void **state)
{
    (void)state;

    claim_it();

    assert_int_equal(status_of(directory).st_mode & 07777, 0750);
    assert_int_equal(status_of(lock_path).st_mode & 07777, 0600);
    assert_int_equal(fcntl(listener.lock_fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(close(listener.lock_fd), 0);
}

static void test_listener_claim_of_anothers_path_is_EEXIST(void **state)
{
    (void)state;
    claim_it();
    const int held = listener.lock_fd;

    assert_claim_fails(-EEXIST, "another kmemd serves");

    assert_int_equal(close(held), 0);
    claim_it(); /* the other has died */
    assert_int_equal(close(listener.lock_fd), 0);
}

static void test_listener_claim_removes_a_dead_daemons_socket(void **state)
{
    (void)state;
    assert_int_equal(mkdir(directory, 0750), 0);
    const int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(close(stale), 0);
    assert_true(is_there(path));

    claim_it();

    assert_false(is_there(path));
    assert_int_equal(close(listener.lock_fd), 0);
}

static void test_listener_claim_leaves_what_is_no_socket(void **state)
{
    (void)state;
    assert_int_equal(mkdir(directory, 0750), 0);

    file_make(path, 0600);
    assert_claim_fails(-ENOTSOCK, "is not a socket; remove it, or use another --socket");
    assert_true(is_there(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_claim_fails(-ENOTSOCK, "is not a socket");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(lock_path), 0);
    assert_int_equal(symlink("/nowhere", lock_path), 0);
    assert_claim_fails(-ELOOP, "cannot lock");
}

static void test_listener_claim_in_a_directory_that_can_not_be_used_fails(void **state)
{
    (void)state;

    file_make(directory, 0600);
    assert_claim_fails(-ENOTDIR, "is not a directory");
    assert_int_equal(unlink(directory), 0);
    assert_int_equal(mkdir(directory, 0750), 0);
    assert_int_equal(chmod(directory, 0777), 0);
    assert_claim_fails(-EACCES, "everybody may replace files in");
    assert_int_equal(chmod(directory, 01777), 0); /* as /tmp is */
    claim_it();
    assert_int_equal(close(listener.lock_fd), 0);
    (void)snprintf(options.socket_path, sizeof(options.socket_path), "%s/no/such/x.sock", top);
    assert_claim_fails(-ENOENT, "make it, or use --socket PATH");
}

static void test_listener_claim_starts_again_when_the_lock_was_just_removed(void **state)
{
    (void)state;
    lock_to_vanish = lock_path;

    claim_it();

    assert_null(lock_to_vanish);
    struct stat held;
    assert_int_equal(fstat(listener.lock_fd, &held), 0);
    assert_int_equal(held.st_ino, status_of(lock_path).st_ino);
    assert_int_equal(close(listener.lock_fd), 0);
}

static void test_listener_claim_with_a_group_gives_it_the_directory(void **state)
{
    (void)state;
    options.has_group = true;
    options.group = getgid();

    claim_it();

    assert_int_equal(status_of(directory).st_gid, getgid());
    assert_int_equal(close(listener.lock_fd), 0);
}

static void test_listener_claim_says_what_failed_and_leaves_nothing_open(void **state)
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
        const int r = claim(&log);

        assert_true(fail_end());
        /* The lock that can not be compared is another's as far as we know, again and again. */
        assert_int_equal(r, strcmp(calls[i], "fstat") == 0 ? -EAGAIN : -EIO);
        assert_non_null(strstr(log, "cannot"));
        assert_int_equal(count_fds(), n_fds);
        (void)unlink(lock_path);
    }
}

/* ----------------------------------------------------------------------------- open, close ---- */

static void test_listener_open_accepts_connections(void **state)
{
    (void)state;
    open_it();
    connect_once();
    connect_once();

    assert_int_equal(n_connected, 2);
    assert_int_equal(status_of(path).st_mode & 07777, 0600);
    close_it();
}

static void test_listener_open_with_a_group_lets_it_connect(void **state)
{
    (void)state;
    options.has_group = true;
    options.group = getgid();

    open_it();

    assert_int_equal(status_of(path).st_mode & 07777, 0660);
    assert_int_equal(status_of(path).st_gid, getgid());
    close_it();
}

static void test_listener_open_leaves_the_umask_as_it_was(void **state)
{
    (void)state;
    const mode_t before = umask(027);

    open_it();

    assert_int_equal(umask(before), 027);
    close_it();
}

static void test_listener_close_removes_the_socket_and_its_lock(void **state)
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

static void test_listener_close_leaves_a_socket_that_is_anothers_by_now(void **state)
{
    (void)state;
    open_it();
    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);

    close_it();

    assert_true(is_there(path));
}

static void test_listener_open_that_fails_says_so_and_leaves_nothing(void **state)
{
    (void)state;
    const char *const calls[] = {"socket", "bind",         "chown",        "chmod",
                                 "lstat",  "uv_pipe_init", "uv_pipe_open", "uv_listen"};
    options.has_group = true;
    options.group = getgid();

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        claim_it();
        capture_begin();
        fail_nth(calls[i], 1, EIO);
        assert_true(listener_open(&listener, &loop, connected, &options) < 0);
        assert_true(fail_end());
        const char *log = capture_end();
        assert_non_null(strstr(log, "cannot listen on"));
        if (strcmp(calls[i], "uv_pipe_init") != 0) {
            uv_close((uv_handle_t *)&listener.pipe, NULL);
        }
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(close(listener.lock_fd), 0);
        assert_int_equal(count_fds(), n_fds);
        assert_false(is_there(path)); /* nor a socket that nobody listens to */
    }
}

/* ------------------------------------------------------- when the socket's file is removed ---- */

/* Waits until the socket is there, as it is after it was removed. */
static const char *wait_for_the_socket(void)
{
    capture_begin();
    for (unsigned n = 0; n < 1000 && !is_there(path); n++) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    turn();
    return capture_end();
}

static void test_listener_makes_a_socket_again_that_was_removed(void **state)
{
    (void)state;
    open_it();

    assert_int_equal(unlink(path), 0);
    assert_non_null(strstr(wait_for_the_socket(), "was removed; it is there again"));

    assert_int_equal(status_of(path).st_mode & 07777, 0600);
    connect_once();
    assert_int_equal(unlink(path), 0); /* and again */
    (void)wait_for_the_socket();
    connect_once();
    close_it();
    assert_false(is_there(path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_listener_leaves_other_files_alone(void **state)
{
    (void)state;
    char other[96];
    (void)snprintf(other, sizeof(other), "%s/other", directory);
    open_it();
    const ino_t inode = status_of(path).st_ino;

    file_make(other, 0600);
    turn();
    assert_int_equal(unlink(other), 0);
    turn();

    assert_int_equal(status_of(path).st_ino, inode);
    connect_once();
    close_it();
}

static void test_listener_says_that_its_path_was_taken(void **state)
{
    (void)state;
    open_it();

    assert_int_equal(unlink(path), 0);
    file_make(path, 0600);
    capture_begin();
    turn();
    turn();

    assert_non_null(strstr(capture_end(), "is somebody else's now"));
    close_it();
}

static void test_listener_that_can_not_make_its_socket_again_says_so(void **state)
{
    (void)state;
    open_it();

    assert_int_equal(unlink(path), 0);
    capture_begin();
    fail_nth("bind", 1, EACCES);
    turn();
    turn();
    assert_true(fail_end());

    assert_non_null(strstr(capture_end(), "can not be made again"));
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

/* The directory's event comes first, then the end, both before libuv has closed the socket. */
static void test_listener_close_while_the_socket_is_being_made_again_ends(void **state)
{
    (void)state;
    open_it();

    capture_begin();
    assert_int_equal(unlink(path), 0);
    for (unsigned n = 0; n < 1000 && !uv_is_closing((uv_handle_t *)&listener.pipe); n++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        if (is_there(path)) {
            assert_int_equal(unlink(path), 0); /* this turn was too long: once more */
        }
        uv_fs_event_t *watch = &listener.watch;
        watch->cb(watch, "x.sock", UV_RENAME, 0);
    }
    (void)capture_end();
    assert_true(uv_is_closing((uv_handle_t *)&listener.pipe));
    close_it(); /* returns when no handle is open */

    assert_false(is_there(path));
    assert_int_equal(count_fds(), n_fds);
}

static void test_listener_open_without_a_watch_serves_all_the_same(void **state)
{
    (void)state;
    claim_it();
    capture_begin();
    fail_nth("uv_fs_event_start", 1, 0);

    assert_int_equal(listener_open(&listener, &loop, connected, &options), 0);

    assert_true(fail_end());
    assert_non_null(strstr(capture_end(), "can not be watched"));
    connect_once();
    close_it();
    assert_int_equal(count_fds(), n_fds);
}

#define LISTENER_TEST(test) cmocka_unit_test_setup_teardown(test, listener_setup, listener_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_listener_claim_makes_the_directory_and_the_lock),
        LISTENER_TEST(test_listener_claim_of_anothers_path_is_EEXIST),
        LISTENER_TEST(test_listener_claim_removes_a_dead_daemons_socket),
        LISTENER_TEST(test_listener_claim_leaves_what_is_no_socket),
        LISTENER_TEST(test_listener_claim_in_a_directory_that_can_not_be_used_fails),
        LISTENER_TEST(test_listener_claim_starts_again_when_the_lock_was_just_removed),
        LISTENER_TEST(test_listener_claim_with_a_group_gives_it_the_directory),
        LISTENER_TEST(test_listener_claim_says_what_failed_and_leaves_nothing_open),
        LISTENER_TEST(test_listener_open_accepts_connections),
        LISTENER_TEST(test_listener_open_with_a_group_lets_it_connect),
        LISTENER_TEST(test_listener_open_leaves_the_umask_as_it_was),
        LISTENER_TEST(test_listener_close_removes_the_socket_and_its_lock),
        LISTENER_TEST(test_listener_close_leaves_a_socket_that_is_anothers_by_now),
        LISTENER_TEST(test_listener_open_that_fails_says_so_and_leaves_nothing),
        LISTENER_TEST(test_listener_makes_a_socket_again_that_was_removed),
        LISTENER_TEST(test_listener_leaves_other_files_alone),
        LISTENER_TEST(test_listener_says_that_its_path_was_taken),
        LISTENER_TEST(test_listener_that_can_not_make_its_socket_again_says_so),
        LISTENER_TEST(test_listener_close_while_the_socket_is_being_made_again_ends),
        LISTENER_TEST(test_listener_open_without_a_watch_serves_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
