/* SPDX-License-Identifier: MIT */
/*
 * peer_identity.h - who is at the other end of a connection, according to the kernel
 */
#ifndef DAEMON_SERVER_PEER_IDENTITY_H
#define DAEMON_SERVER_PEER_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/core/clients.h"
#include "daemon/core/roles.h"
#include "proto/attributes.h"

enum {
    IDENTITY_OK,
    IDENTITY_E_ENDED,  /* the process that connected has ended */
    IDENTITY_E_UNSEEN, /* this kernel, before Linux 6.5, can not tell when it will */
};

/**
 * peer_identity_read() - the process that connected, and a descriptor that becomes readable at its
 * end
 * @ret_identity:  written also for an answer and a fault: who asked, as far as that is known
 * @ret_pidfd:     the caller's, close-on-exec
 *
 * What the kernel does not show is unknown: pid 0 (another pid namespace), start time 0 and command
 * "?" (hidepid=, no /proc), inode 0 (before Linux 6.9).
 *
 * Return: 0, IDENTITY_E_ENDED, IDENTITY_E_UNSEEN, or a negative errno.
 */
KMEM_MUST_USE int peer_identity_read(int fd, struct client_identity *ret_identity, int *ret_pidfd);

/**
 * peer_identity_open() - a pidfd of a process that connected earlier, without its connection
 * Return: the descriptor, or a negative errno: -ESRCH if the process is gone, -EOPNOTSUPP if its
 * pid is unknown.
 */
KMEM_MUST_USE int peer_identity_open(const struct client_identity *identity);

/**
 * peer_identity_unit() - the systemd unit, or control group, that the process is in now
 * @ret_unit:  UNIT_NAME_BYTES; "?": it has ended, or /proc does not say
 */
void peer_identity_unit(const struct client_identity *identity, char *ret_unit);

/** peer_identity_has_ended() - whether the process behind a pidfd has */
bool peer_identity_has_ended(int pidfd);

/**
 * peer_identity_inode_of() - what no other process's pidfd has; 0: that is not known (Linux <
 * 6.9)
 */
uint64_t peer_identity_inode_of(int pidfd);

/**
 * peer_identity_pid_of() - whose descriptor it is, as the mounted /proc numbers processes
 * @ret_pid:  -1: it has ended, and was waited for; 0: it has no pid that is visible here
 * Return: 0 or a negative errno: -ESRCH if there is no /proc that says so.
 */
KMEM_MUST_USE int peer_identity_pid_of(int pidfd, long *ret_pid);

/** peer_identity_roles() - what the process may be: its user and groups are those of its connect()
 */
unsigned peer_identity_roles(int fd, const struct client_identity *identity,
                             const struct roles *roles);

#endif
