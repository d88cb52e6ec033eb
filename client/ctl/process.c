/* SPDX-License-Identifier: MIT */
#include "client/ctl/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <unistd.h>

int process_fill_standard(void)
{
    static const int wrong_ways[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++) {
        /* The lowest number is given first, so it is the one that was missing. */
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", wrong_ways[fd]) < 0 &&
            open("/", O_RDONLY | O_DIRECTORY) < 0) {
            return -errno;
        }
    }
    return 0;
}

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
