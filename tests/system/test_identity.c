/* SPDX-License-Identifier: MIT */
/*
 * test_identity.c - a client is a process: what the kernel says of it, and what it does not
 *
 * Needs root: pid namespaces, a /proc that hides processes, pids of the test's choice.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/system/walls.h"
#include "tests/wire/wire.h"

/* Numbers that no user of the machine has. */
#define STRANGER 54321
#define DAEMON_USER 54323

static void need_root(void)
{
    if (geteuid() != 0) {
        harness_skip("only root can make namespaces and become another user");
    }
    if (getgrnam("games") == NULL) {
        harness_skip("this machine has no group \"games\"");
    }
}

/* Allocates when it is told to, then releases all but the last when it is told again. */
static void hold_blocks(const void *argument)
{
    (void)argument;
    void *blocks[2];
    for (size_t i = 0; i < 2; i++) {
        blocks[i] = kmem_try_allocate(44, "held from afar");
        if (blocks[i] == NULL) {
            fail("%s", kmem_last_error());
        }
        client_say(i);
        client_await();
    }
    expect_equal(kmem_try_release(&blocks[0]), 0);
    client_say(2);
    client_await();
}

/* ---------------------------------------------------------------- another pid namespace ---- */

static void expect_unseen_client(const char *command)
{
    const struct client_row row = client_row_of(0);
    expect_true(row.found);
    expect_text(row.command, command);
    expect_true(row.connected);
}

/* The test is outside, the daemon inside: it has no number for any process of the test. */
static void test_client_outside_of_the_daemons_pid_namespace_is_served(void)
{
    int own_fd;
    need_root();
    const pid_t first = walls_own_pids(&own_fd);
    daemon_start(NULL, NULL);
    walls_former_pids(own_fd);

    struct client one = client_start(hold_blocks, NULL);
    struct client other = client_start(hold_blocks, NULL);
    client_hear(&one);
    client_hear(&other);
    expect_usage(88, 2);
    expect_equal(usage_take().clients, 2);
    expect_unseen_client("system_identity"); /* the machine's /proc knows it */
    daemon_kill_server();
    client_tell(&one, 1);
    expect_equal(client_hear(&one), 1); /* it has come back as itself */
    expect_usage(132, 3);
    expect_equal(usage_take().clients, 2);
    client_kill(&one);
    expect_soon(usage_take().blocks == 1, 5000); /* and no other's with it */
    expect_log_line("client \\? \\(system_identity, uid 0\\) ended");
    client_tell(&other, 1);
    expect_equal(client_hear(&other), 1);
    client_tell(&other, 1);
    expect_equal(client_hear(&other), 2);
    client_finish(&other);
    daemon_stop_balanced();
    expect_call(kill(first, SIGKILL) == 0);
    expect_call(waitpid(first, NULL, 0) == first);
}

/* --------------------------------------------------------------------------- hidepid= ---- */

static void daemon_start_secluded(const char *proc)
{
    char uid[16];
    const struct daemon_setting setting = {.program = harness_program("secluded")};
    (void)snprintf(uid, sizeof(uid), "%d", DAEMON_USER);
    expect_call(setenv("SECLUDED_PROGRAM", harness_program("kmemd"), 1) == 0);
    expect_call(setenv("SECLUDED_PROC", proc, 1) == 0);
    expect_call(setenv("SECLUDED_UID", uid, 1) == 0);
    expect_call(chown(harness_path("."), DAEMON_USER, DAEMON_USER) == 0);
    daemon_start_as(&setting, OPTIONS(NULL));
}

static void test_client_that_proc_hides_is_served_without_its_command(void)
{
    need_root();
    daemon_start_secluded("hidepid");
    struct client one = client_start(hold_blocks, NULL);
    struct client other = client_start(hold_blocks, NULL);
    client_hear(&one);
    client_hear(&other);
    const struct client_row row = client_row_of(one.pid);
    expect_true(row.found);
    expect_text(row.command, "?");
    daemon_kill_server();
    client_tell(&one, 1);
    expect_equal(client_hear(&one), 1);
    expect_equal(usage_take().clients, 2);
    client_kill(&one);
    expect_soon(usage_take().blocks == 1, 5000);
    expect_true(client_row_of(other.pid).found);
    client_kill(&other);
    daemon_stop_balanced();
}

/* -------------------------------------------------------------------------- reused pids ---- */

/* A child with a pid of our choice. Return: -1 if that is taken. */
static pid_t fork_as(pid_t wanted)
{
    struct clone_args arguments = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&wanted, .set_tid_size = 1};
    (void)fflush(NULL);
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

/* Another user, who may join. */
static void become_member(void)
{
    const struct group *const group = getgrnam("games");
    expect_call(group != NULL && setresgid(group->gr_gid, group->gr_gid, group->gr_gid) == 0);
    expect_call(setresuid(STRANGER, STRANGER, STRANGER) == 0);
}

/*
 * Connects, gives its socket to a child, which will speak in its name, and ends. Return: its pid;
 * what the child sees is written to `line`.
 */
static pid_t connect_and_end(int line, int gate)
{
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid > 0) {
        expect_call(waitpid(pid, NULL, 0) == pid);
        return pid;
    }
    become_member();
    const int fd = wire_connect();
    if (fork() > 0) {
        _exit(0);
    }
    char byte;
    uint32_t code = 0;
    (void)read(gate, &byte, 1);
    struct wire_descriptors with;
    Kmem__Response *const answer = wire_hello(fd, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER, &with);
    code = answer != NULL && answer->body_case == KMEM__RESPONSE__BODY_ERROR
               ? (uint32_t)answer->error->code
               : 1000;
    expect_call(write(line, &code, sizeof(code)) == sizeof(code));
    _exit(0);
}

/* The victim: it holds a block, and its connection is closed, as after an exec. */
static pid_t victim_start(pid_t wanted, int line, int gate)
{
    const pid_t pid = fork_as(wanted);
    if (pid != 0) {
        return pid;
    }
    char byte = 0;
    expect_equal(read(gate, &byte, 1), 1); /* until it may join */
    const int fd = wire_member();
    wire_allocate(fd, 700000, "of a victim");
    (void)close(fd);
    expect_equal(write(line, &byte, 1), 1);
    (void)pause();
    _exit(0);
}

static void test_reused_pid_of_another_users_process_ends_no_living_client(void)
{
    int said[2];
    int asked[2];
    int gate[2];
    int line[2];
    uint32_t code = 0;
    char byte = 1;
    pid_t victim = -1;
    need_root();
    daemon_start("--group", "games", "--watchdog", "0", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(pipe(said) == 0 && pipe(asked) == 0 && pipe(gate) == 0 && pipe(line) == 0);
    /* The server is away while the number changes hands. */
    daemon_signal_server(SIGSTOP);
    for (unsigned int i = 0; i < 100 && victim < 0; i++) {
        victim = victim_start(connect_and_end(said[1], asked[0]), line[1], gate[0]);
    }
    expect_true(victim > 0);
    daemon_signal_server(SIGCONT);
    expect_equal(write(gate[1], &byte, 1), 1);
    expect_equal(read(line[0], &byte, 1), 1);
    expect_usage(700000, 1);

    expect_equal(write(asked[1], &byte, 1), 1);
    expect_equal(read(said[0], &code, sizeof(code)), sizeof(code));

    expect_equal(code, KMEM__ERROR_CODE__ERROR_DENIED);
    expect_log_line("is refused: it ended after it had connected");
    expect_usage(700000, 1);
    expect_call(kill(victim, SIGKILL) == 0);
    expect_call(waitpid(victim, NULL, 0) == victim);
    for (size_t i = 0; i < 2; i++) {
        (void)close(said[i]);
        (void)close(asked[i]);
        (void)close(gate[i]);
        (void)close(line[i]);
    }
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_client_outside_of_the_daemons_pid_namespace_is_served, 20),
    SYSTEM_TEST(test_client_that_proc_hides_is_served_without_its_command, 20),
    SYSTEM_TEST(test_reused_pid_of_another_users_process_ends_no_living_client, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
