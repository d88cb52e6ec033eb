/* SPDX-License-Identifier: MIT */
#include "client/ctl/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/preload.h"

/* Tells the parent through the pipe why exec failed; if it does not, the pipe just closes. */
__attribute__((noreturn)) static void become_program(char **argv, const char *preload,
                                                     const char *socket_path,
                                                     const struct signals *signals, int failure)
{
    int error;
    if (setenv("KMEM_SOCKET", socket_path, 1) == 0 && (!preload || preload_set(preload))) {
        signals_restore(signals);
        (void)execvp(argv[0], argv);
    }
    error = errno;
    (void)!write(failure, &error, sizeof(error)); /* a parent that is gone needs no telling */
    _exit(EXIT_FAILURE);
}

int program_start(char **argv, const char *preload, const struct private_daemon *private,
                  const struct signals *signals, pid_t *ret_pid)
{
    int error = 0;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_program(argv, preload, private_socket(private), signals, ends[1]);
    }
    error = pid < 0 ? errno : 0;
    (void)close(ends[1]);
    if (pid > 0 && read(ends[0], &error, sizeof(error)) == (ssize_t)sizeof(error)) {
        (void)waitpid(pid, NULL, 0);
    }
    (void)close(ends[0]);
    if (error == 0) {
        *ret_pid = pid;
    }
    return -error;
}

static void forward(pid_t pid, struct signal_received received)
{
    /* A key on the terminal has reached the program already: it is in our process group. */
    if (!received.is_terminal_key) {
        (void)kill(pid, received.number); /* ours and not waited for: the pid is still its own */
    }
}

/*
 * Waits for all children that have ended, not only for its own: as the first process of a container
 * kmemctl is the parent of every orphan there. Return: whether the program was among them.
 */
static bool reap(pid_t pid, struct private_daemon *private, int *ret_status)
{
    pid_t ended = 0;
    do {
        ended = waitpid(-1, ret_status, WNOHANG);
        if (ended > 0 && private_check(private, ended)) {
            (void)fputs("kmemctl: the private kmemd has ended; the program's calls fail now\n",
                        stderr);
        }
    } while (ended > 0 && ended != pid);
    return ended == pid;
}

int program_wait(pid_t pid, struct private_daemon *private, const struct signals *signals)
{
    int status = 0;
    while (!reap(pid, private, &status)) {
        struct signal_received received = signals_take(signals, true);
        if (received.number != 0 && received.number != SIGCHLD) {
            forward(pid, received);
        }
    }
    return status;
}

int program_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}
