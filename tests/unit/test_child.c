/* SPDX-License-Identifier: MIT */
/*
 * test_child.c - a server that is started, or can not be, and leaves neither process nor descriptor
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/keeper/child.h"
#include "daemon/control.h"
#include "daemon/inherited_fds.h"
#include "daemon/options.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(pid_t, fork, (void), (), -1)
FAIL_WRAP(int, socketpair, (int domain, int type, int protocol, int fds[2]),
          (domain, type, protocol, fds), -1)
FAIL_WRAP(int, fexecve, (int fd, char *const argv[], char *const variables[]),
          (fd, argv, variables), -1)

/* pidfd_open() is the one that child.c makes itself. */
long __real_syscall(long number, long first, long second);
long __wrap_syscall(long number, long first, long second);
long __wrap_syscall(long number, long first, long second)
{
    return fail_now("syscall") ? -1 : __real_syscall(number, first, second);
}

/* Whoever runs a daemon as a container's first process. */
static bool is_first;

pid_t __real_getpid(void);
pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void)
{
    return is_first ? 1 : __real_getpid();
}

static struct inherited_fds files;
static int sleep_fd; /* a program that does not end by itself */
static unsigned n_fds;
static char *arguments[] = {(char *)"sleep", (char *)"1000", NULL};

static int child_setup(void **state)
{
    sleep_fd = open("/bin/sleep", O_PATH | O_CLOEXEC);
    assert_true(sleep_fd >= 0);
    assert_int_equal(inherited_fds_init(&files), 0);
    n_fds = count_fds();
    return 0;
}

static int child_teardown(void **state)
{
    assert_int_equal(count_fds(), n_fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    inherited_fds_fini(&files);
    assert_int_equal(close(sleep_fd), 0);
    return 0;
}

static void test_child_start_is_there_until_it_is_killed(void **state)
{
    struct child child;
    char how[128];

    assert_int_equal(child_start(sleep_fd, arguments, &files, &files.control_fd, &child), 0);
    struct pollfd ended = {.fd = child.pidfd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 20), 0);
    child_kill(&child);
    const int status = child_wait(&child);

    assert_string_equal(child_describe_end(status, how, sizeof(how)),
                        "was killed by signal 9 (Killed)");
    assert_int_equal(child.pid, 0);
    child_kill(&child); /* nobody */
}

static void test_child_start_that_fails_leaves_nothing(void **state)
{
    const struct {
        const char *call;
        int error;
    } calls[] = {{"socketpair", EMFILE}, {"fork", EAGAIN}, {"syscall", EMFILE}};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct child child = CHILD_NONE;
        fail_nth(calls[i].call, 1, calls[i].error);
        assert_int_equal(child_start(sleep_fd, arguments, &files, &files.control_fd, &child),
                         -calls[i].error);
        assert_true(fail_end());
        assert_int_equal(child.pid, 0);
        assert_int_equal(count_fds(), n_fds);
    }
}

static void test_child_start_of_what_can_not_be_executed_ends_with_71(void **state)
{
    struct child child;
    char how[128];

    capture_begin();
    fail_nth("fexecve", 1, ENOMEM);
    assert_int_equal(child_start(sleep_fd, arguments, &files, &files.control_fd, &child), 0);
    const int status = child_wait(&child);
    (void)fail_end();

    assert_non_null(strstr(capture_end(), "cannot start the server: Cannot allocate memory"));
    assert_int_equal(WEXITSTATUS(status), EXIT_SYSTEM);
    assert_string_equal(child_describe_end(status, how, sizeof(how)), "ended with status 71");
}

#define CHILD_TEST(test) cmocka_unit_test_setup_teardown(test, child_setup, child_teardown)

/* A process that has ended, and is not waited for. */
static pid_t fork_ended(void)
{
    siginfo_t info;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    return pid;
}

/* Processes whose parents have ended become the first one's children. */
static void test_child_reap_others_waits_for_orphans_if_it_is_the_first_process(void **state)
{
    struct child none = CHILD_NONE;
    const pid_t orphan = fork_ended();
    (void)fork_ended();

    child_reap_others(&none, &none);
    assert_int_equal(waitpid(orphan, NULL, WNOHANG), orphan); /* who is not leaves them */
    is_first = true;
    child_reap_others(&none, &none);
    is_first = false;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    is_first = true;
    child_reap_others(&none, &none); /* there is none */
    is_first = false;
}

static void test_child_reap_others_leaves_its_own(void **state)
{
    struct child none = CHILD_NONE;
    struct child running;
    struct child own = CHILD_NONE;

    own.pid = fork_ended();
    is_first = true;
    child_reap_others(&own, &none);
    child_reap_others(&none, &own);
    is_first = false;
    assert_int_equal(waitpid(own.pid, NULL, WNOHANG), own.pid);

    assert_int_equal(child_start(sleep_fd, arguments, &files, &files.control_fd, &running), 0);
    is_first = true;
    child_reap_others(&none, &none); /* it has not ended */
    is_first = false;
    child_kill(&running);
    (void)child_wait(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHILD_TEST(test_child_start_is_there_until_it_is_killed),
        CHILD_TEST(test_child_start_that_fails_leaves_nothing),
        CHILD_TEST(test_child_start_of_what_can_not_be_executed_ends_with_71),
        CHILD_TEST(test_child_reap_others_waits_for_orphans_if_it_is_the_first_process),
        CHILD_TEST(test_child_reap_others_leaves_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
