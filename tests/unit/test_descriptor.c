/* SPDX-License-Identifier: MIT */
/*
 * test_descriptor.c - the library's descriptors stay out of the program's way, each in a process
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/link/descriptor.h"
#include "tests/unit/unit.h"

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
        (void)close_range(3, ~0U, 0);
        function();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void raise_everywhere(void)
{
    static const rlim_t limits[] = {4, 5, 8, 64, 1000};
    for (size_t i = sizeof(limits) / sizeof(limits[0]); i-- > 0;) {
        const struct rlimit limit = {limits[i], 4096};
        WANT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        (void)close(0);
        const int low = open("/dev/null", O_RDONLY);
        WANT(low == 0);
        const int fd = kmem__descriptor_raise(low);
        WANT(fd >= 3 && fd >= (int)(limits[i] >= 1000 ? 500 : limits[i] / 2));
        WANT(fcntl(0, F_GETFD) < 0);
        WANT(fcntl(fd, F_GETFD) == FD_CLOEXEC);
        (void)close(fd);
    }
}

static void test_descriptor_raise_leaves_the_standard_ones_whatever_the_limit(void **state)
{
    run(raise_everywhere);
}

static void know_again(void)
{
    const int fd = open("/dev/null", O_RDONLY);
    const int other = open("/dev/zero", O_RDONLY);
    const int closed = 999;
    struct mark mark = kmem__mark_of(fd);
    const struct mark none = kmem__mark_of(closed);
    WANT(kmem__mark_holds(&mark));
    WANT(!kmem__mark_holds(&none));
    WANT(dup2(other, fd) == fd);
    WANT(!kmem__mark_holds(&mark));
    kmem__mark_close(&mark);
    WANT(fcntl(fd, F_GETFD) >= 0);
    mark = kmem__mark_of(fd);
    kmem__mark_close(&mark);
    WANT(fcntl(fd, F_GETFD) < 0);
}

static void test_mark_knows_what_the_program_has_replaced(void **state)
{
    run(know_again);
}

static void occupy_and_vacate(void)
{
    for (unsigned int closed = 0; closed < 8; closed++) {
        struct standard standard;
        for (int fd = 0; fd < 3; fd++) {
            (void)(closed & (1U << fd) ? close(fd) : dup2(3, fd));
        }
        kmem__standard_occupy(&standard);
        const int opened = open("/dev/null", O_RDONLY);
        WANT(opened > 3);
        for (int fd = 0; fd < 3; fd++) {
            WANT(!(closed & (1U << fd)) || (write(fd, "x", 1) < 0 && errno == ENOTCONN));
        }
        kmem__standard_vacate(&standard);
        for (int fd = 0; fd < 3; fd++) {
            const int flags = fcntl(fd, F_GETFD);
            WANT(closed & (1U << fd) ? flags < 0 : flags >= 0);
        }
        (void)close(opened);
    }
}

/* Descriptor 3 is the program's. */
static void occupy_behind_one(void)
{
    WANT(dup2(2, 3) == 3);
    occupy_and_vacate();
}

static void test_standard_occupy_keeps_what_is_opened_off_the_closed_ones(void **state)
{
    run(occupy_behind_one);
}

static void vacate_what_the_program_took(void)
{
    struct standard standard;
    (void)close(0);
    kmem__standard_occupy(&standard);
    const int own = open("/dev/null", O_RDONLY);
    WANT(dup2(own, 0) == 0); /* another thread of the program's */
    kmem__standard_vacate(&standard);
    WANT(fcntl(0, F_GETFD) >= 0);
}

static void test_standard_vacate_leaves_what_the_program_has_opened(void **state)
{
    run(vacate_what_the_program_took);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptor_raise_leaves_the_standard_ones_whatever_the_limit),
        cmocka_unit_test(test_mark_knows_what_the_program_has_replaced),
        cmocka_unit_test(test_standard_occupy_keeps_what_is_opened_off_the_closed_ones),
        cmocka_unit_test(test_standard_vacate_leaves_what_the_program_has_opened),
    };
    return cmocka_run_group_tests_name("descriptor", tests, NULL, NULL);
}
