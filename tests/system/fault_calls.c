/* SPDX-License-Identifier: MIT */
#include "tests/system/fault_calls.h"

#include <errno.h>
#include <sys/syscall.h>

#define FAILS(name, error)                                                                         \
    {                                                                                              \
        SYS_##name, error, #name                                                                   \
    }
/* Without an argument that is wrong it does not fail, or not so that anything were undone. */
#define DOES_NOT_FAIL(name) FAILS(name, 0)

const struct fault_call fault_calls[] = {
    /* Descriptors run out. */
    FAILS(accept4, EMFILE),
    FAILS(dup3, EMFILE),
    FAILS(epoll_create1, EMFILE),
    FAILS(eventfd2, EMFILE),
    FAILS(fcntl, EMFILE),
    FAILS(inotify_init1, EMFILE),
    FAILS(memfd_create, EMFILE),
    FAILS(openat, EMFILE),
    FAILS(pidfd_open, EMFILE),
    FAILS(pipe2, EMFILE),
    FAILS(signalfd4, EMFILE),
    FAILS(socket, EMFILE),
    FAILS(socketpair, EMFILE),
    FAILS(timerfd_create, EMFILE),
    /* Memory, processes, and what else the kernel has so many of. */
    FAILS(clone, EAGAIN),
    FAILS(clone3, EAGAIN),
    FAILS(execve, ENOMEM),
    FAILS(execveat, ENOMEM),
    FAILS(epoll_ctl, ENOSPC),
    FAILS(flock, ENOLCK),
    FAILS(getdents64, ENOMEM),
    FAILS(getsockopt, ENOBUFS),
    FAILS(inotify_add_watch, ENOSPC),
    FAILS(madvise, ENOMEM),
    FAILS(mincore, EAGAIN),
    FAILS(mlock2, ENOMEM),
    FAILS(mmap, ENOMEM),
    FAILS(mprotect, ENOMEM),
    FAILS(mremap, ENOMEM),
    FAILS(newfstatat, ENOMEM),
    FAILS(ppoll, ENOMEM),
    FAILS(readlinkat, ENOMEM),
    FAILS(recvfrom, ENOMEM),
    FAILS(recvmsg, ENOMEM),
    FAILS(sendmsg, ENOBUFS),
    FAILS(sendto, ENOBUFS),
    FAILS(setsockopt, ENOBUFS),
    FAILS(statx, ENOMEM),
    /* Files. */
    FAILS(bind, EADDRINUSE),
    FAILS(connect, ENOMEM),
    FAILS(fallocate, ENOSPC),
    FAILS(fchmod, EPERM),
    FAILS(fchmodat, EPERM),
    FAILS(fchownat, EPERM),
    FAILS(fstat, ENOMEM),
    FAILS(fstatfs, ENOMEM),
    FAILS(ftruncate, EPERM),
    FAILS(ioctl, ENOMEM),
    FAILS(listen, EADDRINUSE),
    FAILS(mkdirat, ENOSPC),
    FAILS(pread64, EIO),
    FAILS(pwrite64, EIO),
    FAILS(pwritev2, EIO),
    FAILS(read, EIO),
    FAILS(readv, EIO),
    FAILS(unlinkat, EROFS),
    FAILS(write, EIO),
    FAILS(writev, EIO),
    /* A sandbox. */
    FAILS(getrandom, EPERM),
    FAILS(membarrier, EPERM),
    FAILS(prlimit64, EPERM),
    FAILS(sched_getaffinity, EPERM),
    FAILS(sysinfo, EPERM),
    FAILS(uname, EPERM),
    /* A signal comes. */
    FAILS(clock_nanosleep, EINTR),
    FAILS(epoll_pwait, EINTR),
    FAILS(wait4, EINTR),
/* Those that newer architectures do without. */
#ifdef SYS_open
    FAILS(access, ENOMEM),
    FAILS(chmod, EPERM),
    FAILS(chown, EPERM),
    FAILS(dup2, EMFILE),
    FAILS(epoll_wait, EINTR),
    FAILS(fork, EAGAIN),
    FAILS(lstat, ENOMEM),
    FAILS(mkdir, ENOSPC),
    FAILS(open, EMFILE),
    FAILS(poll, ENOMEM),
    FAILS(readlink, ENOMEM),
    FAILS(stat, ENOMEM),
    FAILS(unlink, EROFS),
    FAILS(vfork, EAGAIN),
    DOES_NOT_FAIL(arch_prctl),
    DOES_NOT_FAIL(getpgrp),
    DOES_NOT_FAIL(time),
#endif
    DOES_NOT_FAIL(brk), /* malloc() would believe what seccomp can say */
    DOES_NOT_FAIL(clock_gettime),
    DOES_NOT_FAIL(clock_getres),
    DOES_NOT_FAIL(close), /* EINTR and EIO come after it is done */
    DOES_NOT_FAIL(close_range),
    DOES_NOT_FAIL(exit),
    DOES_NOT_FAIL(exit_group),
    DOES_NOT_FAIL(futex),
    DOES_NOT_FAIL(getegid),
    DOES_NOT_FAIL(geteuid),
    DOES_NOT_FAIL(getgid),
    DOES_NOT_FAIL(getpid),
    DOES_NOT_FAIL(getppid),
    DOES_NOT_FAIL(gettid),
    DOES_NOT_FAIL(getuid),
    DOES_NOT_FAIL(gettimeofday),
    DOES_NOT_FAIL(kill),
    DOES_NOT_FAIL(lseek),
    DOES_NOT_FAIL(munlock),
    DOES_NOT_FAIL(munmap),
    DOES_NOT_FAIL(nanosleep),
    DOES_NOT_FAIL(prctl),
    DOES_NOT_FAIL(ptrace), /* a sanitizer's */
    DOES_NOT_FAIL(restart_syscall),
    DOES_NOT_FAIL(rseq),
    DOES_NOT_FAIL(rt_sigprocmask),
    DOES_NOT_FAIL(rt_sigreturn),
    DOES_NOT_FAIL(sched_yield),
    DOES_NOT_FAIL(set_robust_list),
    DOES_NOT_FAIL(set_tid_address),
    DOES_NOT_FAIL(sigaltstack),
    DOES_NOT_FAIL(tgkill),
    DOES_NOT_FAIL(timerfd_settime), /* of a timer's own descriptor, with a time that is one */
    DOES_NOT_FAIL(umask),
};
const size_t fault_n_calls = sizeof(fault_calls) / sizeof(fault_calls[0]);

const struct fault_call *fault_call_find(int number)
{
    for (size_t i = 0; i < fault_n_calls; i++) {
        if (fault_calls[i].number == number) {
            return &fault_calls[i];
        }
    }
    return NULL;
}
