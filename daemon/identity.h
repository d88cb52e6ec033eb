/* SPDX-License-Identifier: MIT */
/*
 * identity.h - who is at the other end of a connection, according to the kernel
 */
#ifndef DAEMON_IDENTITY_H
#define DAEMON_IDENTITY_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/clients.h"
#include "proto/attributes.h"

/**
 * identity_read() - the process that connected
 * Return: 0, or a negative errno: -ESRCH if it is gone, or not visible from here.
 */
KMEM_MUST_USE int identity_read(int fd, struct client_identity *ret_identity);

/**
 * identity_pidfd() - a descriptor that becomes readable when that process has ended
 *
 * From the connection itself where the kernel can (SO_PEERPIDFD, Linux 6.5); else by its pid, and
 * then the start time is compared, so that a process that took over the pid is not mistaken for it.
 *
 * Return: the descriptor, or a negative errno: -ESRCH if the process is gone.
 */
KMEM_MUST_USE int identity_pidfd(int fd, const struct client_identity *identity);

/**
 * identity_open() - the same by pid and start time, without a connection
 * Return: the descriptor, or a negative errno: -ESRCH if the process is gone.
 */
KMEM_MUST_USE int identity_open(const struct client_identity *identity);

/**
 * identity_pid_of() - whose descriptor it is
 * @ret_pid:  -1: it has ended, and was waited for; 0: it has no pid that is visible here
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int identity_pid_of(int pidfd, long *ret_pid);

/**
 * identity_may_join() - whether the process may use the segment
 *
 * Root, the daemon's own user, and the members of `group` if there is one. A user that the kernel
 * can not name here (the overflow uid, from another user namespace) may not.
 */
bool identity_may_join(int fd, const struct client_identity *identity, bool has_group, gid_t group);

#endif
