/* SPDX-License-Identifier: MIT */
/*
 * takeover.h - how a server comes by its state: it begins an empty one, or goes on with the last's
 */
#ifndef DAEMON_SERVER_TAKEOVER_H
#define DAEMON_SERVER_TAKEOVER_H

#include "daemon/server/server.h"
#include "proto/attributes.h"

/**
 * takeover() - map the state, and make the server's core of it
 *
 * Waits until the last server is really gone. What clients have in server->files goes to the
 * ledgers and the pidfd watch.
 *
 * Return: 0, or the process's exit status: EXIT_STATE if the state does not fit or does not add up;
 * logged.
 */
KMEM_MUST_USE int takeover(struct server *server, const struct core_config *config);

/** takeover_watch() - let the pidfd watch watch the clients that were taken over. Return: likewise. */
KMEM_MUST_USE int takeover_watch(struct server *server);

#endif
