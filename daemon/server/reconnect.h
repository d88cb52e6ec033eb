/* SPDX-License-Identifier: MIT */
/*
 * reconnect.h - a client asks for a connection on its way back
 */
#ifndef DAEMON_SERVER_RECONNECT_H
#define DAEMON_SERVER_RECONNECT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

struct server;
struct session;

/** comeback_make_way() - make a way, if a session's peer wants one and there are descriptors */
void comeback_make_way(struct session *session);

/** comeback_open_way() - listen to the session's way, if it has one. Return: 0 or -errno. */
KMEM_MUST_USE int comeback_open_way(struct server *server, struct session *session);

/** comeback_renew_way() - hand a way over for a client that the keeper knows already */
void comeback_renew_way(struct server *server, struct session *session);

/** comeback_heard() - ways_fn: answer, and give it a connection; user is the server */
void comeback_heard(uint32_t slot, const unsigned char *payload, size_t payload_bytes, void *user);

#endif
