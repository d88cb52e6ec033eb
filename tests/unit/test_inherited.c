/* SPDX-License-Identifier: MIT */
/*
 * test_inherited.c - descriptors, signals and limits of a starter, each in a process of its own
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "daemon/inherited.h"
#include "tests/unit/unit.h"

/* What a child finds wrong, it says by its exit status: the line. */
#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            _exit(__LINE__ % 250 + 1);                                                             \
        }                                                                                          \
    } while (0)

static void run(void (*function)(void))
{
    int status = -1;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        function();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool is_null_device(int fd)
{
    struct stat status;
    struct stat null;
    return fstat(fd, &status) == 0 && stat("/dev/null", &null) == 0 &&
           status.st_rdev == null.st_rdev;
}

static void fill_each_gap(void)
{
    for (unsigned int closed = 0; closed < 8; closed++) {
        for (int fd = 0; fd < 3; fd++) {
            if (closed & (1U << fd)) {
                (void)close(fd);
            }
        }
        WANT(inherited_reset() == 0);
        for (int fd = 0; fd < 3; fd++) {
            WANT(!(closed & (1U << fd)) || is_null_device(fd));
        }
        const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
        WANT(next >= 3);
        (void)close(next);
    }
}

static void test_inherited_reset_fills_each_set_of_closed_descriptors(void **state)
{
    run(fill_each_gap);
}

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void reset_signals(void)
{
    sigset_t all;
    sigset_t now;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)signal(SIGCHLD, SIG_IGN);
    (void)signal(SIGPIPE, SIG_DFL);
    WANT(inherited_reset() == 0);
    (void)sigprocmask(SIG_SETMASK, NULL, &now);
    for (int number = 1; number < 32; number++) {
        WANT(!sigismember(&now, number));
    }
    WANT(!is_ignored(SIGCHLD));
    WANT(is_ignored(SIGPIPE) && is_ignored(SIGXFSZ) && is_ignored(SIGUSR1));
    (void)alarm(1);
    WANT(inherited_reset() == 0 && is_ignored(SIGALRM));
    /* Children can be waited for. */
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    WANT(waitpid(pid, NULL, 0) == pid);
}

static void test_inherited_reset_makes_signals_what_they_should_be(void **state)
{
    run(reset_signals);
}

static rlim_t soft(__rlimit_resource_t resource)
{
    struct rlimit limit = {0, 0};
    (void)getrlimit(resource, &limit);
    return limit.rlim_cur;
}

static void set(__rlimit_resource_t resource, rlim_t low, rlim_t high)
{
    const struct rlimit limit = {low, high};
    WANT(setrlimit(resource, &limit) == 0);
}

static void raise_soft_limits(void)
{
    set(RLIMIT_FSIZE, 1000, 2000);
    set(RLIMIT_CPU, 100, 200);
    set(RLIMIT_STACK, UINT64_C(300) * 1024, UINT64_C(400) * 1024);
    inherited_raise();
    WANT(soft(RLIMIT_FSIZE) == 2000);
    WANT(soft(RLIMIT_CPU) == 200);
    WANT(soft(RLIMIT_STACK) == UINT64_C(400) * 1024);
}

static void test_inherited_raise_goes_as_far_as_it_may(void **state)
{
    run(raise_soft_limits);
}

static void leave_a_large_stack(void)
{
    set(RLIMIT_STACK, (rlim_t)16 << 20, RLIM_INFINITY);
    inherited_raise();
    WANT(soft(RLIMIT_STACK) == (rlim_t)16 << 20);
    set(RLIMIT_STACK, (rlim_t)1 << 20, RLIM_INFINITY);
    inherited_raise();
    WANT(soft(RLIMIT_STACK) == (rlim_t)8 << 20); /* not without a limit */
}

static void test_inherited_raise_gives_no_stack_without_a_limit(void **state)
{
    run(leave_a_large_stack);
}

static void give_up_root(void)
{
    if (geteuid() == 0) {
        WANT(setresuid(54321, 54321, 54321) == 0);
    }
}

static void say_what_is_too_low(void)
{
    char sentence[256] = "";
    set(RLIMIT_FSIZE, 1 << 20, 1 << 20);
    give_up_root();
    WANT(inherited_check(1 << 20, sentence, sizeof(sentence)) == 0);
    WANT(sentence[0] == '\0');
    WANT(inherited_check(2 << 20, sentence, sizeof(sentence)) == -EPERM);
    WANT(strstr(sentence, "RLIMIT_FSIZE is 1.0 MiB") && strstr(sentence, "2.0 MiB"));
    set(RLIMIT_STACK, UINT64_C(200) * 1024, UINT64_C(200) * 1024);
    WANT(inherited_check(1 << 20, sentence, sizeof(sentence)) == -EPERM);
    WANT(strstr(sentence, "RLIMIT_STACK is 200.0 KiB"));
}

static void test_inherited_check_says_what_is_too_low_and_what_is_needed(void **state)
{
    run(say_what_is_too_low);
}

static void raise_hard_limit(void)
{
    char sentence[256] = "";
    set(RLIMIT_FSIZE, 1 << 20, 1 << 20);
    /* Root may, unless it was made without that right. */
    const int r = inherited_check(2 << 20, sentence, sizeof(sentence));
    WANT(r == 0 || r == -EPERM);
    WANT(soft(RLIMIT_FSIZE) == (r == 0 ? 2 << 20 : 1 << 20));
}

static void test_inherited_check_raises_what_it_may(void **state)
{
    run(raise_hard_limit);
}

static void explain(void)
{
    set(RLIMIT_NPROC, 12, 12);
    set(RLIMIT_AS, (rlim_t)1 << 40, (rlim_t)1 << 40);
    WANT(strcmp(inherited_explain(EAGAIN), " (RLIMIT_NPROC is 12)") == 0);
    WANT(strcmp(inherited_explain(ENOMEM), " (RLIMIT_AS is 1.0 TiB)") == 0);
    WANT(strcmp(inherited_explain(EACCES), "") == 0);
    set(RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY);
}

static void test_inherited_explain_names_the_limit_that_fits_an_error(void **state)
{
    run(explain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inherited_reset_fills_each_set_of_closed_descriptors),
        cmocka_unit_test(test_inherited_reset_makes_signals_what_they_should_be),
        cmocka_unit_test(test_inherited_raise_goes_as_far_as_it_may),
        cmocka_unit_test(test_inherited_raise_gives_no_stack_without_a_limit),
        cmocka_unit_test(test_inherited_check_says_what_is_too_low_and_what_is_needed),
        cmocka_unit_test(test_inherited_check_raises_what_it_may),
        cmocka_unit_test(test_inherited_explain_names_the_limit_that_fits_an_error),
    };
    return cmocka_run_group_tests_name("inherited", tests, NULL, NULL);
}
