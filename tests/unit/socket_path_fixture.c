/* SPDX-License-Identifier: MIT */
#include "tests/unit/socket_path_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
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

#include "daemon/log.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"

FAIL_WRAP(int, mkdir, (const char *file, mode_t mode), (file, mode), -1)
FAIL_WRAP(int, chown, (const char *file, uid_t uid, gid_t gid), (file, uid, gid), -1)
FAIL_WRAP(int, chmod, (const char *file, mode_t mode), (file, mode), -1)
FAIL_WRAP(int, stat, (const char *file, struct stat *status), (file, status), -1)
FAIL_WRAP(int, lstat, (const char *file, struct stat *status), (file, status), -1)
FAIL_WRAP(int, fstat, (int fd, struct stat *status), (fd, status), -1)
FAIL_WRAP(int, unlink, (const char *file), (file), -1)
FAIL_WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
FAIL_WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t n_bytes),
          (fd, address, n_bytes), -1)
FAIL_WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1)
FAIL_WRAP(int, inotify_add_watch, (int fd, const char *file, uint32_t mask), (fd, file, mask), -1)

int __real_open(const char *file, int flags, ...);
int __wrap_open(const char *file, int flags, mode_t mode);
int __wrap_open(const char *file, int flags, mode_t mode)
{
    return fail_now("open") ? -1 : __real_open(file, flags, mode);
}

/* Between our opening and our locking it, a lock's last holder removes it and another makes one. */
const char *lock_to_vanish;

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

char top[64];       /* private to this test */
char directory[80]; /* of the socket */
char path[96];
char lock_path[112];
struct options options;
struct socket_path held;
int listener_fd;
unsigned n_fds;

int socket_path_setup(void **state)
{
    (void)state;
    (void)umask(022); /* what a test makes has the mode that it says */
    (void)snprintf(top, sizeof(top), "/tmp/kmem-path-XXXXXX");
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

int socket_path_teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(lock_path);
    (void)rmdir(directory);
    assert_int_equal(rmdir(top), 0);
    return 0;
}

struct stat status_of(const char *file)
{
    struct stat status;
    assert_int_equal(lstat(file, &status), 0);
    return status;
}

bool is_there(const char *file)
{
    return access(file, F_OK) == 0;
}

void file_make(const char *file, mode_t mode)
{
    const int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

/* Takes the path; whoever fails holds nothing afterwards. Return: what socket_path_take() did. */
int take(const char **ret_log)
{
    capture_begin();
    const int r = socket_path_take(&held, &options);
    *ret_log = capture_end();
    if (r && held.lock_fd >= 0) {
        assert_int_equal(close(held.lock_fd), 0);
    }
    return r;
}

/* Takes the path and listens. Return: 0 or a negative errno. */
int take_and_listen(const char **ret_log)
{
    int r = take(ret_log);
    if (r == 0) {
        capture_begin();
        listener_fd = socket_path_listen(&held);
        *ret_log = capture_end();
        r = listener_fd < 0 ? listener_fd : 0;
    }
    if (r && held.lock_fd >= 0) {
        (void)close(held.lock_fd); /* closed already if it was not taken */
    }
    return r;
}

void assert_words(const char *log, const char *words)
{
    if (strstr(log, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", log, words);
    }
}

void assert_refused(int wanted, const char *words)
{
    const char *log;
    assert_int_equal(take_and_listen(&log), wanted);
    assert_words(log, words);
}

void take_it(void)
{
    const char *log;
    assert_int_equal(take(&log), 0);
    assert_string_equal(log, "");
}

void open_it(void)
{
    const char *log;
    assert_int_equal(take_and_listen(&log), 0);
    assert_string_equal(log, "");
    assert_true(socket_path_watch(&held) >= 0);
}

void close_it(void)
{
    socket_path_release(&held);
    assert_int_equal(close(listener_fd), 0);
}

/* Return: a connection, or a negative errno. */
int try_connect(void)
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

void connect_once(void)
{
    const int fd = try_connect();
    assert_true(fd >= 0);
    const int accepted = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(accepted >= 0);
    assert_int_equal(close(accepted), 0);
    assert_int_equal(close(fd), 0);
}

bool something_happened(void)
{
    struct pollfd watch = {.fd = held.watch_fd, .events = POLLIN};
    return poll(&watch, 1, 0) == 1;
}
