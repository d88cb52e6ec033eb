/* SPDX-License-Identifier: MIT */
#include "client/ctl/process.h"

#include <errno.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <unistd.h>

bool process_has_ended(pid_t pid, int timeout_ms)
{
    int fd = pidfd_open(pid, 0);

    if (fd < 0) {
        return errno == ESRCH;
    }
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    bool has_ended = poll(&readable, 1, timeout_ms) == 1;
    (void)close(fd);
    return has_ended;
}
