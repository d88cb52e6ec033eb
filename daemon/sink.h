/* SPDX-License-Identifier: MIT */
/*
 * sink.h - stdout or stderr, written to without ever waiting
 *
 * A pipe that nobody reads, or a terminal that was stopped with ^S, would stop whoever writes to it
 * for good. The descriptor is shared with whoever started this process, and with all that it has
 * started besides: to make it non-blocking would be felt by all of them. So
 *
 *      a socket             is written to with MSG_DONTWAIT
 *      a pipe, a terminal   is opened once more, non-blocking, through /proc/self/fd
 *      the same, if it can  is asked not to wait for this write (RWF_NOWAIT: Linux 6.5, pipes),
 *      not be opened        else whether there is room (poll), and believed. It is another user's
 *                           then, or there is no /proc; and of two who write to it at the same
 *                           time one may wait
 *      anything else        is written to: a file waits for its disk, and for others who write
 *                           to it
 */
#ifndef DAEMON_SINK_H
#define DAEMON_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/attributes.h"

/*
 * 4,096, PIPE_BUF: so much goes into a pipe as a whole or not at all, and does not mix with what
 * others write to it.
 */
#define SINK_LINE_BYTES 4096

/* Begins as {.fd = its number, .own_fd = -1}. */
struct sink {
    int fd;       /* as it was given to this process */
    int own_fd;   /* the same, opened once more; -1: it is not needed, or can not be */
    dev_t device; /* what both are */
    ino_t inode;
    mode_t mode;
    bool known; /* what it is */
    bool torn;  /* the last line was cut short: a newline comes first */
};

/** sink_put() - write a line of at most SINK_LINE_BYTES. Return: 0 or a negative errno. */
KMEM_MUST_USE int sink_put(struct sink *sink, const char *line, size_t n_bytes);

#endif
