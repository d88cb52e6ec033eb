/* SPDX-License-Identifier: MIT */
/*
 * listener.h - the loop's end of the listening socket, which is the keeper's
 */
#ifndef DAEMON_SERVER_LISTENER_H
#define DAEMON_SERVER_LISTENER_H

#include <stdbool.h>

#include <uv.h>

#include "proto/attributes.h"

/** listener_fn - connections wait: listener_accept() them; it is called again if some are left */
typedef void (*listener_fn)(void *user);

struct listener {
    uv_poll_t poll; /* of fd; first: libuv hands it back */
    uv_timer_t pause;
    listener_fn waiting;
    void *user;
    int fd;
    int spare_fd; /* is given up to accept one more connection; -1: there is none */
    bool polls;   /* the handle is there, and not closing */
    bool paused;
    bool closed; /* for good */
};

/**
 * listener_open() - take connections from a listening socket
 * @fd:  the listener's from now on, also on error
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int listener_open(struct listener *listener, uv_loop_t *loop, int fd,
                                listener_fn waiting, void *user);

/** listener_accept() - Return: a connection, the caller's; -EAGAIN: none waits; or another errno */
KMEM_MUST_USE int listener_accept(const struct listener *listener);

/**
 * listener_accept_spare() - one more than there are descriptors for, to be told so
 *
 * The caller closes it, and then calls listener_save_spare(). Return: as listener_accept(), or
 * -EMFILE if there is not even the spare one.
 */
KMEM_MUST_USE int listener_accept_spare(struct listener *listener);

/** listener_save_spare() - have a spare descriptor again, if there is any */
void listener_save_spare(struct listener *listener);

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
