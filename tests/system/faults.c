/* SPDX-License-Identifier: MIT */
/*
 * faults.c - the supervisor of kmemd's system calls
 *
 *      test ── arms ──► plan ◄── counts ── supervisor ◄── each call ── kmemd, its server, ...
 *        └── answers of kmemd ──────────────────────────── let it pass, or an errno ──►
 *
 * The supervisor is a process of its own, since the test is busy talking to the daemon whose calls
 * wait for it. failing.c becomes kmemd and sends it the filter's descriptor; when the last process
 * under the filter has ended, so does the supervisor.
 *
 * Counted is what comes after main() has begun to do something: it ignores SIGPIPE, which is the
 * mark. Before, the loader's calls fail as those of every program would. An exec by what is counted
 * makes another program, a server, which is not counted until it reaches the mark.
 *
 * Memory needs no supervisor; the plan is then counted up by failing_memory.c.
 */
#include "tests/system/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/seccomp.h>

#include "tests/system/fault_calls.h"
#include "tests/system/fault_filter.h"
#include "tests/system/harness.h"

static struct fault_plan *plan;
static pid_t supervisor;
static bool supervises_client;

/* --------------------------------------------------------------------- the supervisor ---- */

/* 65,536: a daemon of a test makes some hundreds; one that comes so much later takes the place. */
#define N_TASKS 65536

/* A thread of kmemd, by its number modulo N_TASKS. */
struct task {
    pid_t tid;
    pid_t pid;
    enum fault_role role;
    bool counted; /* its main() has begun */
};

static struct task tasks[N_TASKS];

static pid_t process_of(pid_t tid)
{
    char path[64];
    char text[512] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    const char *const line = n > 0 ? strstr(text, "\nTgid:") : NULL;
    return line ? (pid_t)strtol(line + strlen("\nTgid:"), NULL, 10) : tid;
}

/* A thread is what its process is; a new process is still the keeper's, but for the first. */
static struct task *task_get(pid_t tid)
{
    static bool first_is_there;
    struct task *const task = &tasks[tid % N_TASKS];
    if (task->tid == tid) {
        return task;
    }
    const pid_t pid = process_of(tid);
    const struct task *const process = &tasks[pid % N_TASKS];
    const bool is_thread = process->tid == pid;
    *task = (struct task){
        .tid = tid,
        .pid = pid,
        .role = is_thread ? process->role : FAULT_KEEPER,
        .counted = is_thread ? process->counted : first_is_there,
    };
    first_is_there = true;
    return task;
}

/*
 * A bell is heard where poll has announced it. libuv wakes itself through an event counter and a
 * pipe, which is never full.
 */
static bool is_bell(pid_t pid, uint64_t fd)
{
    char path[64];
    char target[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fd);
    (void)!readlink(path, target, sizeof(target) - 1);
    return strcmp(target, "anon_inode:[eventfd]") == 0 ||
           strcmp(target, "anon_inode:[signalfd]") == 0 || strncmp(target, "pipe:", 5) == 0;
}

/* The kernel need not remember a descriptor twice. */
static bool is_polled_already(pid_t pid, uint64_t epoll_fd, uint64_t fd)
{
    char path[64];
    char line[256];
    bool found = false;
    (void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, (int)epoll_fd);
    FILE *const file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        found = strncmp(line, "tfd:", 4) == 0 && strtoull(line + 4, NULL, 10) == fd;
    }
    if (file) {
        (void)fclose(file);
    }
    return found;
}

/* Whether the call may fail with these arguments. */
static bool may_fail(const struct task *task, const struct seccomp_data *data)
{
    switch (data->nr) {
    case SYS_mmap:
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_sched_getaffinity:
        return !HARNESS_SANITIZED; /* most are the sanitizer's, which ends if they fail */
    case SYS_epoll_ctl:
        return data->args[1] == EPOLL_CTL_ADD &&
               !is_polled_already(task->pid, data->args[0], data->args[2]);
    case SYS_write:
        /* From its stdout, a pipe as well, the test learns that it is ready. */
    case SYS_read:
        return !is_bell(task->pid, data->args[0]);
    default:
        return true;
    }
}

/*
 * Whether it may fail again and again. Of a client mprotect() may not: if one is refused the
 * library opens all of the segment with another, which needs no mapping that the process has not.
 */
static bool may_last(const struct fault_call *call)
{
    return call->error != EINTR && !(supervises_client && call->number == SYS_mprotect);
}

/* What a call is answered with: 0, it passes, or an errno. */
static int call_judge(struct task *task, const struct seccomp_data *data)
{
    if (!task->counted) {
        task->counted = data->nr == SYS_rt_sigaction && data->args[0] == SIGPIPE;
        return 0;
    }
    const struct fault_call *const call = fault_call_find(data->nr);
    if (!call && data->nr != SYS_rt_sigaction) {
        atomic_store(&plan->unknown, (uint32_t)data->nr + 1);
    }
    if (call && may_fail(task, data) &&
        fault_plan_count(plan, task->role, (uint32_t)data->nr, may_last(call))) {
        return call->error;
    }
    if (data->nr == SYS_execve || data->nr == SYS_execveat) {
        task->counted = false;
        task->role = FAULT_SERVER;
    }
    return 0;
}

static void answer_call(int fd)
{
    static struct seccomp_notif call;
    memset(&call, 0, sizeof(call));
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
        return; /* who called was killed */
    }
    const int error = call_judge(task_get((pid_t)call.pid), &call.data);
    struct seccomp_notif_resp answer = {
        .id = call.id,
        .error = -error,
        .flags = error == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0,
    };
    (void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer); /* likewise */
}

/* The filter's descriptor. Return: -1 if none comes: it is memory that fails. */
static int listener_receive(int line_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    int fd = -1;
    if (recvmsg(line_fd, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message)) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    }
    return fd;
}

KMEM_NORETURN static void supervise(int line_fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd calls = {.fd = listener_receive(line_fd), .events = POLLIN};
    while (calls.fd >= 0 && poll(&calls, 1, -1) == 1 && !(calls.revents & POLLHUP)) {
        answer_call(calls.fd);
    }
    _exit(0);
}

/* ------------------------------------------------------------------------ for the test ---- */

void faults_begin(enum fault_kind kind)
{
    const char *const path = harness_path("faults");
    const char *const given = getenv("ASAN_OPTIONS");
    char options[512];
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    expect_call(fd >= 0 && ftruncate(fd, sizeof(*plan)) == 0);
    expect_call(fchmod(fd, 0666) == 0); /* kmemd may have a user of its own */
    plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expect_call(plan != MAP_FAILED);
    (void)close(fd);
    plan->fault.kind = kind;
    daemon_expect_crashes(); /* a server that can not go on ends */
    /* What LeakSanitizer does at the end would be counted. */
    (void)snprintf(options, sizeof(options), "%s:detect_leaks=0", given != NULL ? given : "");
    (void)setenv("ASAN_OPTIONS", options, 1);
    (void)setenv(FAULT_PLAN_VARIABLE, path, 1);
    (void)setenv(FAULT_PROGRAM_VARIABLE, harness_program("kmemd"), 1);
    (void)setenv(FAULT_PRELOAD_VARIABLE, harness_program("failing_memory.so"), 1);
}

void faults_arm(const struct fault *fault)
{
    expect_equal(fault->kind, plan->fault.kind);
    atomic_store(&plan->armed, 0);
    plan->fault = *fault;
    atomic_store(&plan->n_calls, 0);
    atomic_store(&plan->n_failed, 0);
    atomic_store(&plan->armed, 1);
}

struct fault_plan *faults_plan(void)
{
    return plan;
}

unsigned int faults_n_failed(void)
{
    return atomic_load(&plan->n_failed);
}

struct faults_seen faults_disarm(void)
{
    atomic_store(&plan->armed, 0);
    struct faults_seen seen = {
        .n_calls = atomic_load(&plan->n_calls),
        .n_failed = atomic_load(&plan->n_failed),
        .name = "",
    };
    if (seen.n_failed > 0) {
        const struct fault_call *const call = fault_call_find((int)atomic_load(&plan->number));
        seen.name = call ? call->name : "malloc";
    }
    const uint32_t unknown = atomic_load(&plan->unknown);
    if (unknown != 0) {
        fail("system call %u is not in fault_calls.c", unknown - 1);
    }
    return seen;
}

/* Return: the line to it, for what it is to supervise. */
static int supervisor_start(void)
{
    int line_fds[2];
    expect_call(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line_fds) == 0);
    (void)fflush(NULL);
    supervisor = fork();
    expect_call(supervisor >= 0);
    if (supervisor == 0) {
        (void)close(line_fds[1]);
        supervise(line_fds[0]);
    }
    (void)close(line_fds[0]);
    return line_fds[1];
}

bool faults_start(const char *const *options, struct daemon_end *ret_end)
{
    const int line_fd = supervisor_start();
    const struct daemon_setting setting = {
        .program = harness_program("failing"),
        .fds = &line_fd,
        .n_fds = 1,
        .fd_names = "faults",
    };
    const bool is_ready = daemon_try_start(&setting, options, ret_end);
    (void)close(line_fd);
    if (!is_ready) {
        faults_end();
    }
    if (!is_ready && ret_end->exit_status == FAULT_NO_FILTER) {
        harness_skip("no seccomp filter with a supervisor can be made here: %s", ret_end->log);
    }
    return is_ready;
}

/* In the client: the mark, from which on its calls are counted, is what kmemd has for one. */
KMEM_NORETURN static void client_become(int line_fd, void (*run)(const void *),
                                        const void *argument)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (plan->fault.kind == FAULT_CALL && fault_filter_enter(line_fd) < 0) {
        _exit(FAULT_NO_FILTER);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    run(argument);
    exit(0);
}

void faults_run_client(void (*run)(const void *argument), const void *argument)
{
    supervises_client = true;
    const int line_fd = supervisor_start();
    int status = 0;
    (void)fflush(NULL);
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        client_become(line_fd, run, argument);
    }
    (void)close(line_fd);
    expect_call(waitpid(pid, &status, 0) == pid);
    faults_end();
    if (WIFEXITED(status) && WEXITSTATUS(status) == FAULT_NO_FILTER) {
        harness_skip("no seccomp filter with a supervisor can be made here");
    }
    if (status != 0) {
        fail("the client ended with wait status 0x%x", (unsigned int)status);
    }
}

void faults_end(void)
{
    expect_call(waitpid(supervisor, NULL, 0) == supervisor);
}

void faults_stop(void)
{
    daemon_stop();
    faults_end();
}
