/* SPDX-License-Identifier: MIT */
/*
 * admission.h - a connection has come
 */
#ifndef DAEMON_SERVER_ADMISSION_H
#define DAEMON_SERVER_ADMISSION_H

#include <stdbool.h>

#include "daemon/core/roles.h"
#include "daemon/options.h"
#include "daemon/server/listener.h"
#include "daemon/server/pidfd_watch.h"
#include "daemon/server/session.h"
#include "proto/attributes.h"

/* All of them are the server's. */
struct admission {
    struct session_host *host;
    const struct roles *roles;
    const struct listener *listener;
    struct pidfd_watch *pidfds;
};

/** admission_roles() - who may be what, as the options say; owner_uid: the daemon's own user */
void admission_roles(const struct options *options, uint32_t owner_uid, struct roles *ret_roles);

/**
 * admission_accept() - take the next connection from the listening socket
 *
 * Refuses a peer that may not join, or has too many connections, before a byte is read. Return: 0;
 * -EAGAIN if none waits; or another negative errno, and the connection still waits.
 */
KMEM_MUST_USE int admission_accept(const struct admission *admission);

/**
 * admission_charge() - charge the session to its process and user
 * @is_back:  a client's, that comes back by its way: it has its place
 * Return: 0, an answer of users_charge(), or a negative errno.
 */
KMEM_MUST_USE int admission_charge(struct session *session, bool is_back);

/** admission_refuse_unseen() - say that there is no descriptor for a connection; closes fd */
void admission_refuse_unseen(struct session_host *host, int fd);

#endif
