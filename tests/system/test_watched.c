/* SPDX-License-Identifier: MIT */
/*
 * test_watched.c - a user's ThreadSanitizer build, which links the library as it is installed
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <signal.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_RUNS 5
#define EXIT_REPORTED 66

/* Return: the exit status. */
static int run(const char *program, const char *what, const char *log)
{
    int status;
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fd, STDERR_FILENO);
        (void)close_range(3, ~0U, 0);
        (void)unsetenv("TSAN_OPTIONS");
        (void)execl(harness_program(program), program, what, NULL);
        _exit(127);
    }
    expect_call(waitpid(pid, &status, 0) == pid);
    expect_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_no_report(const char *program)
{
    daemon_start("--size", "64MiB", NULL);
    for (int i = 0; i < N_RUNS; i++) {
        const char *const log = harness_path("watched.log");
        if (run(program, "handoff", log) != 0) {
            static char text[4096];
            const int fd = open(log, O_RDONLY | O_CLOEXEC);
            expect_call(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
            fail("run %d: %s", i, text);
        }
    }
    daemon_stop_balanced();
}

static void test_blocks_that_change_hands_are_no_race(void)
{
    expect_no_report("watched");
}

static void test_blocks_that_change_hands_are_no_race_with_the_static_library(void)
{
    expect_no_report("watched_static");
}

/* What the library says of its own must not hide what the program does wrong. */
static void test_a_race_on_a_block_is_found(void)
{
    daemon_start("--size", "64MiB", NULL);
    expect_equal(run("watched", "race", harness_path("watched.log")), EXIT_REPORTED);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_blocks_that_change_hands_are_no_race, 120),
    SYSTEM_TEST(test_blocks_that_change_hands_are_no_race_with_the_static_library, 120),
    SYSTEM_TEST(test_a_race_on_a_block_is_found, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
