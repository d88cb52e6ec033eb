/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/options.h"

KMEM_NORETURN static void child_become(int exe_fd, struct inherited_fds *files, char **argv,
                                       pid_t keeper)
{
    sigset_t none;
    /* A signal to the whole group, a terminal's say, means the keeper. */
    (void)signal(SIGTERM, SIG_IGN);              /* fails for numbers that are no signal only */
    (void)signal(SIGINT, SIG_IGN);               /* likewise */
    (void)signal(SIGHUP, SIG_IGN);               /* likewise */
    (void)sigemptyset(&none);                    /* can not fail */
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* likewise */
    /* If the keeper ends, the server ends, wherever it is. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == keeper) {
        const int r = inherited_fds_exec(files, exe_fd, argv);
        log_error("cannot start the server: %s", strerror(-r));
    }
    _exit(EXIT_SYSTEM);
}

int child_start(int exe_fd, char **argv, struct inherited_fds *files, int *place,
                struct child *ret_child)
{
    int ends[2];
    const pid_t self = getpid();
    const int r = control_pair(ends);
    if (r) {
        return r;
    }
    const pid_t pid = fork();
    if (pid == 0) {
        *place = ends[1];
        child_become(exe_fd, files, argv, self);
    }
    const int error = errno;
    (void)close(ends[1]); /* the child has its own */
    const int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid < 0 || pidfd < 0) {
        const int why = pid < 0 ? error : errno;
        if (pid > 0) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0); /* the keeper's, and dead */
        }
        (void)close(ends[0]); /* no process is at the other end */
        return -why;
    }
    *ret_child = (struct child){pid, pidfd, ends[0]};
    return 0;
}

void child_kill(const struct child *child)
{
    if (child->pid != 0) {
        (void)kill(child->pid, SIGKILL); /* not yet waited for: it can not be another process */
    }
}

int child_wait(struct child *child)
{
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    (void)close(child->pidfd);      /* nothing is written through it */
    (void)close(child->control_fd); /* likewise */
    *child = CHILD_NONE;
    return status;
}

void child_reap_others(const struct child *one, const struct child *other)
{
    siginfo_t ended = {.si_pid = 0};
    while (getpid() == 1 && waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid != 0 && ended.si_pid != one->pid && ended.si_pid != other->pid) {
        (void)waitpid(ended.si_pid, NULL, WNOHANG); /* it has ended */
        ended.si_pid = 0;
    }
}

const char *child_describe_end(int status, char *buffer, size_t buffer_bytes)
{
    if (WIFSIGNALED(status)) {
        (void)snprintf(buffer, buffer_bytes, "was killed by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status))); /* too long: cut */
    } else {
        (void)snprintf(buffer, buffer_bytes, "ended with status %d",
                       WEXITSTATUS(status)); /* fits */
    }
    return buffer;
}
