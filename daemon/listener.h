/* SPDX-License-Identifier: MIT */
/*
 * listener.h - the socket in the file system
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

#include <uv.h>

#include "daemon/options.h"
#include "proto/attributes.h"

struct listener {
    uv_pipe_t pipe;
    uv_fs_event_t watch; /* of the directory: the socket's file may be deleted */
    char path[SOCKET_PATH_MAX_BYTES + 1];
    int lock_fd;
    bool closed;  /* for good */
    dev_t device; /* of the socket's file */
    ino_t inode;
    bool has_group;
    gid_t group;
    uv_connection_cb connected;
};

/**
 * listener_claim() - make the path ours
 *
 * A lock beside the socket, PATH.lock, says whose the path is; it goes with the process that holds
 * it, so a socket file without its lock is a dead daemon's and is removed. The directory is made,
 * mode 0750, if it is not there. Anything else at that path than a socket, and a directory in which
 * others may replace our file, are refused.
 *
 * Every failure is logged, with what to do. Return: 0, or a negative errno: -EEXIST if the path is
 * another daemon's.
 */
KMEM_MUST_USE int listener_claim(struct listener *listener, const struct options *options);

/** listener_open() - listen on the path. Return: 0, or a negative errno, which is logged. */
KMEM_MUST_USE int listener_open(struct listener *listener, uv_loop_t *loop,
                                uv_connection_cb connected, void *user);

/** listener_close() - stop listening, and remove the socket and its lock */
void listener_close(struct listener *listener);

#endif
