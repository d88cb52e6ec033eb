/* SPDX-License-Identifier: MIT */
/*
 * guard.c - the fast ways take as many instructions and system calls as they did
 *
 * A time says how busy the machine is, a count what the code does. The subject's operation is done
 * under ptrace(): step by step, or from system call to system call. Of instructions those count
 * that lie in libkmem's own text: memset() and its like are other code on other processors.
 * limits.def has what each way took; the difference, either way, is for a person to explain.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/guard/traced.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define N_ROWS 2000

/* Says what has changed, and what to do. */
static void judge(const char *what, const char *unit, uint64_t before, uint64_t slack, uint64_t now)
{
    harness_note("%s: %llu %s for 100, as it was: %llu", what, (unsigned long long)now, unit,
                 (unsigned long long)before);
    if (now * 100 > before * (100 + slack)) {
        fail("%s took %llu %s for 100 of it, and takes %llu now, more than the %llu %% that are "
             "let pass; make it shorter, or raise the figure in tests/guard/limits.def and say "
             "why in the commit",
             what, (unsigned long long)before, unit, (unsigned long long)now,
             (unsigned long long)slack);
    }
    if (now * 100 < before * (100 - slack)) {
        fail("%s took %llu %s for 100 of it, and takes only %llu now; lower the figure in "
             "tests/guard/limits.def, or it watches nothing",
             what, (unsigned long long)before, unit, (unsigned long long)now);
    }
}

static int heard_number(int fd)
{
    char text[16] = "";
    expect_call(read(fd, text, sizeof(text) - 1) > 0);
    return atoi(text); /* NOLINT(cert-err34-c): the subject's own */
}

/* Whose figure it is. */
enum whose { OF_PROGRAM, OF_SERVER };

/* In the process that becomes the daemon. */
static void preload_clock(void)
{
    expect_call(setenv("LD_PRELOAD", GUARD_CLOCK, 1) == 0);
}

static void guard_operation(const char *what, enum whose whose, enum counted counted,
                            uint64_t before, uint64_t slack)
{
    static const char *const units[] = {"", "instructions", "system calls"};
    const char *const preload = strstr(what, "alloc_") != NULL ? GUARD_PRELOAD : NULL;
    const char *const argv[] = {GUARD_SUBJECT, what, NULL};
    struct traced server = {.pid = 0};
    int out[2];
    /* What the server does by itself, some time later or from time to time, is no operation's. */
    const bool by_steps = whose == OF_SERVER && counted == COUNT_INSTRUCTIONS;
    daemon_start_as(&(struct daemon_setting){.prepare = by_steps ? preload_clock : NULL},
                    OPTIONS("--size", "128MiB", "--scrub=off", "--watchdog=0",
                            whose == OF_SERVER ? "--hugepages=no" : NULL));
    expect_call(pipe(out) == 0);
    struct traced program =
        traced_start(argv, preload, out[1], whose == OF_PROGRAM ? counted : COUNT_NOTHING);
    traced_go_on(&program, NULL, false);
    const int n = heard_number(out[0]);
    if (whose == OF_SERVER) {
        server = traced_server(daemon_server_pid(), counted);
    } else if (counted == COUNT_INSTRUCTIONS) {
        traced_find(&program, "/libkmem");
    }
    struct traced *const watched = whose == OF_SERVER ? &server : &program;
    uint64_t counts[2];
    for (size_t i = 0; i < 2; i++) {
        traced_go_on(&program, server.pid != 0 ? &server : NULL, true);
        counts[i] = watched->count;
    }
    if (whose == OF_SERVER) {
        traced_release(&server);
    }
    traced_go_on(&program, NULL, false);
    (void)close(out[0]);
    (void)close(out[1]);
    const uint64_t own = n > 0 ? counts[1] - counts[0] : counts[0] - counts[1];
    const uint64_t ways = counted == COUNT_CALLS ? 2 : 1;
    judge(what, units[counted], before, slack, own * 100 / ways / (uint64_t)abs(n));
    daemon_stop();
}

static void hold_rows(const void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < N_ROWS; i++) {
        expect_call(kmem_try_allocate(64, "row") != NULL);
    }
    client_pause();
}

static void guard_command(const char *what, uint64_t before, uint64_t slack)
{
    const char *const argv[] = {harness_program("kmemctl"), what, NULL};
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_rows, NULL);
    FILE *const nowhere = fopen("/dev/null", "we");
    expect_call(nowhere != NULL);
    struct traced command = traced_start(argv, NULL, fileno(nowhere), COUNT_CALLS);
    traced_go_on(&command, NULL, true);
    (void)fclose(nowhere);
    judge(what, "system calls", before, slack, command.count * 100 / 2);
    client_finish(&client);
    daemon_stop();
}

#define GUARD_TEST(name, ...)                                                                      \
    static void name(void)                                                                         \
    {                                                                                              \
        __VA_ARGS__;                                                                               \
    }
#define GUARD_INSTRUCTIONS(what, figure, slack)                                                    \
    GUARD_TEST(test_instructions_##what,                                                           \
               guard_operation(#what, OF_PROGRAM, COUNT_INSTRUCTIONS, figure, slack))
#define GUARD_CALLS(what, figure, slack)                                                           \
    GUARD_TEST(test_calls_##what, guard_operation(#what, OF_PROGRAM, COUNT_CALLS, figure, slack))
#define GUARD_SERVER_INSTRUCTIONS(what, figure, slack)                                             \
    GUARD_TEST(test_server_instructions_##what,                                                    \
               guard_operation(#what, OF_SERVER, COUNT_INSTRUCTIONS, figure, slack))
#define GUARD_SERVER_CALLS(what, figure, slack)                                                    \
    GUARD_TEST(test_server_calls_##what,                                                           \
               guard_operation(#what, OF_SERVER, COUNT_CALLS, figure, slack))
#define GUARD_COMMAND(what, figure, slack)                                                         \
    GUARD_TEST(test_command_calls_##what, guard_command(#what, figure, slack))
#include "tests/guard/limits.def"
#undef GUARD_INSTRUCTIONS
#undef GUARD_CALLS
#undef GUARD_SERVER_INSTRUCTIONS
#undef GUARD_SERVER_CALLS
#undef GUARD_COMMAND

#define GUARD_INSTRUCTIONS(what, figure, slack) SYSTEM_TEST(test_instructions_##what, 10),
#define GUARD_CALLS(what, figure, slack) SYSTEM_TEST(test_calls_##what, 10),
#define GUARD_SERVER_INSTRUCTIONS(what, figure, slack)                                             \
    SYSTEM_TEST(test_server_instructions_##what, 10),
#define GUARD_SERVER_CALLS(what, figure, slack) SYSTEM_TEST(test_server_calls_##what, 10),
#define GUARD_COMMAND(what, figure, slack) SYSTEM_TEST(test_command_calls_##what, 10),

static const struct system_test tests[] = {
#include "tests/guard/limits.def"
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
