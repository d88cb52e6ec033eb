/* SPDX-License-Identifier: MIT */
/*
 * reconnect.h - a client asks for a connection on its way back
 */
#ifndef DAEMON_SERVER_RECONNECT_H
#define DAEMON_SERVER_RECONNECT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/server/keeper_link.h"
#include "daemon/server/pidfd_watch.h"
#include "daemon/server/session.h"
#include "daemon/server/ways.h"
#include "proto/attributes.h"

/* All of them are the server's. */
struct reconnect {
    struct session_host *host;
    struct ways *ways;
    struct keeper_link *keeper_link;
    const struct pidfd_watch *pidfds;
};

/** reconnect_make_way() - make a way, if a session's peer wants one and there are descriptors */
void reconnect_make_way(struct session *session);

/** reconnect_open_way() - listen to the session's way, if it has one. Return: 0 or -errno. */
KMEM_MUST_USE int reconnect_open_way(const struct reconnect *reconnect, struct session *session);

/** reconnect_renew_way() - hand a way over for a client that the keeper knows already */
void reconnect_renew_way(const struct reconnect *reconnect, struct session *session);

/** reconnect_heard() - ways_fn: answer, and give it a connection; user is a struct reconnect */
void reconnect_heard(uint32_t slot, const unsigned char *payload, size_t payload_bytes, void *user);

#endif
