/* SPDX-License-Identifier: MIT */
#include "proto/attributes.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Not through stdio: a pipe that nobody reads must not keep the process from ending. */
void invariant_broken(const char *condition, const char *file, int line)
{
    char text[512];
    struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
    const int n_bytes = snprintf(text, sizeof(text), "%s:%d: broken invariant: %.300s\n", file,
                                 line, condition); /* too long: cut */
    if (n_bytes > 0 && poll(&writable, 1, 0) == 1) {
        const size_t n_cut = sizeof(text) - 1;
        (void)!write(STDERR_FILENO, text, (size_t)n_bytes < n_cut ? (size_t)n_bytes : n_cut);
    }
    abort();
}
