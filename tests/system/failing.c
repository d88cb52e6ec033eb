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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "proto/attributes.h"
#include "tests/system/fault_calls.h"
#include "tests/system/fault_plan.h"

/* What the harness passes first: the line to the supervisor. */
#define GIVEN_FD 3
/* Where it is moved: kmemd has no descriptor there, whose messages the filter would let pass. */
#define LINE_FD 900

KMEM_NORETURN static void give_up(const char *what, int exit_status)
{
    (void)fprintf(stderr, "failing: %s: %s\n", what, strerror(errno));
    _exit(exit_status);
}

/* Return: the number of instructions. */
static unsigned short filter_write(struct sock_filter *code)
{
    unsigned short n = 0;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < fault_n_calls; i++) {
        if (fault_calls[i].error == 0) {
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                     (unsigned)fault_calls[i].number, 0, 1);
            code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        }
    }
    /* The message with which the supervisor gets to know of the filter. */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 0, 3);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             offsetof(struct seccomp_data, args[0]));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LINE_FD, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    return n;
}

static int filter_install(void)
{
    static struct sock_filter code[512];
    const struct sock_fprog filter = {.len = filter_write(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        give_up("PR_SET_NO_NEW_PRIVS", FAULT_NO_FILTER);
    }
    const long fd =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    if (fd < 0) {
        give_up("seccomp", FAULT_NO_FILTER);
    }
    return (int)fd;
}

static void listener_send(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    if (sendmsg(LINE_FD, &message, MSG_NOSIGNAL) != 1) {
        give_up("sendmsg", 1);
    }
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
    if (dup3(GIVEN_FD, LINE_FD, O_CLOEXEC) < 0) {
        give_up("dup3", 1);
    }
    (void)close(GIVEN_FD);
    if (plan_kind() == FAULT_MEMORY) {
        (void)setenv("LD_PRELOAD", variable(FAULT_PRELOAD_VARIABLE), 1);
    } else {
        listener_send(filter_install());
    }
    (void)execv(program, argv);
    give_up(program, 1);
}
