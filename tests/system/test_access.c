/* SPDX-License-Identifier: MIT */
/*
 * test_access.c - who is let in, and who is taken for the daemon
 *
 * Needs root, to become somebody else. The test's directory is opened for everybody where the test
 * is about what happens behind the socket's own permissions.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"
#include "tests/wire/wire.h"

/* Numbers that no user of the machine has; nothing needs them to have a name. */
#define STRANGER 54321
#define OTHER_STRANGER 54322

/* Takes away what stands before the daemon's own check. */
static void open_the_way(void)
{
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(chmod(daemon_socket(), 0666) == 0);
}

/* ---------------------------------------------------------------------- who is let in ---- */

static void be_refused_by_the_directory(const void *argument)
{
    (void)argument;
    become(STRANGER, STRANGER);
    expect_equal(wire_try_connect(), -EACCES);
    expect_true(kmem_try_allocate(44, "stranger") == NULL);
    expect_equal(errno, EACCES);
    harness_note("\"%s\"", kmem_last_error());
}

static void test_stranger_can_not_connect(void)
{
    need_root();
    daemon_start(NULL, NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    client_run(be_refused_by_the_directory, NULL);
    daemon_stop_balanced();
}

static void be_kept_out_of_the_directory(const void *argument)
{
    become(STRANGER, STRANGER);
    expect_call(setenv("KMEM_SOCKET", argument, 1) == 0);
    expect_true(kmem_try_allocate(44, "stranger") == NULL);
    expect_equal(errno, EACCES);
    expect_match(kmem_last_error(), "it can not be told whether there is such a segment");
    expect_true(!harness_matches(kmem_last_error(), "may not use that daemon"));
}

/* Nothing is there, and nothing that could have refused: the sentence does not say so. */
static void test_stranger_is_not_told_of_a_segment_that_may_not_exist(void)
{
    need_root();
    expect_call(mkdir(harness_path("hidden"), 0700) == 0);
    expect_call(chmod(harness_path("."), 0711) == 0);
    char *socket_path = strdup(harness_path("hidden/none.sock"));
    expect_call(socket_path != NULL);
    client_run(be_kept_out_of_the_directory, socket_path);
    free(socket_path);
}

static void be_refused_by_the_daemon(const void *argument)
{
    (void)argument;
    become(STRANGER, STRANGER);
    const int fd = wire_connect();
    char byte[1];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = 0}};
    struct iovec part = {byte, sizeof(byte)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    wire_send_bytes(fd, "\x08\0\0\0\x12\x06\x08\x80\x80\x04\x10\x01", 12); /* Hello as a member */
    while (recvmsg(fd, &message, 0) > 0) { /* an error may be said; then it ends */
        expect_true(CMSG_FIRSTHDR(&message) == NULL);
    }
    (void)close(fd);
    expect_true(kmem_try_allocate(44, "stranger") == NULL);
    expect_equal(errno, EACCES);
    harness_note("\"%s\"", kmem_last_error());
}

static void test_stranger_who_reaches_the_socket_gets_no_descriptor(void)
{
    need_root();
    daemon_start(NULL, NULL);
    open_the_way();
    client_run(be_refused_by_the_daemon, NULL);
    expect_log_line("user 54321");
    expect_equal(usage_take().clients_seen, 0);
    daemon_stop_balanced();
}

static void knock_1000_times(const void *argument)
{
    (void)argument;
    become(STRANGER, STRANGER);
    for (unsigned int i = 0; i < 1000; i++) {
        (void)close(wire_connect());
    }
}

static unsigned int count_lines(const char *text, const char *word)
{
    unsigned int n_lines = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        n_lines++;
    }
    return n_lines;
}

/* Five lines a second, and a busy machine needs some seconds for a thousand of them. */
#define KNOCK_LINES_MAX 500

static void test_stranger_can_not_fill_the_log(void)
{
    need_root();
    daemon_start(NULL, NULL);
    open_the_way();
    client_run(knock_1000_times, NULL);
    expect_balanced();
    expect_at_least(count_lines(daemon_log(), "user 54321"), 1);
    expect_at_most(count_lines(daemon_log(), "user 54321"), KNOCK_LINES_MAX);
    daemon_stop();
}

static void join_through_the_group(const void *argument)
{
    become(STRANGER, *(const gid_t *)argument);
    void *block = kmem_try_allocate(44, "member of the group");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    client_pause();
    expect_equal(kmem_try_release(&block), 0);
}

static void be_refused_without_the_group(const void *argument)
{
    (void)argument;
    become(OTHER_STRANGER, OTHER_STRANGER);
    expect_equal(wire_try_connect(), -EACCES);
}

static void test_group_may_join_and_nobody_else(void)
{
    need_root();
    const struct group *const group = getgrnam("games");
    if (group == NULL) {
        harness_skip("this machine has no group \"games\"");
    }
    struct stat status;
    const gid_t gid = group->gr_gid;
    daemon_start("--group", "games", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(stat(daemon_socket(), &status) == 0);
    expect_equal(status.st_gid, gid);
    expect_equal(status.st_mode & 0777, 0660);
    struct client member = client_begin(join_through_the_group, &gid);
    expect_equal(client_row_of(member.pid).uid, STRANGER);
    client_run(be_refused_without_the_group, NULL);
    client_finish(&member);
    daemon_stop_balanced();
}

static void reopen_the_segment(const void *argument)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)daemon_pid());
    become(STRANGER, *(const gid_t *)argument);
    expect_true(access(path, R_OK) == -1);
}

static void test_member_of_another_user_can_not_look_into_the_daemon(void)
{
    need_root();
    const gid_t gid = STRANGER;
    daemon_start(NULL, NULL);
    client_run(reopen_the_segment, &gid);
    daemon_stop_balanced();
}

/* The daemon runs as STRANGER, and so does one of its members. */
static void daemon_start_as_stranger(const char *option)
{
    const struct daemon_setting setting = {.program = harness_program("secluded")};
    expect_call(setenv("SECLUDED_PROGRAM", harness_program("kmemd"), 1) == 0);
    expect_call(setenv("SECLUDED_UID", "54321", 1) == 0);
    expect_call(chown(harness_path("."), STRANGER, STRANGER) == 0);
    daemon_start_as(&setting, OPTIONS(option));
}

/* Return: whether anything of a process could be opened. */
static bool can_open_files_of(pid_t pid)
{
    char path[64];
    bool can = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    const int memory_fd = open(path, O_RDWR | O_CLOEXEC);
    can = can || memory_fd >= 0;
    for (int number = 0; number < 64; number++) {
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, number);
        can = can || open(path, O_RDWR | O_CLOEXEC) >= 0;
    }
    return can;
}

static void look_into_the_daemon(const void *argument)
{
    const bool *const wanted = argument;
    const pid_t keeper = daemon_pid();
    const pid_t server = daemon_server_pid();
    become(STRANGER, STRANGER);
    expect_call(kmem_try_allocate(44, "a member") != NULL);
    expect_equal(can_open_files_of(keeper), *wanted);
    expect_equal(can_open_files_of(server), *wanted);
}

static void test_member_of_the_daemons_own_user_can_not_open_its_files(void)
{
    const bool wanted = false;
    need_root();
    daemon_start_as_stranger(NULL);
    client_run(look_into_the_daemon, &wanted);
    daemon_kill_server();
    client_run(look_into_the_daemon, &wanted);
    daemon_stop_balanced();
}

static void test_debuggable_daemon_lets_its_own_user_look(void)
{
    const bool wanted = true;
    need_root();
    daemon_start_as_stranger("--debuggable");
    client_run(look_into_the_daemon, &wanted);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------- who is no daemon ---- */

/* Listens at $KMEM_SOCKET as somebody else and says how many bytes it was told. */
static void be_an_impostor(const void *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char told[4096];
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", (const char *)argument);
    become(STRANGER, STRANGER);
    const int listening_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    expect_call(bind(listening_fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    expect_call(chmod(address.sun_path, 0666) == 0);
    expect_call(listen(listening_fd, 8) == 0);
    client_say(1);
    const int fd = accept(listening_fd, NULL, NULL);
    expect_call(fd >= 0);
    const ssize_t n_bytes = recv(fd, told, sizeof(told), 0);
    client_say(n_bytes > 0 ? (uint64_t)n_bytes : 0);
    (void)close(fd);
    (void)close(listening_fd);
}

static void call_an_impostor(const void *argument)
{
    (void)setenv("KMEM_SOCKET", argument, 1);
    expect_true(kmem_try_allocate(44, "a secret reason") == NULL);
    expect_equal(errno, EPERM);
    harness_note("\"%s\"", kmem_last_error());
    expect_match(kmem_last_error(), "uid 54321");
    expect_match(kmem_last_error(), argument);
    expect_equal(kmem_close(), 0);
}

static void test_impostor_is_refused_before_it_is_told_anything(void)
{
    need_root();
    const char *const directory = harness_path("open");
    const char *const path = harness_path("open/false.sock");
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(mkdir(directory, 0777) == 0 && chmod(directory, 01777) == 0);
    struct client impostor = client_begin(be_an_impostor, path);
    client_run(call_an_impostor, path);
    expect_equal(client_hear(&impostor), 0);
    client_end(&impostor);
}

/* ------------------------------------------------------------------- whose directory ---- */

static void expect_refused_directory(const char *directory, const char *pattern)
{
    char path[128];
    const struct daemon_setting setting = {.max_fds = 0};
    (void)snprintf(path, sizeof(path), "%s/x.sock", directory);
    const struct daemon_end end = daemon_try(&setting, OPTIONS("--size", "1M", "--socket", path));
    expect_equal(end.exit_status, 77);
    expect_match(end.log, pattern);
    expect_equal(access(path, F_OK), -1);
}

static void test_directory_in_which_others_can_replace_the_socket_is_refused(void)
{
    const char *const directory = harness_path("shared");
    need_root();
    expect_call(mkdir(directory, 0770) == 0 && chmod(directory, 0770) == 0);
    expect_refused_directory(directory, "everybody in its group may replace files in .*chmod g-w");
    expect_call(chmod(directory, 0755) == 0 && chown(directory, STRANGER, STRANGER) == 0);
    expect_refused_directory(directory, "is user 54321's, who may replace files in it");
}

static void be_warned(const void *pattern)
{
    expect_true(kmem_try_allocate(44, "a secret reason") == NULL);
    expect_equal(errno, EPERM);
    expect_match(kmem_last_error(), pattern);
}

static void test_client_does_not_trust_a_directory_in_which_others_can_replace_the_socket(void)
{
    need_root();
    daemon_start(NULL, NULL);
    expect_call(chmod(harness_path("."), 0770) == 0);
    client_run(be_warned, "others than its owner may replace files in the directory");
    expect_call(chmod(harness_path("."), 0700) == 0);
    expect_call(chown(harness_path("."), STRANGER, STRANGER) == 0);
    client_run(be_warned, "the directory of .* is uid 54321's");
    expect_call(chown(harness_path("."), 0, 0) == 0);
    expect_equal(usage_take().clients_seen, 0);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_stranger_can_not_connect, 10),
    SYSTEM_TEST(test_stranger_is_not_told_of_a_segment_that_may_not_exist, 10),
    SYSTEM_TEST(test_stranger_who_reaches_the_socket_gets_no_descriptor, 10),
    SYSTEM_TEST(test_stranger_can_not_fill_the_log, 20),
    SYSTEM_TEST(test_group_may_join_and_nobody_else, 10),
    SYSTEM_TEST(test_member_of_another_user_can_not_look_into_the_daemon, 10),
    SYSTEM_TEST(test_impostor_is_refused_before_it_is_told_anything, 10),
    SYSTEM_TEST(test_member_of_the_daemons_own_user_can_not_open_its_files, 10),
    SYSTEM_TEST(test_debuggable_daemon_lets_its_own_user_look, 10),
    SYSTEM_TEST(test_directory_in_which_others_can_replace_the_socket_is_refused, 10),
    SYSTEM_TEST(test_client_does_not_trust_a_directory_in_which_others_can_replace_the_socket, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
