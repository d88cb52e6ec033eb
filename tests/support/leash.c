/* SPDX-License-Identifier: MIT */
/*
 * leash.c - a test, and all that it has started, end with the ctest that runs it
 *
 *      leash COMMAND [ARGUMENT...]
 *
 *      ctest
 *        └── leash ── is killed with ctest, or by it when the test's time is over
 *              └── the guard ── subreaper: whatever is orphaned below it is its child
 *                    └── the test ── a program, or a script that waits for what may never come
 *                          └── kmemd, clients, ...
 *
 * The guard outlives both others: if leash is gone it says so and kills what is there, until there
 * is nothing. Kernels know to kill one process with its parent (PR_SET_PDEATHSIG), not all below
 * it, and a script can not ask for that. What a test that has failed leaves is killed as well; what
 * one that has passed leaves is left alone: the test's own harness looks.
 *
 * Exit status: the test's; a shell's for a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_NOT_RUN 127 /* as a shell has it */
#define SIGNAL_STATUS 128

/* With the parent, even if that has ended by now. */
static void end_with(pid_t parent, int signal_number)
{
    if (prctl(PR_SET_PDEATHSIG, signal_number) < 0 || getppid() != parent) {
        _exit(EXIT_NOT_RUN);
    }
}

static int exit_status_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNAL_STATUS + WTERMSIG(status);
}

/* Whoever is orphaned by that is a child of this process, and the next to be killed. */
static void kill_children(void)
{
    char path[64];
    char pids[4096] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, pids, sizeof(pids) - 1) < 0) {
        perror(path);
        _exit(EXIT_NOT_RUN);
    }
    (void)close(fd);
    char *at = pids;
    for (long pid = strtol(at, &at, 10); pid > 0; pid = strtol(at, &at, 10)) {
        (void)kill((pid_t)pid, SIGKILL);
    }
}

static void kill_all(void)
{
    do {
        kill_children();
    } while (waitpid(-1, NULL, 0) > 0);
}

/* Until the test has ended. Return: its exit status, or -1 if leash has ended before. */
static int await(pid_t test, const sigset_t *signals)
{
    int signal_number = 0;
    while (signal_number != SIGTERM) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == test) {
            return exit_status_of(status);
        }
        if (pid == 0) {
            (void)sigwait(signals, &signal_number); /* fails for wrong sets only */
        }
    }
    return -1;
}

static void guard(char **argv)
{
    sigset_t signals;
    sigset_t former;
    /* Beside those two what a terminal sends to all, and what a pipe sends that ctest has left. */
    const int awaited[] = {SIGTERM, SIGCHLD, SIGINT, SIGQUIT, SIGHUP, SIGPIPE};
    (void)sigemptyset(&signals);
    for (size_t i = 0; i < sizeof(awaited) / sizeof(awaited[0]); i++) {
        (void)sigaddset(&signals, awaited[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &signals, &former);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t self = getpid();
    const pid_t test = fork();
    if (test == 0) {
        (void)sigprocmask(SIG_SETMASK, &former, NULL);
        end_with(self, SIGKILL);
        (void)execvp(argv[0], argv);
        perror(argv[0]);
        _exit(EXIT_NOT_RUN);
    }
    const int status = test > 0 ? await(test, &signals) : EXIT_NOT_RUN;
    if (status < 0) {
        (void)fprintf(stderr, "leash: ctest is gone, and %s with it\n", argv[0]);
    }
    if (status != 0) {
        kill_all();
    }
    _exit(status < 0 ? EXIT_NOT_RUN : status);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: leash COMMAND [ARGUMENT...]\n");
        return EXIT_NOT_RUN;
    }
    const pid_t ctest = getppid();
    const pid_t self = getpid();
    end_with(ctest, SIGKILL);
    const pid_t pid = fork();
    if (pid == 0) {
        end_with(self, SIGTERM);
        guard(argv + 1);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return EXIT_NOT_RUN;
        }
    }
    return exit_status_of(status);
}
