/* SPDX-License-Identifier: MIT */
/*
 * Forks by other names. They run no handlers, and so have names here, and copy as fork() does:
 *
 *      _Fork()
 *      clone()         of libc; this one and the next on x86-64
 *      syscall()       of SYS_fork, SYS_clone, SYS_clone3: tools of containers
 *
 * With CLONE_VM, as vfork() and posix_spawn() have it, child and parent are to share memory, and
 * do. What a program forks by an instruction of its own has no name to take: block.c notices it.
 *
 * THE CHILD OF clone() begins on a stack that it is given, which may be a block. The copies take
 * the place of blocks while it runs; so it runs where its parent did until they have, and goes to
 * its own stack then, which is a copy as well.
 *
 * WITH CLONE_FILES closing a descriptor in one process closes it in the other. To join is to close
 * what leads to the parent's daemon; so such a child does not, and libc serves it.
 *
 * ALL OTHER SYSTEM CALLS are jumped to, not called: this file is compiled with sibling calls, as
 * dlopen.c is. One that is to return twice, or on another stack, finds the stack as the program
 * left it.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "client/malloc/block.h"
#include "client/malloc/fork.h"
#include "client/malloc/next.h"

#define EXPORT __attribute__((visibility("default")))

typedef pid_t (*fork_function)(void);

#ifdef __x86_64__

/* 4 KiB: makecontext() is told of a stack by both ends, and uses the upper one. */
#define STACK_BYTES 4096

typedef int (*clone_function)(int (*function)(void *), void *stack, int flags, void *argument, ...);

/*
 * Six of seven: the last is on the caller's stack, if the system call has so many, and stays there
 * when its function is jumped to. To name it would be to store it again, over what may be a futex.
 */
typedef long (*syscall_function)(long number, long a, long b, long c, long d, long e);

EXPORT long syscall_or_copy(long number, long a, long b, long c, long d, long e) __asm__("syscall");

EXPORT int clone_or_copy(int (*function)(void *), void *stack, int flags, void *argument,
                         ...) __asm__("clone");

/* ------------------------------------------------------------------------------ system calls -- */

static struct next next_syscall = {.name = "syscall"};

static syscall_function syscall_next(void)
{
    return (syscall_function)next_get(&next_syscall);
}

/* Whether a child has a copy: it has memory of its own, and begins on its parent's stack. */
static bool is_copied(uint64_t flags, bool has_stack)
{
    return (flags & (CLONE_VM | CLONE_SETTLS)) == 0 && !has_stack && block_can_serve();
}

/* What a program forks with, by a system call. */
struct request {
    uint64_t flags;
    pid_t *child_id;
    bool has_stack;
    bool is_known;
};

/* NOLINTBEGIN(performance-no-int-to-ptr): a system call's */
static struct request request_of(long number, long a, long b, long d)
{
    if (number == SYS_clone) {
        return (struct request){(unsigned long)a, (void *)d, b != 0, true};
    }
    if (number == SYS_fork) {
        return (struct request){0, NULL, false, true};
    }
    if (a != 0 && b >= CLONE_ARGS_SIZE_VER0) { /* SYS_clone3 */
        const struct clone_args *given = (const void *)a;
        return (struct request){given->flags, (void *)given->child_tid, given->stack != 0, true};
    }
    return (struct request){0, NULL, false, false};
}
/* NOLINTEND(performance-no-int-to-ptr) */

/* Without CLONE_CHILD_SETTID: the kernel would write into the parent's block, before it parts. */
static long fork_anonymously(long number, long a, long b, long c, long d, long e)
{
    struct clone_args own;
    if (number == SYS_clone) {
        return syscall_next()(number, a & ~CLONE_CHILD_SETTID, b, c, d, e);
    }
    if (number == SYS_clone3 && (size_t)b <= sizeof(own)) {
        memcpy(&own, (const void *)a, (size_t)b); /* NOLINT(performance-no-int-to-ptr) */
        own.flags &= ~(uint64_t)CLONE_CHILD_SETTID;
        return syscall_next()(number, (long)&own, b, c, d, e);
    }
    return syscall_next()(number, a, b, c, d, e);
}

static void begin_child(const struct request *request)
{
    fork_in_child((request->flags & CLONE_FILES) == 0);
    if ((request->flags & CLONE_CHILD_SETTID) != 0 && request->child_id != NULL) {
        *request->child_id = gettid();
    }
}

__attribute__((noinline)) static long copy_or_jump(long number, long a, long b, long c, long d,
                                                   long e)
{
    const struct request request = request_of(number, a, b, d);
    if (!request.is_known || !is_copied(request.flags, request.has_stack)) {
        return syscall_next()(number, a, b, c, d, e);
    }
    if (!fork_copy()) {
        errno = ENOMEM;
        return -1;
    }
    const long pid = fork_anonymously(number, a, b, c, d, e);
    if (pid == 0) {
        begin_child(&request);
    } else {
        fork_in_parent();
    }
    return pid;
}

long syscall_or_copy(long number, long a, long b, long c, long d, long e)
{
    if (number == SYS_clone || number == SYS_fork || number == SYS_clone3) {
        return copy_or_jump(number, a, b, c, d, e);
    }
    return syscall_next()(number, a, b, c, d, e);
}

/* ----------------------------------------------------------------------------------- clone() -- */

/* Of the child's only thread. */
static _Thread_local struct {
    int (*function)(void *);
    void *argument;
} beginning;

/* As libc ends such a child: nothing of the parent's is flushed or run. */
__attribute__((noreturn)) static void run_child(void)
{
    const int status = beginning.function(beginning.argument);
    for (;;) {
        (void)syscall(SYS_exit, status);
    }
}

__attribute__((noreturn)) static void go_to(void *stack)
{
    ucontext_t context;
    (void)getcontext(&context);
    context.uc_link = NULL;
    context.uc_stack.ss_sp = (unsigned char *)stack - STACK_BYTES;
    context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&context, run_child, 0);
    (void)setcontext(&context);
    _exit(EXIT_FAILURE);
}

static struct next next_clone = {.name = "clone"};

int clone_or_copy(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    va_list rest;
    va_start(rest, argument); /* libc's takes all three as well, whatever the flags are */
    pid_t *parent_id = va_arg(rest, pid_t *);
    void *tls = va_arg(rest, void *);
    pid_t *child_id = va_arg(rest, pid_t *);
    va_end(rest);
    if (function == NULL || stack == NULL || !is_copied((unsigned int)flags, false)) {
        const clone_function next = (clone_function)next_get(&next_clone);
        return next(function, stack, flags, argument, parent_id, tls, child_id);
    }
    const long pid = syscall_or_copy(SYS_clone, (unsigned int)flags, 0, (long)parent_id,
                                     (long)child_id, (long)tls);
    if (pid == 0) {
        beginning.function = function;
        beginning.argument = argument;
        go_to(stack);
    }
    return (int)pid;
}

static void find_others(void)
{
    (void)next_find(&next_syscall);
    (void)next_find(&next_clone);
}

#else

static void find_others(void)
{
}

#endif

/* ----------------------------------------------------------------------------------- _Fork() -- */

static struct next next_fork = {.name = "_Fork"};

/* A signal handler that forks or makes a system call is not to be the first that looks for it. */
__attribute__((constructor)) static void find_early(void)
{
    find_others();
    (void)next_find(&next_fork);
}

EXPORT pid_t _Fork(void)
{
    const fork_function next = (fork_function)next_get(&next_fork);
    if (!fork_copy()) {
        errno = ENOMEM;
        return -1;
    }
    const pid_t pid = next();
    if (pid == 0) {
        fork_in_child(true);
    } else {
        fork_in_parent();
    }
    return pid;
}
