/* SPDX-License-Identifier: MIT */
#include "tests/system/last_process.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/system/harness.h"

#define LIMIT_MS 5000

static bool lock_is_free(const char *socket)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s.lock", socket);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    const bool is_free = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)close(fd); /* -1: there is none */
    return is_free;
}

void last_process_await(const char *socket)
{
    if (HARNESS_SANITIZED) {
        expect_soon(lock_is_free(socket), LIMIT_MS);
    }
}
