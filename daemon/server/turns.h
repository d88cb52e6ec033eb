/* SPDX-License-Identifier: MIT */
/*
 * turns.h - sessions that have something to do get their turns, one after the other: users.h
 */
#ifndef DAEMON_SERVER_TURNS_H
#define DAEMON_SERVER_TURNS_H

#include <stdbool.h>

#include "daemon/server/session_host.h"

/** turns_serve() - those that wait get their turns, as long as a turn of the loop may take */
void turns_serve(struct session_host *host);

/** turns_wait() - whether one waits for its turn */
bool turns_wait(const struct session_host *host);

#endif
