/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static int stderr_fd;

void capture_begin(void)
{
    const int file = memfd_create("captured", MFD_CLOEXEC);
    assert_true(file >= 0);
    (void)fflush(stderr);
    stderr_fd = dup(STDERR_FILENO);
    assert_true(stderr_fd >= 0);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    assert_int_equal(close(file), 0);
}

const char *capture_end(void)
{
    static char text[65536];
    (void)fflush(stderr);
    const ssize_t n_bytes = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);
    assert_true(n_bytes >= 0);
    text[n_bytes] = '\0';
    assert_true(dup2(stderr_fd, STDERR_FILENO) >= 0);
    assert_int_equal(close(stderr_fd), 0);
    return text;
}

/* What a descriptor leads to; empty if it is none. */
static void fd_target(const char *fd, char *target, size_t target_bytes)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%s", fd);
    const ssize_t n_bytes = readlink(path, target, target_bytes - 1);
    target[n_bytes > 0 ? n_bytes : 0] = '\0';
}

/* The log opens stderr once more when its first line is written: that is no test's doing. */
static bool fd_is_the_logs(const char *fd)
{
    char target[128];
    char of_stderr[128];
    fd_target(fd, target, sizeof(target));
    fd_target("2", of_stderr, sizeof(of_stderr));
    return strtol(fd, NULL, 10) > STDERR_FILENO && strcmp(target, of_stderr) == 0;
}

unsigned count_fds(void)
{
    unsigned n_fds = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    const struct dirent *entry = readdir(directory);
    while (entry) {
        n_fds += !fd_is_the_logs(entry->d_name);
        entry = readdir(directory);
    }
    (void)closedir(directory);
    return n_fds - 3; /* ".", ".." and the directory itself */
}
