/* SPDX-License-Identifier: MIT */
/*
 * listener.h - the loop's end of the listening socket, which is the keeper's
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <stdbool.h>

#include <uv.h>

#include "proto/attributes.h"

struct listener {
    uv_pipe_t pipe; /* of a duplicate of fd: first, libuv hands it back */
    uv_timer_t pause;
    uv_connection_cb connected;
    int fd;
    bool paused;
    bool closed; /* for good */
};

/**
 * listener_open() - take connections from a listening socket
 * @fd:  the listener's from now on, also on error
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int listener_open(struct listener *listener, uv_loop_t *loop, int fd,
                                uv_connection_cb connected, void *user);

/**
 * listener_pause() - a connection can not be accepted: take none for a moment
 *
 * They wait, as far as the backlog goes. What keeps the system from it may be over then.
 */
void listener_pause(struct listener *listener);

/** listener_replace() - take them from another one from now on; fd is the listener's */
void listener_replace(struct listener *listener, int fd);

/** listener_close() - take no more */
void listener_close(struct listener *listener);

#endif
