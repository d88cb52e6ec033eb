/* SPDX-License-Identifier: MIT */
#include "tests/guard/traced.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/harness.h"

#define STOPPED_AT_CALL (SIGTRAP | 0x80)
/* Far more than the server of one subject has. */
#define FDS_MAX 256

/* ---------------------------------------------------------------------------------- looking -- */

void traced_find(struct traced *program, const char *path_part)
{
    struct text *text = &program->text;
    char path[64];
    char line[512];
    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)program->pid);
    FILE *const maps = fopen(path, "re");
    expect_call(maps != NULL);
    while (fgets(line, sizeof(line), maps) && text->n_ranges < RANGES_MAX) {
        char *end = line;
        const unsigned long long from = strtoull(line, &end, 16);
        const unsigned long long to = strtoull(end + 1, &end, 16);
        if (strncmp(end, " r-xp", 5) == 0 && strstr(end, path_part)) {
            text->from[text->n_ranges] = from;
            text->to[text->n_ranges++] = to;
        }
    }
    (void)fclose(maps);
    expect_at_least(text->n_ranges, 1);
}

static struct user_regs_struct registers_of(pid_t pid)
{
    struct user_regs_struct registers;
    expect_call(ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0);
    return registers;
}

static bool is_inside(const struct text *text, unsigned long long at)
{
    for (size_t i = 0; i < text->n_ranges; i++) {
        if (at >= text->from[i] && at < text->to[i]) {
            return true;
        }
    }
    return false;
}

static bool is_waiting_call(unsigned long long number)
{
    return number == SYS_epoll_wait || number == SYS_epoll_pwait;
}

/* Whether the server sleeps until something happens. */
static bool is_waiting(pid_t pid)
{
    char path[64];
    char number[32] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
    FILE *const file = fopen(path, "re");
    expect_call(file != NULL);
    (void)fgets(number, sizeof(number), file);
    (void)fclose(file);
    return number[0] >= '0' && number[0] <= '9' && is_waiting_call(strtoull(number, NULL, 10));
}

/* --------------------------------------------------------------------------------- starting -- */

struct traced traced_start(const char *const *argv, const char *preload, int out_fd,
                           enum counted counted)
{
    /* Step by step goes the first thread alone: what another does is not the operation's. */
    const int threads = counted == COUNT_CALLS ? PTRACE_O_TRACECLONE : 0;
    struct traced program = {.pid = fork(), .counted = counted};
    int status = 0;
    if (program.pid == 0) {
        (void)dup2(out_fd, STDOUT_FILENO);
        if (preload) {
            (void)setenv("LD_PRELOAD", preload, 1);
        }
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    expect_call(program.pid > 0 && waitpid(program.pid, &status, 0) == program.pid);
    expect_true(WIFSTOPPED(status));
    expect_call(ptrace(PTRACE_SETOPTIONS, program.pid, NULL,
                       (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | threads)) ==
                0);
    return program;
}

static void server_interrupt(pid_t pid)
{
    int status = 0;
    expect_call(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0);
    expect_call(waitpid(pid, &status, __WALL) == pid);
    expect_true(WIFSTOPPED(status));
}

static void traced_resume(const struct traced *traced, pid_t pid, bool counts, int signal_number)
{
    static const enum __ptrace_request requests[] = {PTRACE_CONT, PTRACE_SINGLESTEP,
                                                     PTRACE_SYSCALL};
    const enum counted counted = counts ? traced->counted : COUNT_NOTHING;
    if (ptrace(requests[counted], pid, NULL, (void *)(uintptr_t)signal_number) != 0) {
        expect_true(pid != traced->pid); /* a thread may end at any moment */
    }
}

/* It is let go on, whatever it was. */
static void server_stopped(struct traced *server, int status)
{
    const int why = WSTOPSIG(status);
    const bool is_event = status >> 16 != 0; /* PTRACE_EVENT_STOP: it is being traced */
    const bool is_step = !is_event && why == SIGTRAP;
    const bool is_call = !is_event && why == STOPPED_AT_CALL;
    server->count +=
        is_call || (is_step && is_inside(&server->text, registers_of(server->pid).rip));
    traced_resume(server, server->pid, true, is_event || is_step || is_call ? 0 : why);
}

/* Lets the server run until it waits: the program stands still, so nothing comes. */
static void server_settle(struct traced *server)
{
    while (true) {
        int status = 0;
        const bool waits = is_waiting(server->pid);
        const pid_t pid = waitpid(server->pid, &status, __WALL | WNOHANG);
        expect_true(pid >= 0);
        if (pid == server->pid) {
            expect_true(WIFSTOPPED(status));
            server_stopped(server, status);
        } else if (waits) {
            return; /* nor has it stopped at its wait's beginning or end, which looks the same */
        } else {
            (void)sched_yield();
        }
    }
}

/* Its clock rings ten times a second, and what it then does is no operation's. */
static void clock_stop(pid_t pid)
{
    static const struct itimerspec never;
    const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    expect_call(pidfd >= 0);
    for (int of_server = 0; of_server < FDS_MAX; of_server++) {
        char path[64];
        char target[64] = "";
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, of_server);
        if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "[timerfd]")) {
            const int fd = (int)syscall(SYS_pidfd_getfd, pidfd, of_server, 0);
            expect_call(fd >= 0);
            expect_call(timerfd_settime(fd, 0, &never, NULL) == 0);
            (void)close(fd);
        }
    }
    (void)close(pidfd);
}

struct traced traced_server(pid_t pid, enum counted counted)
{
    struct traced server = {.pid = pid, .counted = counted};
    expect_call(
        ptrace(PTRACE_SEIZE, pid, NULL, (void *)(uintptr_t)(unsigned)PTRACE_O_TRACESYSGOOD) == 0);
    server_interrupt(pid);
    traced_find(&server, "/kmemd");
    clock_stop(pid);
    traced_resume(&server, pid, true, 0);
    server_settle(&server);
    return server;
}

void traced_release(struct traced *server)
{
    server_interrupt(server->pid);
    expect_call(ptrace(PTRACE_DETACH, server->pid, NULL, NULL) == 0);
}

/* --------------------------------------------------------------------------------- counting -- */

/* A stop of the program, or of a thread of it. Return: the signal that it is to get; 0: none. */
static int program_stopped(struct traced *program, pid_t pid, int why)
{
    if (why == STOPPED_AT_CALL) {
        program->count += registers_of(pid).orig_rax != SYS_futex;
        return 0;
    }
    if (why == SIGTRAP) {
        program->count +=
            program->text.n_ranges > 0 && is_inside(&program->text, registers_of(pid).rip);
        return 0;
    }
    return why == SIGSTOP ? 0 : why; /* a thread begins with that one */
}

/* Return: whether the program has stopped itself, or ended. */
static bool program_goes_on(struct traced *program, pid_t pid, int status, bool counts)
{
    if (pid == program->pid && !WIFSTOPPED(status)) {
        expect_true(WIFEXITED(status));
        expect_equal(WEXITSTATUS(status), 0);
        return false;
    }
    if (pid == program->pid && WSTOPSIG(status) == SIGSTOP) {
        return false;
    }
    if (WIFSTOPPED(status)) { /* else a thread has ended */
        traced_resume(program, pid, counts, program_stopped(program, pid, WSTOPSIG(status)));
    }
    return true;
}

void traced_go_on(struct traced *program, struct traced *server, bool counts)
{
    bool goes_on = true;
    program->count = 0;
    if (server) {
        server->count = 0;
    }
    traced_resume(program, program->pid, counts, 0);
    while (goes_on) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, __WALL);
        expect_call(pid > 0);
        if (server && pid == server->pid) {
            server_stopped(server, status);
        } else {
            goes_on = program_goes_on(program, pid, status, counts);
        }
    }
    if (server) {
        server_settle(server);
    }
}
