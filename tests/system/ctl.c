/* SPDX-License-Identifier: MIT */
#include "tests/system/ctl.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/harness.h"

#define N_ARGUMENTS_MAX 32

/* How it is started. */
struct ctl_setting {
    bool is_init;        /* as the first process of a pid namespace */
    unsigned int closed; /* standard descriptors, as bits */
};

KMEM_NORETURN static void become_kmemctl(const struct ctl_process *process,
                                         const char *const *arguments, struct ctl_setting setting)
{
    const char *words[N_ARGUMENTS_MAX] = {"kmemctl"};
    const char *program = harness_program("kmemctl");
    size_t n = 1;

    if (setting.is_init) {
        words[0] = "unshare";
        words[n++] = "--pid";
        words[n++] = "--fork";
        words[n++] = "--kill-child";
        /* In a chroot --mount-proc fails: it wants to change the root's propagation. */
        words[n++] = "--mount";
        words[n++] = "--propagation";
        words[n++] = "unchanged";
        words[n++] = "sh";
        words[n++] = "-c";
        words[n++] = "mount --make-private /proc && mount -t proc proc /proc && exec \"$@\"";
        words[n++] = "sh";
        words[n++] = program;
        program = "unshare";
    }
    for (size_t i = 0; arguments[i] != NULL && n + 1 < N_ARGUMENTS_MAX; i++) {
        words[n++] = arguments[i];
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(process->out_fd, STDOUT_FILENO);
    (void)dup2(process->err_fd, STDERR_FILENO);
    (void)close_range(3, ~0U, 0);
    (void)setenv("TMPDIR", harness_path("."), 1);
    (void)setenv("LC_ALL", "C", 1); /* bars of ASCII, whoever runs the tests */
    for (int fd = 0; fd < 3; fd++) {
        if (setting.closed & (1U << fd)) {
            (void)close(fd);
        }
    }
    (void)execvp(program, (char *const *)words);
    _exit(99);
}

static int open_output(const char *name)
{
    const int fd =
        open(harness_path(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);

    expect_call(fd >= 0);
    return fd;
}

static struct ctl_process start(const char *const *arguments, struct ctl_setting setting)
{
    struct ctl_process process = {
        .out_fd = open_output("kmemctl.out"),
        .err_fd = open_output("kmemctl.log"),
    };

    (void)fflush(NULL);
    process.pid = fork();
    expect_call(process.pid >= 0);
    if (process.pid == 0) {
        become_kmemctl(&process, arguments, setting);
    }
    return process;
}

struct ctl_process ctl_start(const char *const *arguments)
{
    return start(arguments, (struct ctl_setting){.is_init = false});
}

struct ctl_process ctl_start_as_init(const char *const *arguments)
{
    return start(arguments, (struct ctl_setting){.is_init = true});
}

struct ctl_process ctl_start_closed(const char *const *arguments, unsigned int closed)
{
    return start(arguments, (struct ctl_setting){.closed = closed});
}

static void read_output(int fd, char *text, size_t text_bytes)
{
    const ssize_t n = pread(fd, text, text_bytes - 1, 0);

    expect_call(n >= 0);
    text[n] = '\0';
}

const struct ctl_end *ctl_wait(const struct ctl_process *process)
{
    static struct ctl_end end;
    int status = 0;

    expect_call(waitpid(process->pid, &status, 0) == process->pid);
    end.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_output(process->out_fd, end.out, sizeof(end.out));
    read_output(process->err_fd, end.err, sizeof(end.err));
    (void)close(process->out_fd);
    (void)close(process->err_fd);
    expect_true(!harness_matches(end.err, "runtime error:|Sanitizer"));
    return &end;
}

const struct ctl_end *ctl_run(const char *const *arguments)
{
    const struct ctl_process process = ctl_start(arguments);

    return ctl_wait(&process);
}

const char *ctl_err(const struct ctl_process *process)
{
    static char text[16384];

    read_output(process->err_fd, text, sizeof(text));
    return text;
}

const char *ctl_out(const struct ctl_process *process)
{
    static char text[65536];

    read_output(process->out_fd, text, sizeof(text));
    return text;
}

size_t ctl_private_daemons(void)
{
    DIR *const entries = opendir(harness_path("."));
    const struct dirent *entry;
    size_t n_directories = 0;

    expect_call(entries != NULL);
    while ((entry = readdir(entries)) != NULL) {
        n_directories += strncmp(entry->d_name, "kmemctl-", 8) == 0;
    }
    (void)closedir(entries);
    return n_directories;
}
