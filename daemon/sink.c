/* SPDX-License-Identifier: MIT */
#include "daemon/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static bool is_same(const struct sink *sink, int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_dev == sink->device && status.st_ino == sink->inode;
}

static bool can_block(const struct sink *sink)
{
    return sink->mode == 0 || S_ISFIFO(sink->mode) || (S_ISCHR(sink->mode) && isatty(sink->fd));
}

/*
 * Looks what is there. Somebody may have put something else in its place since, or, in a child that
 * is about to become another program, in the place of the one that was opened here.
 */
static int sink_look(struct sink *sink)
{
    struct stat status;
    if (fstat(sink->fd, &status) < 0) {
        sink->known = false;
        sink->mode = 0; /* a file of no kind: there may be room, or not */
        return errno == EBADF ? -EBADF : 0;
    }
    const bool is_new =
        !sink->known || status.st_dev != sink->device || status.st_ino != sink->inode;
    if (!is_new && (sink->own_fd < 0 || is_same(sink, sink->own_fd))) {
        return 0;
    }
    if (sink->own_fd >= 0 && is_same(sink, sink->own_fd)) {
        (void)close(sink->own_fd); /* it was only written to line by line */
    }
    sink->known = true;
    sink->torn = false;
    sink->device = status.st_dev;
    sink->inode = status.st_ino;
    sink->mode = status.st_mode;
    sink->own_fd = -1;
    if (can_block(sink)) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", sink->fd); /* fits */
        sink->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    }
    return 0;
}

/* As long as there is room; a terminal that has some may have it for a byte. */
static ssize_t put_piecewise(int fd, const char *line, size_t n_bytes, size_t piece_bytes)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    size_t n_done = 0;
    while (n_done < n_bytes && poll(&writable, 1, 0) == 1) {
        const size_t left = n_bytes - n_done;
        const ssize_t n = write(fd, line + n_done, left < piece_bytes ? left : piece_bytes);
        if (n < 0 && n_done == 0) {
            return n;
        }
        if (n <= 0) {
            break;
        }
        n_done += (size_t)n;
    }
    errno = EAGAIN;
    return n_done > 0 ? (ssize_t)n_done : -1;
}

/* Where no other description of it can be had. */
static ssize_t put_carefully(const struct sink *sink, const char *line, size_t n_bytes)
{
    const struct iovec part = {.iov_base = (void *)line, .iov_len = n_bytes};
    const ssize_t n = sink->mode == 0 ? -1 : pwritev2(sink->fd, &part, 1, -1, RWF_NOWAIT);
    if (n >= 0 || (sink->mode != 0 && errno != EOPNOTSUPP && errno != ENOSYS)) {
        return n;
    }
    return put_piecewise(sink->fd, line, n_bytes, S_ISCHR(sink->mode) ? 1 : SINK_LINE_BYTES);
}

static ssize_t put(const struct sink *sink, const char *line, size_t n_bytes)
{
    if (S_ISSOCK(sink->mode)) {
        return send(sink->fd, line, n_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (sink->own_fd >= 0) {
        return write(sink->own_fd, line, n_bytes);
    }
    return can_block(sink) ? put_carefully(sink, line, n_bytes) : write(sink->fd, line, n_bytes);
}

int sink_put(struct sink *sink, const char *line, size_t n_bytes)
{
    KMEM_ASSERT(n_bytes <= SINK_LINE_BYTES);
    const int r = sink_look(sink);
    if (r) {
        return r;
    }
    if (sink->torn && put(sink, "\n", 1) < 0) {
        return -errno;
    }
    sink->torn = false;
    const ssize_t n = put(sink, line, n_bytes);
    if (n < 0) {
        return -errno;
    }
    sink->torn = (size_t)n < n_bytes;
    return sink->torn ? -EAGAIN : 0;
}
