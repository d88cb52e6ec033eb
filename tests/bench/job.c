/* SPDX-License-Identifier: MIT */
#include "tests/bench/job.h"

#include <sys/socket.h>

bool job_send(int fd, const void *object, size_t n_bytes)
{
    const unsigned char *bytes = object;
    while (n_bytes > 0) {
        const ssize_t n = send(fd, bytes, n_bytes, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

bool job_receive(int fd, void *object, size_t n_bytes)
{
    return recv(fd, object, n_bytes, MSG_WAITALL) == (ssize_t)n_bytes;
}
