/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_run.c - a program on a segment of its own: what kmemctl says, and what it leaves
 *
 * Whatever happens, no daemon and no directory may be left; the harness looks for processes that
 * outlive a test, and each test looks for the directory.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/ctl.h"
#include "tests/system/harness.h"

/* The program, after the options of run. */
#define PROGRAM "--", harness_program("ctl_worker")

/* ------------------------------------------------------------------------------ the report ---- */

static void test_run_reports_what_was_never_released(void)
{
    const struct ctl_end *const end =
        ctl("run", "--size", "16MiB", PROGRAM, "allocate", "44", "parser/scratch", "allocate",
            "101", "parser/tree", "allocate", "1000", "released", "release", "allocate", "7",
            "parser/tree#2", "end");

    expect_equal(end->exit_status, 0);
    expect_text(end->out, "");
    expect_match(end->err, "^kmem: program      .*/ctl_worker, exit status 0$");
    expect_match(end->err, "^kmem: clients      1$");
    expect_match(end->err, "^kmem: peak used    1\\.1 KiB of 16\\.0 MiB \\(0\\.0 %\\)$");
    expect_match(end->err, "^kmem: blocks       4 allocated, 1 released$");
    expect_match(end->err, "^kmem: unreleased   152 B in 3 blocks$");
    expect_match(end->err, "^kmem:        108 B        2  parser/tree$");
    expect_match(end->err, "^kmem:         44 B        1  parser/scratch$");
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_of_a_tidy_program_reports_nothing_unreleased(void)
{
    const struct ctl_end *const end = ctl("run", PROGRAM, "allocate", "44", "x", "release", "end");

    expect_equal(end->exit_status, 0);
    expect_match(end->err, "^kmem: peak used    44 B of 1\\.0 GiB ");
    expect_match(end->err, "^kmem: unreleased   nothing$");
}

static void test_run_of_a_program_that_never_allocates(void)
{
    const struct ctl_end *const end = ctl("run", "true");

    expect_equal(end->exit_status, 0);
    expect_match(end->err, "^kmem: clients      none: nothing was allocated through kmem$");
}

static void test_run_adds_up_children_that_have_ended(void)
{
    const struct ctl_end *const end =
        ctl("run", PROGRAM, "allocate", "10", "parent", "fork", "allocate", "20", "child", "end",
            "fork", "allocate", "30", "child", "end", "wait", "end");

    expect_match(end->err, "^kmem: clients      3$");
    expect_match(end->err, "^kmem: unreleased   60 B in 3 blocks$");
    expect_match(end->err, "^kmem:         50 B        2  child$");
    expect_match(end->err, "^kmem:         10 B        1  parent$");
}

/* Paths of the test's, for files that its processes wait for. */
static const char *path_of(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned int next;
    char *const path = paths[next++ % 4];

    (void)snprintf(path, PATH_MAX, "%s", harness_path(name));
    return path;
}

static void make_file(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    expect_call(fd >= 0 && close(fd) == 0);
}

/* The program ends while its child lives, which goes on when it may. */
#define WITH_A_CHILD(there, may_end)                                                               \
    PROGRAM, "fork", "allocate", "20", "child", "touch", there, "until", may_end, "end", "until",  \
        there

static void test_run_marks_children_that_are_still_alive(void)
{
    const char *const may_end = path_of("may-end");
    const struct ctl_end *const end =
        ctl("run", WITH_A_CHILD(path_of("there"), may_end), "allocate", "10", "parent", "end");

    expect_match(end->err, "^kmem: unreleased   10 B in 1 block$");
    expect_match(end->err, "^kmem: still alive  1 process, not counted above$");
    expect_match(end->err, "^kmem:         20 B        1  pid [0-9]+ \\(ctl_worker\\)$");
    expect_equal(ctl_private_daemons(), 0);
    make_file(may_end);
}

static void test_run_says_that_the_segment_was_full(void)
{
    const struct ctl_end *const end =
        ctl("run", "--size", "1MiB", PROGRAM, "allocate", "900000", "a", "allocate", "900000", "b");

    expect_equal(end->exit_status, 128 + SIGABRT);
    expect_match(end->err, "^kmem: refused      1 allocation: the segment was full");
    expect_match(end->err, "^kmem: program      .*, killed by signal 6 \\(SIGABRT\\)$");
}

/* ---------------------------------------------------------------------------------- JSON ---- */

static void expect_json_of_a_leak(const char *json)
{
    expect_match(json, "^\\{ \"program\": \".*/ctl_worker\", \"exit_status\": 3, \"signal\": 0, "
                       "\"n_blocks\": 2, \"num_bytes\": 145, "
                       "\"unreleased\": \\[ \\{ \"reason\": \"b/\\\\\"c\", \"n_blocks\": 1, "
                       "\"num_bytes\": 101 \\}, \\{ \"reason\": \"a\", \"n_blocks\": 1, "
                       "\"num_bytes\": 44 \\} \\], \"alive\": \\[ \\], \"n_forgotten\": 0, "
                       "\"unseen\": \\[ \"memory that is not from kmem; [^\"]*\" \\], "
                       "\"statistics\": \\{ .*\"segment_bytes\": 16777216,.* \\} \\}$");
}

static void test_run_reports_in_json(void)
{
    static const char *const worker[] = {"allocate", "44",    "a",    "allocate",
                                         "101",      "b/\"c", "exit", "3"};
    const struct ctl_end *end =
        ctl("run", "--json", "--size", "16MiB", PROGRAM, worker[0], worker[1], worker[2], worker[3],
            worker[4], worker[5], worker[6], worker[7]);

    expect_equal(end->exit_status, 3);
    expect_text(end->out, "");
    expect_json_of_a_leak(end->err);
    end = ctl("--json", "run", "--size", "16MiB", PROGRAM, worker[0], worker[1], worker[2],
              worker[3], worker[4], worker[5], worker[6], worker[7]);
    expect_json_of_a_leak(end->err);
}

static void test_run_reports_in_json_who_is_alive_and_the_signal(void)
{
    const char *const may_end = path_of("may-end");
    const struct ctl_end *const end =
        ctl("run", "--json", WITH_A_CHILD(path_of("there"), may_end), "kill", "9");

    expect_equal(end->exit_status, 128 + SIGKILL);
    expect_match(end->err, "\"exit_status\": 137, \"signal\": 9, \"n_blocks\": 0,");
    expect_match(end->err, "\"alive\": \\[ \\{ \"command\": \"ctl_worker\", \"pid\": [0-9]+, "
                           "\"n_blocks\": 1, \"num_bytes\": 20 \\} \\]");
    make_file(may_end);
}

static void test_run_reports_to_a_file(void)
{
    char text[4096] = "";
    const char *const path = path_of("report");
    const struct ctl_end *const end =
        ctl("run", "-j", "-o", path, PROGRAM, "allocate", "44", "a", "say", "hello", "end");
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    expect_equal(end->exit_status, 0);
    expect_text(end->out, "hello\n");
    expect_text(end->err, "");
    expect_call(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    expect_match(text, "^\\{ \"program\": .*\"n_blocks\": 1, \"num_bytes\": 44, ");
    (void)close(fd);
}

static void test_run_that_can_not_report_is_1(void)
{
    expect_equal(ctl("run", "-o", "/nonexistent/file", "echo", "never run")->exit_status, 1);
    expect_text(ctl("run", "-o", "/nonexistent/file", "echo", "never run")->out, "");
    expect_equal(ctl("run", "-o", "/dev/full", "true")->exit_status, 1);
    expect_match(ctl("run", "-o", "/dev/full", "true")->err, "^kmemctl: cannot say what was left");
    expect_equal(ctl_private_daemons(), 0);
}

/* ------------------------------------------------------------------------------ the status ---- */

static void test_run_ends_with_the_status_for_leaks_if_there_are_any(void)
{
#define LEAK PROGRAM, "allocate", "44", "leaked"
    expect_equal(ctl("run", LEAK, "end")->exit_status, 0);
    expect_equal(ctl("run", "--leaks-exit-code=9", LEAK, "end")->exit_status, 9);
    expect_equal(ctl("run", "-e", "9", "--json", LEAK, "end")->exit_status, 9);
    expect_equal(ctl("run", "-e", "9", LEAK, "release", "end")->exit_status, 0);
    expect_equal(ctl("run", "-e", "9", "true")->exit_status, 0);
    /* What the program itself has to say comes first. */
    expect_equal(ctl("run", "-e", "9", LEAK, "exit", "3")->exit_status, 3);
    expect_equal(ctl("run", "-e", "9", LEAK, "kill", "9")->exit_status, 128 + SIGKILL);
    /* A child's leaks count once it has ended. */
    expect_equal(
        ctl("run", "-e", "9", PROGRAM, "fork", "allocate", "1", "child", "end", "wait", "end")
            ->exit_status,
        9);
}

/* As a step of continuous integration: a status, what a person reads, and what a program does. */
static void test_run_fails_on_a_leak_and_writes_a_report(void)
{
    char *report = strdup(harness_path("report.json"));
    char text[8192] = "";
    expect_call(report != NULL);
    expect_equal(ctl("run", "--fail-on-leak", LEAK, "release", "end")->exit_status, 0);
    expect_equal(ctl("run", "--fail-on-leak", LEAK, "exit", "3")->exit_status, 3);
    expect_match(ctl("run", "--fail-on-leak", "--report", report, LEAK, "end")->err,
                 "^kmem: unreleased   44 B in 1 block$");
    expect_equal(ctl("run", "--fail-on-leak", "--report", report, LEAK, "end")->exit_status, 5);
    FILE *file = fopen(report, "r");
    expect_call(file != NULL);
    (void)fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    expect_match(text, "\"unreleased\": \\[ \\{ \"reason\": \"leaked\", \"n_blocks\": 1, "
                       "\"num_bytes\": 44 \\} \\]");
    expect_equal(ctl("run", "--report", "/nonexistent/x", "echo", "no")->exit_status, 1);
    expect_equal(ctl("run", "--report", "/dev/full", "true")->exit_status, 1);
    expect_equal(ctl_private_daemons(), 0);
    free(report);
}

static void test_run_says_what_it_could_not_see(void)
{
    expect_match(ctl("run", "true")->err, "^kmem: not seen     memory that is not from kmem; ");
    const struct ctl_end *const end =
        ctl("run", "--json", PROGRAM, "fork", "allocate", "7", "child", "end");
    expect_match(end->err, "\"unseen\": \\[ ");
}

static void test_run_forwards_the_exit_status(void)
{
    expect_equal(ctl("run", PROGRAM, "exit", "3")->exit_status, 3);
    expect_equal(ctl("run", PROGRAM, "exit", "255")->exit_status, 255);
    expect_equal(ctl("run", PROGRAM, "kill", "9")->exit_status, 128 + SIGKILL);
    expect_equal(ctl("run", PROGRAM, "kill", "15")->exit_status, 128 + SIGTERM);
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_gives_the_program_its_options(void)
{
    expect_text(ctl("run", "echo", "--size", "-v")->out, "--size -v\n");
    expect_text(ctl("run", "--", "echo", "--", "-v")->out, "-- -v\n");
}

static void test_run_of_what_is_no_program_is_126_or_127(void)
{
    expect_equal(ctl("run", "/etc/passwd")->exit_status, 126);
    expect_match(ctl("run", "/etc/passwd")->err, "^kmemctl: cannot run /etc/passwd: Permission");
    expect_equal(ctl("run", "no-such-program-anywhere")->exit_status, 127);
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_with_options_that_kmemd_refuses_is_2(void)
{
    expect_equal(ctl("run", "--size", "17", "true")->exit_status, 2);
    expect_match(ctl("run", "--size", "many", "true")->err, "\"many\" is no size");
    expect_equal(ctl("run", "--commit", "never", "true")->exit_status, 2);
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_without_kmemd_is_3(void)
{
    (void)setenv("KMEMD", "/nonexistent/kmemd", 1);
    const struct ctl_end *const end = ctl("run", "true");

    expect_equal(end->exit_status, 3);
    expect_match(end->err, "^kmemctl: \\$KMEMD is \"/nonexistent/kmemd\", and that is no program$");
    (void)unsetenv("KMEMD");
}

static void test_run_with_a_kmemd_that_does_not_start_is_1(void)
{
    (void)setenv("KMEMD", "/bin/false", 1);
    const struct ctl_end *const end = ctl("run", "echo", "hello");

    expect_equal(end->exit_status, 1);
    expect_text(end->out, "");
    expect_match(end->err, "^kmemctl: the private kmemd did not start$");
    expect_equal(ctl_private_daemons(), 0);
    (void)unsetenv("KMEMD");
}

static void test_run_serves_its_program_and_nobody_else(void)
{
    (void)setenv("KMEM_SOCKET", "/nowhere", 1);
    expect_match(ctl("run", PROGRAM, "print", "KMEM_SOCKET")->out, "/kmemctl-[^/]+/run\\.sock$");
    (void)unsetenv("KMEM_SOCKET");
}

static void test_run_verbose_lets_the_daemon_log(void)
{
    expect_match(ctl("run", "-v", PROGRAM, "allocate", "44", "x")->err, "^kmemd: .*ctl_worker");
    expect_true(!harness_matches(ctl("run", PROGRAM, "allocate", "44", "x")->err, "^kmemd: "));
}

/* -------------------------------------------------------------------------------- signals ---- */

static struct ctl_process start_counting(const char *signal_number)
{
    const struct ctl_process process = ctl_start((const char *const[]){
        "run", PROGRAM, "allocate", "44", "x", "count", signal_number, "600", "exit", "5", NULL});
    char text[64] = "";

    expect_soon(pread(process.out_fd, text, sizeof(text) - 1, 0) > 0, 10000);
    expect_text(text, "counting\n");
    return process;
}

static void expect_forwarded(int number, const char *digits)
{
    const struct ctl_process process = start_counting(digits);

    expect_call(kill(process.pid, number) == 0);
    const struct ctl_end *const end = ctl_wait(&process);
    expect_text(end->out, "counting\n1\n");
    expect_equal(end->exit_status, 5);
    expect_match(end->err, "^kmem: unreleased   44 B in 1 block$");
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_forwards_signals_and_waits_on(void)
{
    expect_forwarded(SIGTERM, "15");
    expect_forwarded(SIGINT, "2");
    expect_forwarded(SIGHUP, "1");
    expect_forwarded(SIGUSR1, "10");
}

static void test_run_ended_by_SIGTERM_reports_and_tidies_up(void)
{
    const struct ctl_process process = ctl_start((const char *const[]){
        "run", PROGRAM, "allocate", "44", "x", "say", "ready", "sleep", "60000", NULL});
    char text[64] = "";

    expect_soon(pread(process.out_fd, text, sizeof(text) - 1, 0) > 0, 10000);
    expect_call(kill(process.pid, SIGTERM) == 0);
    const struct ctl_end *const end = ctl_wait(&process);
    expect_equal(end->exit_status, 128 + SIGTERM);
    expect_match(end->err, "^kmem: program      .*, killed by signal 15 \\(SIGTERM\\)$");
    expect_match(end->err, "^kmem: unreleased   44 B in 1 block$");
    expect_equal(ctl_private_daemons(), 0);
}

/* The pid of the one private daemon, from the socket's directory in its command line. */
static pid_t private_daemon_pid(pid_t kmemctl)
{
    char path[64];
    char digits[32] = "";

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", kmemctl, kmemctl);
    FILE *const children = fopen(path, "re");
    expect_call(children != NULL);
    expect_true(fgets(digits, sizeof(digits), children) != NULL);
    (void)fclose(children);
    return (pid_t)strtol(digits, NULL, 10);
}

static void test_run_killed_takes_its_daemon_along(void)
{
    const struct ctl_process process = ctl_start((const char *const[]){
        "run", PROGRAM, "allocate", "44", "x", "say", "ready", "sleep", "500", NULL});
    char text[64] = "";

    expect_soon(pread(process.out_fd, text, sizeof(text) - 1, 0) > 0, 10000);
    struct pollfd daemon = {.fd = pidfd_open(private_daemon_pid(process.pid), 0), .events = POLLIN};
    expect_call(daemon.fd >= 0);
    expect_equal(poll(&daemon, 1, 0), 0);
    expect_call(kill(process.pid, SIGKILL) == 0);
    expect_equal(ctl_wait(&process)->exit_status, 128 + SIGKILL);
    expect_equal(poll(&daemon, 1, harness_patient_ms(2000)), 1);
    (void)close(daemon.fd);
}

/* Kills its daemon while the program runs, which then goes on. Return: how kmemctl ended. */
static const struct ctl_end *end_without_a_daemon(const char *leaks_status, const char *status)
{
    const char *const may_end = path_of("may-end");
    const struct ctl_process process =
        ctl_start((const char *const[]){"run", "-e", leaks_status, PROGRAM, "say", "ready", "until",
                                        may_end, "exit", status, NULL});
    char text[64] = "";

    expect_soon(pread(process.out_fd, text, sizeof(text) - 1, 0) > 0, 10000);
    expect_call(kill(private_daemon_pid(process.pid), SIGKILL) == 0);
    expect_soon(strstr(ctl_err(&process), "the private kmemd has ended") != NULL, 10000);
    make_file(may_end);
    return ctl_wait(&process);
}

static void test_run_says_that_its_daemon_has_ended(void)
{
    const struct ctl_end *const end = end_without_a_daemon("9", "4");

    expect_equal(end->exit_status, 4);
    expect_match(end->err, "^kmemctl: the private kmemd has ended; the program's calls fail now$");
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_without_its_daemon_knows_of_no_leaks_and_says_3(void)
{
    expect_equal(end_without_a_daemon("9", "0")->exit_status, 3);
    expect_equal(ctl_private_daemons(), 0);
}

/* Makes run start a shell script instead of kmemd. */
static void pretend_kmemd(const char *script)
{
    FILE *const file = fopen(harness_path("kmemd.sh"), "we");

    expect_call(file != NULL);
    (void)fprintf(file, "#!/bin/sh\n%s\n", script);
    expect_call(fclose(file) == 0);
    expect_call(chmod(harness_path("kmemd.sh"), 0700) == 0);
    (void)setenv("KMEMD", harness_path("kmemd.sh"), 1);
}

static void test_run_signalled_before_the_daemon_is_ready_tidies_up(void)
{
    pretend_kmemd("echo slow >&2; exec sleep 60");
    const struct ctl_process process =
        ctl_start((const char *const[]){"run", "echo", "never printed", NULL});

    expect_soon(strstr(ctl_err(&process), "slow") != NULL, 10000);
    expect_call(kill(process.pid, SIGTERM) == 0);
    const struct ctl_end *const end = ctl_wait(&process);
    expect_equal(end->exit_status, 128 + SIGTERM);
    expect_text(end->out, "");
    expect_equal(ctl_private_daemons(), 0);
}

static void test_run_kills_a_daemon_that_does_not_end(void)
{
    pretend_kmemd("trap '' TERM; echo ready; exec sleep 60");
    const struct ctl_end *const end = ctl("run", "true");

    expect_equal(end->exit_status, 0);
    expect_match(end->err, "^kmemctl: the private kmemd does not end; it is killed$");
    expect_equal(ctl_private_daemons(), 0);
}

/* ---------------------------------------------------------------- strange circumstances ---- */

/* Whose parents end before they do. */
#define MAKE_ORPHANS "for i in 1 2 3 4 5 6 7 8; do (true &); done; "
#define AWAIT_NO_ZOMBIE                                                                            \
    "while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do sleep 0.02; done; "

static void need_namespaces(void)
{
    if (geteuid() != 0) {
        harness_skip("only root can make a pid namespace everywhere");
    }
}

static void test_run_as_the_first_process_reaps_orphans(void)
{
    need_namespaces();
    const char *const arguments[] = {
        "run", "--", "sh", "-c", (MAKE_ORPHANS AWAIT_NO_ZOMBIE "echo pid $PPID has none"), NULL};
    const struct ctl_process process = ctl_start_as_init(arguments);
    const struct ctl_end *const end = ctl_wait(&process);

    expect_equal(end->exit_status, 0);
    expect_text(end->out, "pid 1 has none\n");
    expect_equal(ctl_private_daemons(), 0);
}

/* The only child of a process. */
static pid_t child_of(pid_t pid)
{
    char path[80];
    char text[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    expect_call(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
    (void)close(fd);
    return (pid_t)strtol(text, NULL, 10);
}

static bool has_said(const struct ctl_process *process, const char *word)
{
    char text[256] = "";
    expect_call(pread(process->out_fd, text, sizeof(text) - 1, 0) >= 0);
    return strstr(text, word) != NULL;
}

static void test_run_as_the_first_process_forwards_signals(void)
{
    need_namespaces();
    const char *const arguments[] = {
        "run",
        "--",
        "sh",
        "-c",
        "trap 'exit 7' TERM; echo waiting; while true; do sleep 0.05; done",
        NULL};
    const struct ctl_process process = ctl_start_as_init(arguments);
    expect_soon(has_said(&process, "waiting"), 20000);
    expect_call(kill(child_of(process.pid), SIGTERM) == 0);

    expect_equal(ctl_wait(&process)->exit_status, 7);
    expect_equal(ctl_private_daemons(), 0);
}

/* No file of kmemctl's becomes a standard descriptor of the daemon's or of the program's. */
static void test_run_without_standard_descriptors_keeps_them_from_daemon_and_program(void)
{
    for (unsigned int closed = 1; closed < 8; closed++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s", harness_path("said"));
        const char *const arguments[] = {
            "run",
            "--",
            "sh",
            "-c",
            ("for fd in 0 1 2; do readlink /proc/$PPID/fd/$fd /proc/$$/fd/$fd; done > \"$0\"; "
             "exec \"$1\" allocate 44 x release end"),
            path,
            harness_program("ctl_worker"),
            NULL};
        const struct ctl_process process = ctl_start_closed(arguments, closed);
        expect_equal(ctl_wait(&process)->exit_status, 0);
        char text[1024] = "";
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        expect_call(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
        (void)close(fd);
        expect_true(strstr(text, "pipe:") == NULL && strstr(text, "socket:") == NULL);
        expect_true(strstr(text, "/dev/null") != NULL);
        expect_equal(ctl_private_daemons(), 0);
    }
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_run_reports_what_was_never_released, 10),
    SYSTEM_TEST(test_run_of_a_tidy_program_reports_nothing_unreleased, 10),
    SYSTEM_TEST(test_run_of_a_program_that_never_allocates, 10),
    SYSTEM_TEST(test_run_adds_up_children_that_have_ended, 10),
    SYSTEM_TEST(test_run_marks_children_that_are_still_alive, 10),
    SYSTEM_TEST(test_run_says_that_the_segment_was_full, 10),
    SYSTEM_TEST(test_run_reports_in_json, 10),
    SYSTEM_TEST(test_run_reports_in_json_who_is_alive_and_the_signal, 10),
    SYSTEM_TEST(test_run_reports_to_a_file, 10),
    SYSTEM_TEST(test_run_that_can_not_report_is_1, 10),
    SYSTEM_TEST(test_run_ends_with_the_status_for_leaks_if_there_are_any, 20),
    SYSTEM_TEST(test_run_fails_on_a_leak_and_writes_a_report, 20),
    SYSTEM_TEST(test_run_says_what_it_could_not_see, 20),
    SYSTEM_TEST(test_run_without_its_daemon_knows_of_no_leaks_and_says_3, 10),
    SYSTEM_TEST(test_run_forwards_the_exit_status, 10),
    SYSTEM_TEST(test_run_gives_the_program_its_options, 10),
    SYSTEM_TEST(test_run_of_what_is_no_program_is_126_or_127, 10),
    SYSTEM_TEST(test_run_with_options_that_kmemd_refuses_is_2, 10),
    SYSTEM_TEST(test_run_without_kmemd_is_3, 10),
    SYSTEM_TEST(test_run_with_a_kmemd_that_does_not_start_is_1, 10),
    SYSTEM_TEST(test_run_serves_its_program_and_nobody_else, 10),
    SYSTEM_TEST(test_run_verbose_lets_the_daemon_log, 10),
    SYSTEM_TEST(test_run_forwards_signals_and_waits_on, 20),
    SYSTEM_TEST(test_run_ended_by_SIGTERM_reports_and_tidies_up, 10),
    SYSTEM_TEST(test_run_killed_takes_its_daemon_along, 10),
    SYSTEM_TEST(test_run_says_that_its_daemon_has_ended, 10),
    SYSTEM_TEST(test_run_signalled_before_the_daemon_is_ready_tidies_up, 10),
    SYSTEM_TEST(test_run_kills_a_daemon_that_does_not_end, 20),
    SYSTEM_TEST(test_run_as_the_first_process_reaps_orphans, 30),
    SYSTEM_TEST(test_run_as_the_first_process_forwards_signals, 30),
    SYSTEM_TEST(test_run_without_standard_descriptors_keeps_them_from_daemon_and_program, 60),
};

int main(int argc, char **argv)
{
    (void)unsetenv("XDG_RUNTIME_DIR"); /* private directories go where each test looks for them */
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
