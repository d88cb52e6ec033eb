/* SPDX-License-Identifier: MIT */
/*
 * child.h - a program that the keeper runs, on some of its files
 */
#ifndef DAEMON_KEEPER_CHILD_H
#define DAEMON_KEEPER_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon/inherited_fds.h"
#include "proto/attributes.h"

struct child {
    pid_t pid;      /* 0: there is none */
    int pidfd;      /* readable when it has ended */
    int control_fd; /* the keeper's end of the socket to it */
};

/* A child that is not there; its descriptors are none to poll(). */
#define CHILD_NONE ((struct child){.pid = 0, .pidfd = -1, .control_fd = -1})

/**
 * child_start() - run a program
 * @exe_fd:  the program
 * @files:   what it is given; they stay the caller's
 * @place:   where in files its end of the control socket is to be
 *
 * It is killed if this process ends. Return: 0 or a negative errno.
 */
KMEM_MUST_USE int child_start(int exe_fd, char **argv, struct inherited_fds *files, int *place,
                              struct child *ret_child);

/** child_kill() - nothing if there is none; it is still to be waited for */
void child_kill(const struct child *child);

/** child_wait() - for one that has ended, or is about to. Return: its status; it is none then. */
int child_wait(struct child *child);

/**
 * child_reap_others() - wait for children that have ended and are none of these
 *
 * The first process of a container is the parent of all orphans there; any other has no others.
 */
void child_reap_others(const struct child *one, const struct child *other);

/** child_describe_end() - "was killed by signal 11 (Segmentation fault)". Return: buffer. */
const char *child_describe_end(int status, char *buffer, size_t buffer_bytes);

#endif
