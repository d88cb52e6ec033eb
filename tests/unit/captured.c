/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/captured.h"

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

unsigned count_fds(void)
{
    unsigned n_fds = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory)) {
        n_fds++;
    }
    (void)closedir(directory);
    return n_fds - 3; /* ".", ".." and the directory itself */
}
