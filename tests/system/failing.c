/* SPDX-License-Identifier: MIT */
/*
 * failing.c - become kmemd, with somebody at the system calls, or at malloc()
 *
 * System calls: a seccomp filter sends those that may fail to the test's supervisor (faults.c),
 * which lets them pass or answers with an errno. So the program is the one that is installed, every
 * call is seen, those of the C library and of libuv too, and a sanitizer has nothing against it.
 * The filter stays with all that kmemd starts.
 *
 * Memory: failing_memory.c is loaded before the C library.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/attributes.h"
#include "tests/system/fault_filter.h"
#include "tests/system/fault_plan.h"

/* What the harness passes first: the line to the supervisor. */
#define GIVEN_FD 3

KMEM_NORETURN static void give_up(const char *what, int exit_status)
{
    (void)fprintf(stderr, "failing: %s: %s\n", what, strerror(errno));
    _exit(exit_status);
}

static const char *variable(const char *name)
{
    const char *const value = getenv(name);
    if (value == NULL) {
        give_up(name, 1);
    }
    return value;
}

static enum fault_kind plan_kind(void)
{
    const int fd = open(variable(FAULT_PLAN_VARIABLE), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        give_up(variable(FAULT_PLAN_VARIABLE), 1);
    }
    const struct fault_plan *plan = mmap(NULL, sizeof(*plan), PROT_READ, MAP_SHARED, fd, 0);
    if (plan == MAP_FAILED) {
        give_up("the plan", 1);
    }
    (void)close(fd);
    return plan->fault.kind;
}

int main(int argc, char **argv)
{
    const char *program = variable(FAULT_PROGRAM_VARIABLE);
    (void)argc;
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
    if (plan_kind() == FAULT_MEMORY) {
        (void)close(GIVEN_FD);
        (void)setenv("LD_PRELOAD", variable(FAULT_PRELOAD_VARIABLE), 1);
    } else if (fault_filter_enter(GIVEN_FD) < 0) {
        give_up("a seccomp filter", FAULT_NO_FILTER);
    }
    (void)execv(program, argv);
    give_up(program, 1);
}
