/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/server/cgroup_unit.h"
#include "daemon/server/peer_identity.h"
#include "proto/text.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* What the kernel would say, where a test wants it otherwise. */
static struct {
    bool knows_no_pidfd; /* as before Linux 6.5 */
    bool has_no_pidfs;   /* as before Linux 6.9 */
    bool hides_proc;     /* hidepid=2, no /proc, or another pid namespace's */
    bool shows_no_pid;   /* of one in another pid namespace */
    uid_t connected_as;  /* the user at the connect(), if not 0 */
    const gid_t *groups;
    size_t n_groups;
} kernel;

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *n_bytes);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *n_bytes);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *n_bytes)
{
    if (fail_now("getsockopt")) {
        return -1;
    }
    if (name == SO_PEERPIDFD && kernel.knows_no_pidfd) {
        errno = ENOPROTOOPT;
        return -1;
    }
    if (name == SO_PEERGROUPS) {
        const socklen_t n_needed = (socklen_t)(kernel.n_groups * sizeof(gid_t));
        if (n_needed > *n_bytes) {
            errno = ERANGE;
            return -1;
        }
        for (size_t i = 0; i < kernel.n_groups; i++) {
            ((gid_t *)value)[i] = kernel.groups[i];
        }
        *n_bytes = n_needed;
        return 0;
    }
    const int r = __real_getsockopt(fd, level, name, value, n_bytes);
    if (name == SO_PEERCRED && r == 0) {
        struct ucred *peer = value;
        peer->pid = kernel.shows_no_pid ? 0 : peer->pid;
        peer->uid = kernel.connected_as != 0 ? kernel.connected_as : peer->uid;
    }
    return r;
}

int __real_fstatfs(int fd, struct statfs *system);
int __wrap_fstatfs(int fd, struct statfs *system);
int __wrap_fstatfs(int fd, struct statfs *system)
{
    const int r = __real_fstatfs(fd, system);
    system->f_type = kernel.has_no_pidfs ? 0x09041934 : system->f_type; /* anonymous inodes */
    return r;
}

FAIL_WRAP(ssize_t, read, (int fd, void *bytes, size_t n_bytes), (fd, bytes, n_bytes), -1)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    if (kernel.hides_proc) {
        errno = ENOENT;
        return -1;
    }
    return fail_now("open") ? -1 : __real_open(path, flags, mode);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long first, long second);
long __wrap_syscall(long number, long first, long second)
{
    return fail_now("syscall") ? -1 : __real_syscall(number, first, second);
}

/* Two connected ends, both of this process. */
static int ends[2];
static unsigned n_fds;

static int identity_setup(void **state)
{
    memset(&kernel, 0, sizeof(kernel));
    n_fds = count_fds();
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int identity_teardown(void **state)
{
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

static struct client_identity read_own(void)
{
    struct client_identity identity;
    int pidfd;
    assert_int_equal(peer_identity_read(ends[0], &identity, &pidfd), 0);
    assert_int_equal(close(pidfd), 0);
    return identity;
}

/* ------------------------------------------------------------------------------------ read ---- */

static void test_peer_identity_read_is_what_the_kernel_says(void **state)
{
    assert_int_equal(prctl(PR_SET_NAME, "the tester"), 0);

    const struct client_identity identity = read_own();

    assert_int_equal(identity.pid, getpid());
    assert_int_equal(identity.uid, getuid());
    assert_int_equal(identity.gid, getgid());
    assert_string_equal(identity.command, "the tester");
    assert_true(identity.start_time > 0);
    assert_true(identity.inode > 0);
}

static void test_peer_identity_read_of_what_proc_hides_is_unknown_and_served(void **state)
{
    const struct client_identity shown = read_own();
    kernel.hides_proc = true;

    const struct client_identity identity = read_own();

    assert_int_equal(identity.pid, getpid());
    assert_int_equal(identity.start_time, 0);
    assert_string_equal(identity.command, "?");
    assert_int_equal(identity.inode, shown.inode);
}

static void test_peer_identity_read_of_one_in_another_pid_namespace_is_by_its_pidfd(void **state)
{
    const struct client_identity shown = read_own();
    kernel.shows_no_pid = true;
    kernel.hides_proc = true;

    const struct client_identity identity = read_own();

    assert_int_equal(identity.pid, 0);
    assert_int_equal(identity.uid, getuid());
    assert_int_equal(identity.inode, shown.inode);
    assert_string_equal(identity.command, "?");
}

/* Whatever runs the test: the same as its file says. */
static void test_peer_identity_unit_is_that_of_its_control_group(void **state)
{
    const struct client_identity identity = read_own();
    char cgroup[4096] = "";
    char expected[UNIT_NAME_BYTES];
    char unit[UNIT_NAME_BYTES];
    FILE *file = fopen("/proc/self/cgroup", "re");
    assert_non_null(file);
    assert_true(fread(cgroup, 1, sizeof(cgroup) - 1, file) > 0);
    assert_int_equal(fclose(file), 0);
    cgroup_unit(cgroup, expected);

    peer_identity_unit(&identity, unit);

    assert_string_equal(unit, expected);
}

static void test_peer_identity_unit_of_what_is_not_shown_is_unknown(void **state)
{
    struct client_identity identity = read_own();
    char unit[UNIT_NAME_BYTES];
    identity.inode++; /* its number is another process's now */
    peer_identity_unit(&identity, unit);
    assert_string_equal(unit, "?");
    identity.inode--;
    identity.pid = 0;
    peer_identity_unit(&identity, unit);
    assert_string_equal(unit, "?");
    identity.pid = (uint32_t)getpid();
    kernel.hides_proc = true;
    peer_identity_unit(&identity, unit);
    assert_string_equal(unit, "?");
}

static void test_peer_identity_read_tells_processes_apart_by_their_inodes(void **state)
{
    const struct client_identity own = read_own();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    const int pidfd = (int)syscall(SYS_pidfd_open, child, 0);

    assert_true(peer_identity_inode_of(pidfd) != 0);
    assert_true(peer_identity_inode_of(pidfd) != own.inode);
    assert_int_equal(peer_identity_inode_of(ends[0]), 0); /* it is no pidfd */
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(close(pidfd), 0);
    kernel.has_no_pidfs = true;
    assert_int_equal(read_own().inode, 0);
}

static void test_peer_identity_read_finds_the_start_time_behind_any_command(void **state)
{
    assert_int_equal(prctl(PR_SET_NAME, "plain"), 0);
    const uint64_t start_time = read_own().start_time;
    const char *const commands[] = {"a b", "a) S 1 (", "))) 7 7 7 7 7", "", "(", "line\nfeed"};

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        assert_int_equal(prctl(PR_SET_NAME, commands[i]), 0);
        assert_int_equal(read_own().start_time, start_time);
    }
}

static void test_peer_identity_read_makes_any_command_utf8(void **state)
{
    const char *const commands[][2] = {
        {"\xff\xfe", "??"},
        {"fourteen bytes\xc3\xa4", "fourteen bytes?"}, /* the kernel keeps half of it */
        {"caf\xc3\xa9", "caf\xc3\xa9"},
        {"line\nfeed", "line"},
    };

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        assert_int_equal(prctl(PR_SET_NAME, commands[i][0]), 0);
        const struct client_identity identity = read_own();
        assert_string_equal(identity.command, commands[i][1]);
        assert_true(
            text_is_utf8((const unsigned char *)identity.command, strlen(identity.command)));
    }
}

static void test_peer_identity_read_of_what_is_no_unix_socket_fails(void **state)
{
    struct client_identity identity;
    const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
    int pidfd;

    assert_int_equal(peer_identity_read(file, &identity, &pidfd), -ENOTSOCK);
    assert_int_equal(peer_identity_read(-1, &identity, &pidfd), -EBADF);
    assert_int_equal(close(file), 0);
}

static void test_peer_identity_read_when_any_call_fails_says_so(void **state)
{
    const char *const calls[] = {"getsockopt", "open", "read"};
    struct client_identity identity;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (unsigned nth = 1; fail_again(calls[i], nth, EIO); nth++) {
            int pidfd = -1;
            const int r = peer_identity_read(ends[0], &identity, &pidfd);
            assert_int_equal(r, fail_end() ? -EIO : 0);
            assert_true(r != 0 || close(pidfd) == 0);
            assert_int_equal(count_fds(), n_fds + 2);
        }
    }
}

/* A connection whose other end's process has ended and was waited for. Return: our end. */
static int connection_of_a_dead_process(void)
{
    int pair[2];
    int hand_over[2];
    char control[CMSG_SPACE(sizeof(int))];
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, hand_over), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* Both ends are the child's, says the kernel; one is given to the parent. */
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
            _exit(1);
        }
        memcpy(CMSG_DATA(header), &pair[0], sizeof(int));
        _exit(sendmsg(hand_over[1], &message, 0) == 1 ? 0 : 1);
    }
    assert_int_equal(recvmsg(hand_over[0], &message, MSG_CMSG_CLOEXEC), 1);
    const struct cmsghdr *handed = CMSG_FIRSTHDR(&message);
    if (handed == NULL) {
        fail_msg("no descriptor came with the message");
        return -1;
    }
    memcpy(&pair[0], CMSG_DATA(handed), sizeof(int));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(close(hand_over[0]), 0);
    assert_int_equal(close(hand_over[1]), 0);
    return pair[0];
}

static void test_peer_identity_read_of_a_process_that_has_ended_says_so(void **state)
{
    struct client_identity identity;
    int pidfd;
    const int fd = connection_of_a_dead_process();

    assert_int_equal(peer_identity_read(fd, &identity, &pidfd), IDENTITY_E_ENDED);
    assert_int_equal(close(fd), 0);
}

/* ----------------------------------------------------------------------------------- pidfd ---- */

static void test_peer_identity_read_gives_the_pidfd_of_the_process_that_connected(void **state)
{
    for (int is_old = 0; is_old < 2; is_old++) {
        struct client_identity identity;
        int pidfd;
        kernel.knows_no_pidfd = is_old;

        assert_int_equal(peer_identity_read(ends[0], &identity, &pidfd), 0);

        assert_false(peer_identity_has_ended(pidfd));
        assert_int_equal(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(close(pidfd), 0);
    }
}

static void test_peer_identity_read_on_an_older_kernel_compares_the_user(void **state)
{
    struct client_identity identity;
    int pidfd;
    kernel.knows_no_pidfd = true;
    kernel.connected_as = 4711; /* the pid was another user's process when it connected */

    assert_int_equal(peer_identity_read(ends[0], &identity, &pidfd), IDENTITY_E_ENDED);
}

static void
test_peer_identity_read_on_an_older_kernel_without_proc_says_that_it_sees_nothing(void **state)
{
    struct client_identity identity;
    int pidfd;
    kernel.knows_no_pidfd = true;
    kernel.hides_proc = true;
    assert_int_equal(peer_identity_read(ends[0], &identity, &pidfd), IDENTITY_E_UNSEEN);
    assert_int_equal(identity.pid, getpid()); /* for the sentence that refuses it */
    kernel.hides_proc = false;
    kernel.shows_no_pid = true;
    assert_int_equal(peer_identity_read(ends[0], &identity, &pidfd), IDENTITY_E_UNSEEN);
}

static void test_peer_identity_read_on_an_older_kernel_when_any_call_fails_says_so(void **state)
{
    const char *const calls[] = {"syscall", "open", "read"};
    struct client_identity identity;
    kernel.knows_no_pidfd = true;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (unsigned nth = 1; fail_again(calls[i], nth, EMFILE); nth++) {
            int pidfd = -1;
            const int r = peer_identity_read(ends[0], &identity, &pidfd);
            assert_int_equal(r, fail_end() ? -EMFILE : 0);
            assert_true(r != 0 || close(pidfd) == 0);
            assert_int_equal(count_fds(), n_fds + 2);
        }
    }
}

static void test_peer_identity_open_compares_the_inode(void **state)
{
    struct client_identity identity = read_own();
    kernel.hides_proc = true;

    const int pidfd = peer_identity_open(&identity);
    assert_true(pidfd >= 0);
    assert_int_equal(close(pidfd), 0);
    identity.inode++; /* the pid is another process's by now */
    assert_int_equal(peer_identity_open(&identity), -ESRCH);
    identity.pid = 0;
    assert_int_equal(peer_identity_open(&identity), -EOPNOTSUPP);
}

static void test_peer_identity_open_compares_the_start_time(void **state)
{
    kernel.has_no_pidfs = true;
    struct client_identity identity = read_own();

    const int pidfd = peer_identity_open(&identity);
    assert_true(pidfd >= 0);
    assert_false(peer_identity_has_ended(pidfd));
    assert_int_equal(close(pidfd), 0);
    identity.start_time++;
    assert_int_equal(peer_identity_open(&identity), -ESRCH);
}

static void test_peer_identity_pid_of_is_that_of_the_process_until_it_is_waited_for(void **state)
{
    long pid = 0;
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(0);
    }
    const int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    assert_true(pidfd >= 0);

    assert_int_equal(peer_identity_pid_of(pidfd, &pid), 0);
    assert_int_equal(pid, child);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(peer_identity_pid_of(pidfd, &pid), 0);
    assert_int_equal(pid, -1);
    assert_int_equal(peer_identity_pid_of(ends[0], &pid), 0); /* it is nobody's */
    assert_int_equal(pid, 0);
    fail_nth("open", 1, EMFILE);
    assert_int_equal(peer_identity_pid_of(pidfd, &pid), -EMFILE);
    assert_true(fail_end());
    assert_int_equal(close(pidfd), 0);
}

/* ----------------------------------------------------------------------------------- roles ---- */

/* Of a daemon that group 42 are members of. */
static unsigned roles_as(uid_t uid, gid_t gid)
{
    const struct client_identity identity = {.uid = uid, .gid = gid};
    struct roles roles = {.owner_uid = 500};
    assert_int_equal(roles_add(&roles, ROLES_MEMBERS, (struct principal){true, 42}), 0);
    return peer_identity_roles(ends[0], &identity, &roles);
}

static void test_peer_identity_roles_are_those_of_the_user_and_of_all_its_groups(void **state)
{
    const gid_t groups[] = {7, 42, 9};
    assert_int_equal(roles_as(500, 100), ROLES_ALL);
    assert_int_equal(roles_as(501, 42), ROLE_MEMBER | ROLE_READER | ROLE_OBSERVER);
    assert_int_equal(roles_as(501, 100), 0);
    kernel.groups = groups;
    kernel.n_groups = 3;
    assert_int_equal(roles_as(501, 100), ROLE_MEMBER | ROLE_READER | ROLE_OBSERVER);
    kernel.n_groups = 1;
    assert_int_equal(roles_as(501, 100), 0);
}

static void test_peer_identity_roles_of_one_in_too_many_groups_or_none(void **state)
{
    static const gid_t groups[2000] = {42};
    assert_int_equal(roles_as(501, 100), 0);
    kernel.groups = groups;
    kernel.n_groups = 2000;
    assert_int_equal(roles_as(501, 100), 0);
    kernel.n_groups = 1024;
    assert_int_not_equal(roles_as(501, 100), 0);
    fail_nth("getsockopt", 1, ENOPROTOOPT); /* before Linux 4.13 */
    assert_int_equal(roles_as(501, 100), 0);
    assert_true(fail_end());
}

#define IDENTITY_TEST(test) cmocka_unit_test_setup_teardown(test, identity_setup, identity_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IDENTITY_TEST(test_peer_identity_read_is_what_the_kernel_says),
        IDENTITY_TEST(test_peer_identity_read_finds_the_start_time_behind_any_command),
        IDENTITY_TEST(test_peer_identity_read_makes_any_command_utf8),
        IDENTITY_TEST(test_peer_identity_unit_is_that_of_its_control_group),
        IDENTITY_TEST(test_peer_identity_unit_of_what_is_not_shown_is_unknown),
        IDENTITY_TEST(test_peer_identity_read_of_what_is_no_unix_socket_fails),
        IDENTITY_TEST(test_peer_identity_read_when_any_call_fails_says_so),
        IDENTITY_TEST(test_peer_identity_read_of_a_process_that_has_ended_says_so),
        IDENTITY_TEST(test_peer_identity_read_of_what_proc_hides_is_unknown_and_served),
        IDENTITY_TEST(test_peer_identity_read_of_one_in_another_pid_namespace_is_by_its_pidfd),
        IDENTITY_TEST(test_peer_identity_read_tells_processes_apart_by_their_inodes),
        IDENTITY_TEST(test_peer_identity_read_gives_the_pidfd_of_the_process_that_connected),
        IDENTITY_TEST(test_peer_identity_read_on_an_older_kernel_compares_the_user),
        IDENTITY_TEST(
            test_peer_identity_read_on_an_older_kernel_without_proc_says_that_it_sees_nothing),
        IDENTITY_TEST(test_peer_identity_read_on_an_older_kernel_when_any_call_fails_says_so),
        IDENTITY_TEST(test_peer_identity_open_compares_the_inode),
        IDENTITY_TEST(test_peer_identity_open_compares_the_start_time),
        IDENTITY_TEST(test_peer_identity_pid_of_is_that_of_the_process_until_it_is_waited_for),
        IDENTITY_TEST(test_peer_identity_roles_are_those_of_the_user_and_of_all_its_groups),
        IDENTITY_TEST(test_peer_identity_roles_of_one_in_too_many_groups_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
