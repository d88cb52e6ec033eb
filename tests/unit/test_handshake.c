/* SPDX-License-Identifier: MIT */
/*
 * Who serves a socket, whose its directory is and what connect() says are the kernel's to tell; the
 * tests put words into its mouth, so that they need neither root nor a second user.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/link/handshake.h"
#include "proto/ledger.h"
#include "proto/notice.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct conn conn;
static struct failure failure;
static struct welcome welcome;

/* What the kernel says instead of the truth; -1 and 0: the truth. */
static int64_t server_uid;
static int64_t directory_uid;
static int64_t my_uid;
static unsigned int directory_mode; /* in place of the access bits; 0: the truth */
static const char *mount_path;      /* what was mounted; NULL: nothing */
static int connect_errno;
static unsigned int n_connect_errors;
static int socket_errno;
static int getsockopt_errno;

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *n_bytes);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *n_bytes);
int __real_stat(const char *path, struct stat *status);
int __wrap_stat(const char *path, struct stat *status);
int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *status);
uid_t __real_geteuid(void);
uid_t __wrap_geteuid(void);
int __real_connect(int fd, const struct sockaddr *address, socklen_t n_bytes);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t n_bytes);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *n_bytes)
{
    int r = __real_getsockopt(fd, level, option, value, n_bytes);
    if (getsockopt_errno != 0) {
        errno = getsockopt_errno;
        return -1;
    }
    if (r == 0 && option == SO_PEERCRED && server_uid >= 0) {
        ((struct ucred *)value)->uid = (uid_t)server_uid;
    }
    return r;
}

int __wrap_stat(const char *path, struct stat *status)
{
    int r = __real_stat(path, status);
    if (r == 0 && directory_uid >= 0) {
        assert_string_equal(path, fake_daemon_directory());
        status->st_uid = (uid_t)directory_uid;
    }
    if (r == 0 && directory_mode != 0) {
        status->st_mode = S_IFDIR | directory_mode;
    }
    return r;
}

int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *status)
{
    (void)fd;
    (void)flags;
    (void)mask;
    const bool is_mount = mount_path != NULL && strcmp(path, mount_path) == 0;
    *status = (struct statx){.stx_attributes = is_mount ? STATX_ATTR_MOUNT_ROOT : 0};
    return 0;
}

uid_t __wrap_geteuid(void)
{
    return my_uid >= 0 ? (uid_t)my_uid : __real_geteuid();
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t n_bytes)
{
    if (n_connect_errors > 0) {
        n_connect_errors--;
        errno = connect_errno;
        return -1;
    }
    return __real_connect(fd, address, n_bytes);
}

int __wrap_socket(int domain, int type, int protocol)
{
    if (socket_errno != 0) {
        errno = socket_errno;
        return -1;
    }
    return __real_socket(domain, type, protocol);
}

static void tell_the_truth(void)
{
    server_uid = -1;
    directory_uid = -1;
    directory_mode = 0;
    mount_path = NULL;
    my_uid = -1;
    connect_errno = 0;
    n_connect_errors = 0;
    socket_errno = 0;
    getsockopt_errno = 0;
}

static void start(fake_hook hook)
{
    tell_the_truth();
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    memset(&failure, 0, sizeof(failure));
    memset(&conn, 0, sizeof(conn));
    welcome.segment_fd = 77;
    fake_daemon_start();
    fake_daemon_hook(hook);
}

static int hello(void)
{
    return kmem__handshake(&conn, NULL, KMEM__ROLE__ROLE_MEMBER, &welcome, &failure);
}

static void close_welcomed(void)
{
    (void)close(welcome.segment_fd);
    (void)close(welcome.ledger_fd);
    (void)close(welcome.clock_fd);
}

static void stop_welcomed(void)
{
    kmem__conn_close(&conn);
    close_welcomed();
    tell_the_truth();
    fake_daemon_stop();
}

/* Expects a refusal that leaves nothing open. */
static void assert_hello_fails(int error)
{
    assert_int_equal(hello(), -error);
    assert_int_equal(failure.error, error);
    assert_int_equal(conn.fd, -1);
    assert_int_equal(welcome.segment_fd, 77);
    tell_the_truth();
}

/* -------------------------------------------------------------------------------- welcomed ---- */

static void assert_handed_over(int fd, uint64_t num_bytes)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, num_bytes);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void test_hello_member_gets_segment_ledger_and_clock(void **state)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, FAKE_SEGMENT_BYTES >> PAGE_SHIFT);
    start(NULL);

    assert_int_equal(hello(), 0);

    assert_string_equal(welcome.segment_name, "fake");
    assert_int_equal(welcome.segment_bytes, FAKE_SEGMENT_BYTES);
    assert_handed_over(welcome.segment_fd, FAKE_SEGMENT_BYTES);
    assert_handed_over(welcome.ledger_fd, layout.total_bytes);
    assert_handed_over(welcome.clock_fd, NOTICE_BYTES);
    assert_true(fcntl(conn.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(conn.timeout_ms, 60000);
    stop_welcomed();
}

static void test_hello_observer_gets_no_descriptor(void **state)
{
    start(NULL);
    assert_int_equal(
        kmem__handshake(&conn, fake_daemon_path(), KMEM__ROLE__ROLE_OBSERVER, &welcome, &failure),
        0);
    assert_int_equal(welcome.segment_fd, -1);
    assert_int_equal(welcome.ledger_fd, -1);
    assert_int_equal(welcome.clock_fd, -1);
    stop_welcomed();
}

static void test_hello_interrupted_connect_goes_on(void **state)
{
    start(NULL);
    connect_errno = EINTR;
    n_connect_errors = 3;
    assert_int_equal(hello(), 0);
    assert_int_equal(n_connect_errors, 0);
    stop_welcomed();
}

/* ---------------------------------------------------------------------------- nobody there ---- */

static void test_hello_no_socket_is_ENOENT(void **state)
{
    start(NULL);
    assert_int_equal(
        kmem__handshake(&conn, "/nonexistent/x.sock", KMEM__ROLE__ROLE_MEMBER, &welcome, &failure),
        -ENOENT);
    assert_non_null(strstr(failure.sentence, "tried /nonexistent/x.sock (no such socket)"));
    assert_int_equal(
        kmem__handshake(&conn, "/dev/null/x.sock", KMEM__ROLE__ROLE_MEMBER, &welcome, &failure),
        -ENOENT);
    fake_daemon_stop();
}

static void test_hello_empty_path_is_ENOENT(void **state)
{
    start(NULL);
    assert_int_equal(kmem__handshake(&conn, "", KMEM__ROLE__ROLE_MEMBER, &welcome, &failure),
                     -ENOENT);
    fake_daemon_stop();
}

static void test_hello_stale_socket_is_ECONNREFUSED(void **state)
{
    start(NULL);
    fake_daemon_end();
    assert_hello_fails(ECONNREFUSED);
    assert_non_null(strstr(failure.sentence, "(nobody listens there)"));
    fake_daemon_stop();
}

static void test_hello_second_place_is_tried_if_the_first_is_empty(void **state)
{
    char runtime[64];
    start(NULL);
    (void)snprintf(runtime, sizeof(runtime), "%s", fake_daemon_directory());
    (void)unsetenv("KMEM_SOCKET");
    (void)setenv("XDG_RUNTIME_DIR", runtime, 1);
    (void)setenv("KMEM_SEGMENT", "no-daemon-has-this-name", 1);

    assert_hello_fails(ENOENT);

    assert_non_null(strstr(failure.sentence, "/kmemd/no-daemon-has-this-name.sock (no such socket) "
                                             "and /run/kmemd/no-daemon-has-this-name.sock"));
    (void)unsetenv("XDG_RUNTIME_DIR");
    (void)unsetenv("KMEM_SEGMENT");
    fake_daemon_stop();
}

static void test_hello_forbidden_socket_is_EACCES(void **state)
{
    start(NULL);
    connect_errno = EACCES;
    n_connect_errors = 1;
    assert_hello_fails(EACCES);
    assert_non_null(strstr(failure.sentence, "may not use that daemon"));
    fake_daemon_stop();
}

static void test_hello_forbidden_place_ends_the_search(void **state)
{
    start(NULL);
    (void)unsetenv("KMEM_SOCKET");
    (void)setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
    connect_errno = EACCES;
    n_connect_errors = 2;
    assert_int_equal(hello(), -EACCES);
    assert_int_equal(n_connect_errors, 1);
    (void)unsetenv("XDG_RUNTIME_DIR");
    fake_daemon_stop();
}

static void test_hello_full_backlog_is_ETIMEDOUT(void **state)
{
    start(NULL);
    connect_errno = EAGAIN;
    n_connect_errors = 1;
    assert_hello_fails(ETIMEDOUT);
    fake_daemon_stop();
}

static void test_hello_no_descriptors_left_is_EMFILE(void **state)
{
    start(NULL);
    socket_errno = EMFILE;
    assert_int_equal(hello(), -EMFILE);
    tell_the_truth();
    fake_daemon_stop();
}

static void test_hello_junk_in_KMEM_TIMEOUT_MS_is_EINVAL(void **state)
{
    start(NULL);
    (void)setenv("KMEM_TIMEOUT_MS", "soon", 1);
    assert_int_equal(hello(), -EINVAL);
    fake_daemon_stop();
}

/* ------------------------------------------------------------------------------- impostors ---- */

static unsigned int n_heard;

static bool count_requests(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    (void)request;
    n_heard++;
    return false;
}

static void test_hello_impostor_is_EPERM_and_told_nothing(void **state)
{
    start(count_requests);
    n_heard = 0;
    server_uid = 4711;
    my_uid = 1000;
    directory_uid = 1000;

    assert_hello_fails(EPERM);

    assert_non_null(strstr(failure.sentence, "served by uid 4711"));
    assert_null(strstr(failure.sentence, "mount"));
    fake_daemon_stop();
    assert_int_equal(n_heard, 0);
}

enum { NOT_MOUNTED, SOCKET_MOUNTED, DIRECTORY_MOUNTED };

static void assert_trusted_in(int mount, unsigned int mode, int64_t server, int64_t me,
                              int64_t directory, int r)
{
    start(NULL);
    const char *const mounts[] = {NULL, fake_daemon_path(), fake_daemon_directory()};
    server_uid = server;
    my_uid = me;
    directory_uid = directory;
    directory_mode = mode;
    mount_path = mounts[mount];
    assert_int_equal(hello(), r);
    if (r == 0) {
        close_welcomed();
    }
    kmem__conn_close(&conn);
    tell_the_truth();
    fake_daemon_stop();
}

static void assert_trusted(int64_t server, int64_t me, int64_t directory, int r)
{
    assert_trusted_in(NOT_MOUNTED, 0755, server, me, directory, r);
}

static void test_hello_trusts_root_this_user_and_the_directorys_owner(void **state)
{
    assert_trusted(0, 1000, 1000, 0);
    assert_trusted(1000, 1000, 0, 0);
    assert_trusted(999, 1000, 999, 0);
    assert_trusted(999, 1000, 0, -EPERM);
    assert_trusted(999, 0, 0, -EPERM);
}

static void test_hello_overflow_uid_proves_nothing(void **state)
{
    assert_trusted(65534, 1000, 65534, -EPERM);
    assert_trusted(65534, 1000, 0, -EPERM);
}

/* In a container, whose root or maker has mounted it. */
static void test_hello_trusts_a_server_without_a_number_here_that_was_mounted(void **state)
{
    assert_trusted_in(SOCKET_MOUNTED, 0755, 65534, 1000, 0, 0);
    assert_trusted_in(SOCKET_MOUNTED, 01777, 65534, 1000, 0, 0);
    assert_trusted_in(DIRECTORY_MOUNTED, 0750, 65534, 1000, 65534, 0);
    assert_trusted_in(SOCKET_MOUNTED, 0775, 65534, 1000, 0, -EPERM);
    assert_trusted_in(DIRECTORY_MOUNTED, 01777, 65534, 1000, 0, -EPERM);
    assert_trusted_in(DIRECTORY_MOUNTED, 0755, 65534, 1000, 77, -EPERM);
    assert_trusted_in(SOCKET_MOUNTED, 0755, 77, 1000, 0, -EPERM); /* it has a number */
}

static void test_hello_says_that_a_socket_was_mounted_alone(void **state)
{
    start(NULL);
    mount_path = fake_daemon_path();
    server_uid = 77;
    my_uid = 0;
    directory_uid = 0;

    assert_hello_fails(EPERM);

    assert_non_null(strstr(failure.sentence, "; mount its directory, not the socket alone"));
    fake_daemon_stop();
}

static void test_hello_server_that_can_not_be_told_is_an_error(void **state)
{
    start(NULL);
    getsockopt_errno = ENOPROTOOPT;
    assert_hello_fails(ENOPROTOOPT);
    fake_daemon_stop();
}

/* -------------------------------------------------------------------------------- refusals ---- */

static Kmem__ErrorCode refusal_code;
static unsigned int n_refusals_left;

static bool refuse(struct fake_peer *peer, const Kmem__Request *request)
{
    if (n_refusals_left == 0) {
        return false;
    }
    n_refusals_left--;
    fake_send_error(peer, request, refusal_code, "because");
    return true;
}

static void assert_refusal_is(Kmem__ErrorCode code, int error)
{
    start(refuse);
    refusal_code = code;
    n_refusals_left = 1;
    assert_hello_fails(error);
    assert_non_null(strstr(failure.sentence, "because"));
    fake_daemon_stop();
}

static void test_hello_refused_user_is_EACCES(void **state)
{
    assert_refusal_is(KMEM__ERROR_CODE__ERROR_DENIED, EACCES);
}

static void test_hello_too_many_clients_is_EUSERS(void **state)
{
    assert_refusal_is(KMEM__ERROR_CODE__ERROR_LIMIT, EUSERS);
}

static void test_hello_refused_version_is_EPROTONOSUPPORT(void **state)
{
    assert_refusal_is(KMEM__ERROR_CODE__ERROR_VERSION, EPROTONOSUPPORT);
}

static void test_hello_not_understood_is_EPROTO(void **state)
{
    assert_refusal_is(KMEM__ERROR_CODE__ERROR_PROTOCOL, EPROTO);
}

static void test_hello_busy_daemon_is_asked_again(void **state)
{
    start(refuse);
    refusal_code = KMEM__ERROR_CODE__ERROR_BUSY;
    n_refusals_left = 3;
    assert_int_equal(hello(), 0);
    assert_int_equal(n_refusals_left, 0);
    assert_int_equal(conn.timeout_ms, 60000); /* for each answer from now on, the whole time */
    stop_welcomed();
}

static void test_hello_busy_to_the_end_is_ETIMEDOUT(void **state)
{
    start(refuse);
    (void)setenv("KMEM_TIMEOUT_MS", "100", 1);
    refusal_code = KMEM__ERROR_CODE__ERROR_BUSY;
    n_refusals_left = 1000;
    assert_hello_fails(ETIMEDOUT);
    /* On a busy machine the last one is not answered in what is left of the time. */
    assert_true(strstr(failure.sentence, "because") != NULL ||
                strstr(failure.sentence, "did not answer") != NULL);
    assert_true(n_refusals_left > 900); /* it paused between them */
    fake_daemon_stop();
}

static bool stay_silent(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    (void)request;
    return true;
}

static void test_hello_silent_daemon_is_ETIMEDOUT(void **state)
{
    start(stay_silent);
    (void)setenv("KMEM_TIMEOUT_MS", "100", 1);
    assert_hello_fails(ETIMEDOUT);
    fake_daemon_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_member_gets_segment_ledger_and_clock),
        cmocka_unit_test(test_hello_observer_gets_no_descriptor),
        cmocka_unit_test(test_hello_interrupted_connect_goes_on),
        cmocka_unit_test(test_hello_no_socket_is_ENOENT),
        cmocka_unit_test(test_hello_empty_path_is_ENOENT),
        cmocka_unit_test(test_hello_stale_socket_is_ECONNREFUSED),
        cmocka_unit_test(test_hello_second_place_is_tried_if_the_first_is_empty),
        cmocka_unit_test(test_hello_forbidden_socket_is_EACCES),
        cmocka_unit_test(test_hello_forbidden_place_ends_the_search),
        cmocka_unit_test(test_hello_full_backlog_is_ETIMEDOUT),
        cmocka_unit_test(test_hello_no_descriptors_left_is_EMFILE),
        cmocka_unit_test(test_hello_junk_in_KMEM_TIMEOUT_MS_is_EINVAL),
        cmocka_unit_test(test_hello_impostor_is_EPERM_and_told_nothing),
        cmocka_unit_test(test_hello_trusts_root_this_user_and_the_directorys_owner),
        cmocka_unit_test(test_hello_overflow_uid_proves_nothing),
        cmocka_unit_test(test_hello_trusts_a_server_without_a_number_here_that_was_mounted),
        cmocka_unit_test(test_hello_says_that_a_socket_was_mounted_alone),
        cmocka_unit_test(test_hello_server_that_can_not_be_told_is_an_error),
        cmocka_unit_test(test_hello_refused_user_is_EACCES),
        cmocka_unit_test(test_hello_too_many_clients_is_EUSERS),
        cmocka_unit_test(test_hello_refused_version_is_EPROTONOSUPPORT),
        cmocka_unit_test(test_hello_not_understood_is_EPROTO),
        cmocka_unit_test(test_hello_busy_daemon_is_asked_again),
        cmocka_unit_test(test_hello_busy_to_the_end_is_ETIMEDOUT),
        cmocka_unit_test(test_hello_silent_daemon_is_ETIMEDOUT),
    };
    return cmocka_run_group_tests_name("hello", tests, NULL, NULL);
}
