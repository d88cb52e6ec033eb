/* SPDX-License-Identifier: MIT */
/*
 * test_cradle.c - daemons that are born in strange circumstances, and what becomes of their path
 *
 * Each start works, or ends with one sentence and a documented status. Other tests are run once
 * more in a cradle of all kinds: CMakeLists.txt.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/cradle.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/system/walls.h"
#include "tests/wire/wire.h"

#define STRANGER 54321
/* Its processes are counted: no other test, which may run beside this one, has any. */
#define LONELY 54390
#define GROUP 4242
#define DIRECT_BYTES 100000
#define N_DIRECT 100 /* most of the segment: a stray write would hit one */

static const struct daemon_setting as_usual = {.max_fds = 0};

/* --------------------------------------------------------------------------- each cradle ---- */

static void expect_pattern(const unsigned char *block, unsigned char pattern)
{
    for (size_t at = 0; at < DIRECT_BYTES; at++) {
        expect_equal(block[at], pattern);
    }
}

/* Most of the segment; told so, it looks whether all is as it was, and asks for more. */
static void hold_a_pattern(const void *argument)
{
    static unsigned char *blocks[N_DIRECT];
    (void)argument;
    for (unsigned int i = 0; i < N_DIRECT; i++) {
        blocks[i] = kmem_try_allocate(DIRECT_BYTES, "pattern");
        if (blocks[i] == NULL) {
            fail("%s", kmem_last_error());
        }
        memset(blocks[i], (int)i + 1, DIRECT_BYTES);
    }
    client_say(1);
    while (client_await() != 0) {
        void *more = kmem_try_allocate(44, "more");
        if (more == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_equal(kmem_try_release(&more), 0);
        for (unsigned int i = 0; i < N_DIRECT; i++) {
            expect_pattern(blocks[i], (unsigned char)(i + 1));
        }
        client_say(1);
    }
    for (unsigned int i = 0; i < N_DIRECT; i++) {
        expect_equal(kmem_try_release((void **)&blocks[i]), 0);
    }
}

static void expect_pattern_held(const struct client *client)
{
    client_resume(client);
}

/* None of a process's first three descriptors is a file of the segment's. */
static void expect_standard_descriptors(pid_t pid)
{
    for (int fd = 0; fd < 3; fd++) {
        char path[64];
        char target[256] = "";
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
        expect_call(readlink(path, target, sizeof(target) - 1) > 0);
        expect_true(strstr(target, "kmemd:") == NULL && strstr(target, "socket:") == NULL);
    }
}

static void start_in(const char *cradle)
{
    const struct daemon_setting setting = {.cradle = cradle};
    daemon_start_as(&setting, OPTIONS("--log-level", "debug"));
}

/* Start, allocate, kill the server, upgrade, end. */
static void live_in(const char *cradle)
{
    start_in(cradle);
    expect_standard_descriptors(daemon_pid());
    expect_standard_descriptors(daemon_server_pid());
    struct client client = client_begin(hold_a_pattern, NULL);
    expect_pattern_held(&client);
    daemon_kill_server();
    expect_pattern_held(&client);
    expect_standard_descriptors(daemon_server_pid());
    const pid_t former = daemon_server_pid();
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    pid_t next = 0;
    expect_soon((next = daemon_server_pid()) > 0 && next != former, 20000);
    expect_pattern_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 5000);
    expect_usage(0, 0);
    daemon_stop();
}

static void test_a_daemon_whose_standard_input_is_closed_lives(void)
{
    live_in("closed");
}

static void test_a_daemon_whose_standard_descriptors_are_closed_lives(void)
{
    live_in("mute");
}

static void test_a_daemon_for_whom_all_signals_are_ignored_lives(void)
{
    live_in("ignored");
}

static void test_a_daemon_for_whom_all_signals_are_blocked_lives(void)
{
    live_in("blocked");
}

static void test_a_daemon_with_an_umask_that_allows_nothing_lives(void)
{
    live_in("umask");
}

static void test_a_daemon_with_low_soft_limits_lives(void)
{
    live_in("limits");
}

static void test_a_daemon_in_all_cradles_at_once_lives(void)
{
    live_in("mute,ignored,blocked,umask,limits");
}

static void test_an_alarm_of_the_starter_does_not_end_it(void)
{
    start_in("timer");
    struct client client = client_begin(hold_a_pattern, NULL);
    harness_sleep_ms(CRADLE_ALARM_S * 1000 + 200); /* it has gone off */
    expect_pattern_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    daemon_stop();
}

/* ---------------------------------------------------------------------- hard limits ---- */

/* What root could raise again. */
static void give_up_raising(void)
{
    expect_call(prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) == 0);
}

static void lower_hard(__rlimit_resource_t resource, rlim_t hard)
{
    const struct rlimit limit = {hard, hard};
    expect_call(setrlimit(resource, &limit) == 0);
    give_up_raising();
}

static void lower_file_size(void)
{
    lower_hard(RLIMIT_FSIZE, 56 << 20); /* the smallest segment takes 53 */
}

static void lower_stack(void)
{
    lower_hard(RLIMIT_STACK, UINT64_C(140) * 1024);
}

static void lower_descriptors(void)
{
    lower_hard(RLIMIT_NOFILE, 20);
}

static void lower_address_space(void)
{
    lower_hard(RLIMIT_AS, (rlim_t)80 << 20);
}

static void lower_processor_time(void)
{
    lower_hard(RLIMIT_CPU, 10);
}

/* Of a user who has no process yet: not even the one that takes the memory can be made. */
static void lower_processes(void)
{
    const struct rlimit limit = {1, 1};
    expect_call(setrlimit(RLIMIT_NPROC, &limit) == 0);
    expect_call(setgroups(0, NULL) == 0);
    expect_call(setresgid(LONELY, LONELY, LONELY) == 0);
    expect_call(setresuid(LONELY, LONELY, LONELY) == 0);
}

static struct daemon_end try_with(void (*prepare)(void), const char *size, const char *socket)
{
    const struct daemon_setting setting = {.prepare = prepare};
    return daemon_try(&setting, OPTIONS("--name", "test", "--size", size, "--socket", socket));
}

static void expect_refused(void (*prepare)(void), const char *sentence)
{
    const struct daemon_end end = try_with(prepare, "64MiB", harness_path("test.sock"));
    expect_equal(end.exit_status, 71);
    expect_match(end.log, sentence);
    expect_equal(access(harness_path("test.sock.lock"), F_OK), -1);
    expect_equal(access(harness_path("test.sock"), F_OK), -1);
}

static void test_a_file_size_limit_that_is_too_low_is_71_and_says_what_is_needed(void)
{
    expect_refused(lower_file_size,
                   "RLIMIT_FSIZE is 56\\.0 MiB, and the segment's largest file has "
                   "[0-9.]+ MiB; raise it");
    /* What fits, goes. */
    expect_equal(try_with(lower_file_size, "1MiB", harness_path("test.sock")).exit_status, 0);
}

static void test_a_stack_limit_that_is_too_low_is_71_and_says_what_is_needed(void)
{
    expect_refused(lower_stack, "RLIMIT_STACK is 140\\.0 KiB, and 256\\.0 KiB are needed");
}

static void test_a_descriptor_limit_that_is_too_low_is_71_and_says_what_is_needed(void)
{
    expect_refused(lower_descriptors, "RLIMIT_NOFILE is too low: [0-9]+ descriptors are needed");
}

/* It has room for the program, and not for the state of the largest segment. */
static void test_an_address_space_limit_that_is_too_low_is_71_and_is_named(void)
{
    if (HARNESS_SANITIZED) {
        harness_note("a sanitizer can not be started with so little");
        return;
    }
    const struct daemon_setting setting = {.prepare = lower_address_space};
    const struct daemon_end end =
        daemon_try(&setting, OPTIONS("--size", "64GiB", "--commit", "lazy", "--socket",
                                     harness_path("test.sock")));
    expect_equal(end.exit_status, 71);
    expect_match(end.log, "cannot start: Cannot allocate memory \\(RLIMIT_AS is 80\\.0 MiB\\)");
}

static void test_a_processor_time_limit_is_warned_of_and_is_no_reason_not_to_start(void)
{
    const struct daemon_end end =
        try_with(lower_processor_time, "16MiB", harness_path("test.sock"));
    expect_equal(end.exit_status, 0);
    expect_match(end.log, "RLIMIT_CPU is 10 s");
}

static void test_a_process_limit_that_is_too_low_is_71_and_is_named(void)
{
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(mkdir(harness_path("others"), 0755) == 0);
    expect_call(chown(harness_path("others"), LONELY, LONELY) == 0);
    expect_call(setenv("ASAN_OPTIONS", "detect_leaks=0", 1) == 0); /* it takes a process */
    const struct daemon_end end = try_with(lower_processes, "16MiB", harness_path("others/s"));
    expect_equal(end.exit_status, 71);
    expect_match(end.log, "cannot commit 16\\.0 MiB: .* \\(RLIMIT_NPROC is 1\\)");
    expect_equal(access(harness_path("others/s.lock"), F_OK), -1);
}

/* ------------------------------------------------------------------- groups, and /proc ---- */

static void allow_nobody(void)
{
    (void)umask(077);
}

static void join_as_a_member_of_the_group(const void *argument)
{
    const gid_t group = GROUP;
    (void)argument;
    expect_call(setgroups(1, &group) == 0);
    expect_call(setresgid(STRANGER, STRANGER, STRANGER) == 0);
    expect_call(setresuid(STRANGER, STRANGER, STRANGER) == 0);
    void *block = kmem_try_allocate(44, "member");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    expect_equal(kmem_try_release(&block), 0);
}

static void test_a_group_by_number_is_let_in_whatever_the_umask(void)
{
    const struct daemon_setting setting = {.prepare = allow_nobody,
                                           .socket = harness_path("d/test.sock")};
    expect_call(chmod(harness_path("."), 0711) == 0);
    daemon_start_as(&setting, OPTIONS("--group", "4242"));
    client_run(join_as_a_member_of_the_group, NULL);
    daemon_stop_balanced();
}

static void test_a_group_that_is_neither_a_name_nor_a_number_is_64(void)
{
    static const char *const wrong[] = {"no-such-group", "42x", "-1", "4294967295", "9999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct daemon_end end = daemon_try(
            &as_usual, OPTIONS("--group", wrong[i], "--socket", harness_path("test.sock")));
        expect_equal(end.exit_status, 64);
        expect_match(end.log, "there is no group");
    }
}

static void hide_proc(void)
{
    expect_call(walls_own_mounts() == 0);
    expect_call(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
}

static void test_without_proc_it_is_71_and_says_so(void)
{
    if (HARNESS_SANITIZED) {
        harness_note("a sanitizer can not be started without /proc");
        return;
    }
    expect_refused(hide_proc, "/proc is not mounted here");
}

/* -------------------------------------------------------------------------------- its path ---- */

static void use_44_bytes(const void *argument)
{
    (void)argument;
    void *block = kmem_try_allocate(44, "used");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    expect_equal(kmem_try_release(&block), 0);
}

static void expect_second_is_refused(void)
{
    const struct daemon_end second = daemon_try(
        &as_usual, OPTIONS("--name", "second", "--size", "1M", "--socket", daemon_socket()));
    expect_equal(second.exit_status, 73);
}

static void test_a_lock_that_was_removed_lets_no_second_daemon_in_and_is_made_again(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(hold_a_pattern, NULL);
    expect_call(kill(daemon_pid(), SIGSTOP) == 0); /* it can not make it again */
    expect_call(unlink(harness_path("test.sock.lock")) == 0);
    expect_second_is_refused();
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_soon(access(harness_path("test.sock.lock"), F_OK) == 0, 5000);
    expect_second_is_refused();
    expect_pattern_held(&client);
    client_run(use_44_bytes, NULL);
    client_tell(&client, 0);
    client_end(&client);
    daemon_stop_balanced();
    expect_equal(access(harness_path("test.sock.lock"), F_OK), -1);
}

static void start_in_a_directory(void)
{
    const struct daemon_setting setting = {.socket = harness_path("d/test.sock")};
    daemon_start_as(&setting, OPTIONS(NULL));
}

/* The keeper makes again what is removed one by one: it stands still until it is continued. */
static void remove_the_directory(void)
{
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    expect_call(unlink(harness_path("d/test.sock")) == 0);
    expect_call(unlink(harness_path("d/test.sock.lock")) == 0);
    expect_call(rmdir(harness_path("d")) == 0);
}

static void test_sighup_finds_a_directory_that_was_removed_and_made_again(void)
{
    start_in_a_directory();
    struct client client = client_begin(hold_a_pattern, NULL);
    remove_the_directory();
    expect_call(mkdir(harness_path("d"), 0750) == 0);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_soon(access(harness_path("d/test.sock"), F_OK) == 0, 5000);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 20000);
    client_run(use_44_bytes, NULL);
    expect_pattern_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    daemon_stop_balanced();
}

static void test_a_directory_that_was_removed_is_made_again_by_itself(void)
{
    start_in_a_directory();
    remove_the_directory();
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_soon(access(harness_path("d/test.sock"), F_OK) == 0, 30000);
    client_run(use_44_bytes, NULL);
    daemon_stop_balanced();
}

static void become_a_stranger(void)
{
    expect_call(setgroups(0, NULL) == 0);
    expect_call(setresgid(STRANGER, STRANGER, STRANGER) == 0);
    expect_call(setresuid(STRANGER, STRANGER, STRANGER) == 0);
}

/* In a directory like /tmp one user's leftovers are in another's way. */
static void test_a_start_that_fails_leaves_no_lock_in_anothers_way(void)
{
    expect_call(mkdir(harness_path("sticky"), 01777) == 0);
    expect_call(chmod(harness_path("sticky"), 01777) == 0);
    expect_call(chmod(harness_path("."), 0711) == 0);
    const char *const path = harness_path("sticky/s");
    const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)close(fd);
    expect_equal(try_with(NULL, "1M", path).exit_status, 73);
    expect_equal(access(harness_path("sticky/s.lock"), F_OK), -1);
    expect_call(unlink(path) == 0);
    expect_equal(try_with(become_a_stranger, "1M", path).exit_status, 0);
}

static void test_anothers_lock_is_77_and_is_said_to_be_anothers(void)
{
    expect_call(mkdir(harness_path("sticky"), 01777) == 0);
    expect_call(chmod(harness_path("sticky"), 01777) == 0);
    expect_call(chmod(harness_path("."), 0711) == 0);
    const int fd = open(harness_path("sticky/s.lock"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)close(fd);
    const struct daemon_end end = try_with(become_a_stranger, "1M", harness_path("sticky/s"));
    expect_equal(end.exit_status, 77);
    expect_match(end.log, "it is user 0's, whose kmemd runs or was killed; remove it");
}

/* ------------------------------------------------------------------------------ its end ---- */

static void test_sigterm_just_after_the_servers_death_is_0(void)
{
    for (unsigned int i = 0; i < 5; i++) {
        daemon_start(NULL, NULL);
        const pid_t server = daemon_server_pid();
        expect_call(kill(daemon_pid(), SIGSTOP) == 0); /* so that both come at once */
        expect_call(kill(server, SIGKILL) == 0);
        expect_call(kill(daemon_pid(), SIGTERM) == 0);
        expect_call(kill(daemon_pid(), SIGCONT) == 0);
        daemon_stop();
    }
}

static void test_sigterm_with_a_server_that_is_stopped_is_0(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_begin(hold_a_pattern, NULL);
    daemon_signal_server(SIGSTOP);
    daemon_stop(); /* wants 0 within five seconds */
    expect_log_line("the last server was killed");
    client_kill(&client);
}

static void test_sigterm_in_safe_mode_is_0(void)
{
    daemon_start(NULL, NULL);
    daemon_crash_on_and_on();
    daemon_stop();
}

/* The socket is there before the memory is. */
static void test_sigterm_while_the_memory_is_taken_is_0_and_leaves_nothing(void)
{
    const char *const arguments[] = {"kmemd", "--size", "1GiB", "--socket", NULL, NULL};
    const char *argv[6];
    memcpy(argv, arguments, sizeof(argv));
    argv[4] = harness_path("test.sock");
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        (void)execv(harness_program("kmemd"), (char *const *)argv);
        _exit(127);
    }
    expect_soon(access(argv[4], F_OK) == 0, 20000);
    expect_call(kill(pid, SIGTERM) == 0);
    int status = -1;
    expect_call(waitpid(pid, &status, 0) == pid);
    expect_equal(status, 0);
    expect_equal(access(argv[4], F_OK), -1);
    expect_equal(access(harness_path("test.sock.lock"), F_OK), -1);
}

/* ------------------------------------------------------------------ clients likewise ---- */

/* A program that has closed its standard descriptors, and prints all the same. */
static void print_into_nothing(const void *argument)
{
    static const char line[] = "this line belongs on no block\n";
    (void)argument;
    for (int fd = 0; fd < 3; fd++) {
        expect_call(close(fd) == 0);
    }
    unsigned char *first = kmem_try_allocate(DIRECT_BYTES, "first");
    expect_call(first != NULL);
    memset(first, 7, DIRECT_BYTES);
    for (unsigned int round = 0; round < 2; round++) {
        for (int fd = 0; fd < 3; fd++) {
            expect_true(write(fd, line, sizeof(line)) < 0);
        }
        client_say(1);
        client_await(); /* the server is killed the first time */
        void *more = kmem_try_allocate(DIRECT_BYTES, "more");
        expect_call(more != NULL);
        expect_equal(kmem_try_release(&more), 0);
        expect_pattern(first, 7);
        expect_equal(open("/dev/null", O_RDWR), 0); /* they are still free */
        expect_call(close(0) == 0);
    }
    expect_equal(kmem_try_release((void **)&first), 0);
}

static void test_a_client_without_standard_descriptors_never_makes_one_its_segment(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(print_into_nothing, NULL);
    daemon_kill_server();
    client_resume(&client);
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_daemon_whose_standard_input_is_closed_lives, 60),
    SYSTEM_TEST(test_a_daemon_whose_standard_descriptors_are_closed_lives, 60),
    SYSTEM_TEST(test_a_daemon_for_whom_all_signals_are_ignored_lives, 60),
    SYSTEM_TEST(test_a_daemon_for_whom_all_signals_are_blocked_lives, 60),
    SYSTEM_TEST(test_a_daemon_with_an_umask_that_allows_nothing_lives, 60),
    SYSTEM_TEST(test_a_daemon_with_low_soft_limits_lives, 60),
    SYSTEM_TEST(test_a_daemon_in_all_cradles_at_once_lives, 60),
    SYSTEM_TEST(test_an_alarm_of_the_starter_does_not_end_it, 60),
    SYSTEM_TEST(test_a_file_size_limit_that_is_too_low_is_71_and_says_what_is_needed, 30),
    SYSTEM_TEST(test_a_stack_limit_that_is_too_low_is_71_and_says_what_is_needed, 30),
    SYSTEM_TEST(test_a_descriptor_limit_that_is_too_low_is_71_and_says_what_is_needed, 30),
    SYSTEM_TEST(test_an_address_space_limit_that_is_too_low_is_71_and_is_named, 30),
    SYSTEM_TEST(test_a_processor_time_limit_is_warned_of_and_is_no_reason_not_to_start, 30),
    SYSTEM_TEST(test_a_process_limit_that_is_too_low_is_71_and_is_named, 30),
    SYSTEM_TEST(test_a_group_by_number_is_let_in_whatever_the_umask, 30),
    SYSTEM_TEST(test_a_group_that_is_neither_a_name_nor_a_number_is_64, 30),
    SYSTEM_TEST(test_without_proc_it_is_71_and_says_so, 30),
    SYSTEM_TEST(test_a_lock_that_was_removed_lets_no_second_daemon_in_and_is_made_again, 30),
    SYSTEM_TEST(test_sighup_finds_a_directory_that_was_removed_and_made_again, 60),
    SYSTEM_TEST(test_a_directory_that_was_removed_is_made_again_by_itself, 60),
    SYSTEM_TEST(test_a_start_that_fails_leaves_no_lock_in_anothers_way, 30),
    SYSTEM_TEST(test_anothers_lock_is_77_and_is_said_to_be_anothers, 30),
    SYSTEM_TEST(test_sigterm_just_after_the_servers_death_is_0, 60),
    SYSTEM_TEST(test_sigterm_with_a_server_that_is_stopped_is_0, 30),
    SYSTEM_TEST(test_sigterm_in_safe_mode_is_0, 60),
    SYSTEM_TEST(test_sigterm_while_the_memory_is_taken_is_0_and_leaves_nothing, 60),
    SYSTEM_TEST(test_a_client_without_standard_descriptors_never_makes_one_its_segment, 30),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
