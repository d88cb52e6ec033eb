/* SPDX-License-Identifier: MIT */
/*
 * socket_path.h - the path of the socket, for as long as the daemon lives
 */
#ifndef DAEMON_KEEPER_SOCKET_PATH_H
#define DAEMON_KEEPER_SOCKET_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/keeper/socket_access.h"
#include "daemon/options.h"
#include "proto/attributes.h"

struct socket_path {
    char path[SOCKET_PATH_MAX_BYTES + 1];
    int lock_fd;
    int watch_fd; /* readable when something happened in the directory; -1: there is no watch */
    dev_t device; /* of the socket's file */
    ino_t inode;
    struct socket_access access;
    bool has_made_directory;
    bool is_activated; /* the socket's file is a socket unit's, and stays */
    bool is_lost;      /* something stands in the way, which was said */
    uint32_t n_looks;
};

/**
 * socket_path_take() - hold the path
 *
 * A lock file beside the socket, PATH.lock, says which daemon holds the path; the kernel drops the
 * lock with the process. The directory is made, mode 0750 or 0751, if it is not
 * there. A directory in which other users may replace the socket is refused.
 *
 * Every failure is logged, with what to do. Return: 0, or a negative errno: -EEXIST if the path is
 * another daemon's.
 */
KMEM_MUST_USE int socket_path_take(struct socket_path *held, const struct options *options);

/**
 * socket_path_listen() - make the socket, and listen
 *
 * A socket that takes no connection is a dead daemon's and is replaced; anything else at the path
 * is left alone, and is -EEXIST if it is a socket.
 *
 * Return: the descriptor, or a negative errno, which is logged.
 */
KMEM_MUST_USE int socket_path_listen(struct socket_path *held);

/**
 * socket_path_adopt() - go on with a socket that an earlier keeper made
 * @listener_fd:  the holder's from now on
 *
 * Who may join by now is let connect; a fault in that is logged, and the path held all the same.
 *
 * Return: it, or another if its file is gone, or a negative errno, which is logged.
 */
KMEM_MUST_USE int socket_path_adopt(struct socket_path *held, int listener_fd);

/**
 * socket_path_activate() - listen on a socket that a service manager has made at the path
 * @activated_fd:  the holder's from now on
 *
 * Its file is given the group and the mode that it would have been made with, unless it lets those
 * connect already.
 *
 * Return: the descriptor, or a negative errno, which is logged; the file is left in any case.
 */
KMEM_MUST_USE int socket_path_activate(struct socket_path *held, int activated_fd);

/**
 * socket_path_follow() - the options are others by now: open socket and directory to whom they name
 *
 * A directory is opened if this keeper has made it. Nothing is closed. A fault is logged.
 */
void socket_path_follow(struct socket_path *held, const struct options *options);

/** socket_path_watch() - watch the directory. Return: held->watch_fd; -1, logged, on a fault. */
int socket_path_watch(struct socket_path *held);

/**
 * socket_path_renew() - make what was removed again: lock, socket, watch of another directory
 * @may_make_directory:  the directory itself, too
 *
 * Return: a new listening descriptor; -EEXIST: the path is held as before, or can not be had now,
 * which is logged once; or another negative errno, logged.
 */
KMEM_MUST_USE int socket_path_renew(struct socket_path *held, bool may_make_directory);

/** socket_path_release() - remove the socket, unless it is a socket unit's, and its lock */
void socket_path_release(struct socket_path *held);

/** socket_path_leave() - remove the lock only: the next daemon goes on with the socket */
void socket_path_leave(struct socket_path *held);

#endif
