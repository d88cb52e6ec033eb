/* SPDX-License-Identifier: MIT */
/*
 * The private daemon: a temporary directory, a child process, a pipe that tells when it is ready.
 *
 * Three things must hold however kmemctl ends. The daemon must not outlive it: the child asks the
 * kernel for SIGTERM at its parent's death before it becomes kmemd. A Ctrl-C must not reach the
 * daemon before the program is done: the child is in a session of its own. And nothing may be left
 * in /tmp: the directory is removed after the daemon has ended. Only if kmemctl is killed with
 * SIGKILL an empty directory stays; a second process that waits for that would itself be what is
 * left behind when it is killed.
 *
 * It is ready when it says so: kmemd prints one line on its standard output. Nothing is polled.
 */
#include "client/ctl/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/image.h"
#include "client/ctl/process.h"

/* The segment's name: what /proc/PID/maps and the daemon's log show. */
#define SEGMENT_NAME "run"
#define TEMPLATE "kmemctl-XXXXXX"
#define SOCKET_NAME SEGMENT_NAME ".sock"

/* An orderly end takes milliseconds; a daemon that hangs is not waited for. */
#define END_TIMEOUT_MS 5000

struct private_daemon {
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    pid_t pid; /* 0: none, or waited for already */
    int ready; /* the reading end of its standard output; -1: closed */
};

/* ---------------------------------------------------------------------------- the program ---- */

/*
 * kmemd beside kmemctl belongs to the same build, so it comes before the one in $PATH. $KMEMD is
 * the user's decision and comes before both. Return: its path, which may be in the buffer; or NULL.
 */
static const char *find_kmemd(char *buffer, size_t capacity_bytes)
{
    const char *chosen = getenv("KMEMD");
    if (chosen && *chosen) {
        if (access(chosen, X_OK) == 0) {
            return chosen;
        }
        (void)fprintf(stderr, "kmemctl: $KMEMD is \"%s\", and that is no program\n", chosen);
        return NULL;
    }
    if (image_find_beside("kmemd", X_OK, buffer, capacity_bytes) ||
        image_find_beside("../sbin/kmemd", X_OK, buffer, capacity_bytes) ||
        image_find("kmemd", buffer, capacity_bytes)) {
        return buffer;
    }
    (void)fputs("kmemctl: there is no kmemd beside kmemctl, nor in $PATH; $KMEMD may name it\n",
                stderr);
    return NULL;
}

/* -------------------------------------------------------------------------- the directory ---- */

/* A socket's path is short: a directory that leaves no room for it is passed over. */
static bool try_directory(struct private_daemon *private, const char *parent)
{
    size_t capacity_bytes = sizeof(private->directory) - sizeof(SOCKET_NAME ".lock");
    int n_bytes;
    if (!parent || *parent != '/') {
        return false;
    }
    n_bytes = snprintf(private->directory, capacity_bytes, "%s/" TEMPLATE, parent);
    if (n_bytes < 0 || (size_t)n_bytes >= capacity_bytes || !mkdtemp(private->directory)) {
        *private->directory = '\0';
        return false;
    }
    (void)stpcpy(stpcpy(private->socket_path, private->directory), "/" SOCKET_NAME);
    return true;
}

static int make_directory(struct private_daemon *private)
{
    if (try_directory(private, getenv("XDG_RUNTIME_DIR")) ||
        try_directory(private, getenv("TMPDIR")) || try_directory(private, "/tmp")) {
        return 0;
    }
    int error = errno;
    (void)fprintf(stderr, "kmemctl: cannot make a directory for the socket in /tmp: %s\n",
                  strerror(error));
    return -error;
}

/* Whatever the daemon put there is the daemon's, and it has ended. */
static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    if (!directory) {
        return;
    }
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)unlinkat(dirfd(directory), entry->d_name, 0); /* rmdir tells if one stays */
        }
    }
    (void)closedir(directory);
    if (rmdir(path) < 0) {
        (void)fprintf(stderr, "kmemctl: cannot remove %s: %s\n", path, strerror(errno));
    }
}

/* ------------------------------------------------------------------------------ the child ---- */

__attribute__((noreturn)) static void become_kmemd(const char *path,
                                                   const struct private_daemon *private,
                                                   const struct private_options *options,
                                                   pid_t parent, int ready)
{
    /* Not to be told twice: the parent may have died before the kernel was asked. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent || setsid() < 0 ||
        dup2(ready, STDOUT_FILENO) < 0) {
        _exit(EXIT_FAILURE);
    }
    signals_clear();
    (void)unsetenv("NOTIFY_SOCKET"); /* kmemctl's supervisor does not wait for this kmemd */
    (void)execl(path, "kmemd", "--name", SEGMENT_NAME, "--socket", private->socket_path, "--size",
                options->size, "--commit", options->commit, "--log-level",
                options->verbose ? "info" : "error", (char *)NULL);
    (void)fprintf(stderr, "kmemctl: cannot execute %s: %s\n", path, strerror(errno));
    _exit(EXIT_FAILURE);
}

static int start_child(struct private_daemon *private, const char *path,
                       const struct private_options *options)
{
    pid_t parent = getpid();
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    private->ready = ends[0];
    private->pid = fork();
    int error = errno;
    if (private->pid == 0) {
        become_kmemd(path, private, options, parent, ends[1]);
    }
    (void)close(ends[1]);
    if (private->pid < 0) {
        private->pid = 0;
        return -error;
    }
    return 0;
}

/* ------------------------------------------------------------------------------ readiness ---- */

/* It has closed its standard output without the line: it has ended, or is about to. */
static int ended_early(struct private_daemon *private)
{
    int status;
    if (waitpid(private->pid, &status, 0) != private->pid) {
        return -errno;
    }
    private->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 64 ? PRIVATE_E_USAGE : PRIVATE_E_ENDED;
}

/* Return: 0 at the end of the line, PRIVATE_E_X, -EAGAIN if the line goes on. */
static int read_line(struct private_daemon *private)
{
    char bytes[256];
    ssize_t n_bytes = read(private->ready, bytes, sizeof(bytes));
    if (n_bytes == 0) {
        return ended_early(private);
    }
    if (n_bytes < 0) {
        return errno == EINTR ? -EAGAIN : -errno;
    }
    return memchr(bytes, '\n', (size_t)n_bytes) ? 0 : -EAGAIN;
}

static int await_ready(struct private_daemon *private, const struct signals *signals,
                       int *ret_signal)
{
    struct pollfd readable[] = {
        {.fd = private->ready, .events = POLLIN},
        {.fd = signals->fd, .events = POLLIN},
    };
    int r = -EAGAIN;

    while (r == -EAGAIN) {
        if (poll(readable, 2, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        struct signal_received received = signals_take(signals, false);
        if (received.number != 0 && received.number != SIGCHLD) {
            *ret_signal = received.number;
            return PRIVATE_E_SIGNAL;
        }
        r = readable[0].revents ? read_line(private) : -EAGAIN;
    }
    return r;
}

static int start(struct private_daemon *private, const struct private_options *options,
                 const struct signals *signals, int *ret_signal)
{
    char buffer[PATH_MAX];
    const char *path = find_kmemd(buffer, sizeof(buffer));
    if (!path) {
        return PRIVATE_E_NOT_FOUND;
    }
    int r = make_directory(private);
    r = r ? r : start_child(private, path, options);
    return r == 0 ? await_ready(private, signals, ret_signal) : r;
}

int private_open(const struct private_options *options, const struct signals *signals,
                 struct private_daemon **ret_private, int *ret_signal)
{
    struct private_daemon *private = calloc(1, sizeof(*private));
    if (!private) {
        return -ENOMEM;
    }
    private->ready = -1;
    int r = start(private, options, signals, ret_signal);
    if (r != 0) {
        private_close(private);
        return r;
    }
    (void)close(private->ready); /* one line is all that it prints there */
    private->ready = -1;
    *ret_private = private;
    return 0;
}

/* --------------------------------------------------------------------------------- ending ---- */

static void end_child(pid_t pid)
{
    (void)kill(pid, SIGTERM); /* ours and not waited for: the pid is still its own */
    if (!process_has_ended(pid, END_TIMEOUT_MS)) {
        (void)fputs("kmemctl: the private kmemd does not end; it is killed\n", stderr);
        (void)kill(pid, SIGKILL);
    }
    (void)waitpid(pid, NULL, 0);
}

struct private_daemon *private_close(struct private_daemon *private)
{
    if (!private) {
        return NULL;
    }
    if (private->pid > 0) {
        end_child(private->pid);
    }
    if (private->ready >= 0) {
        (void)close(private->ready);
    }
    if (*private->directory) {
        remove_directory(private->directory);
    }
    free(private);
    return NULL;
}

const char *private_socket(const struct private_daemon *private)
{
    return private->socket_path;
}

bool private_check(struct private_daemon *private, pid_t ended)
{
    if (ended != private->pid) {
        return false;
    }
    private->pid = 0;
    return true;
}
