/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - a barrier for the threads of all clients, which they need not spend themselves
 *
 * Clients register for it when they join (proto/lease.h says what it is for). A sandbox may deny
 * it; then slabs without a live block stay their owners'.
 */
#ifndef DAEMON_SERVER_BARRIER_H
#define DAEMON_SERVER_BARRIER_H

#include <stdbool.h>

/** barrier_find() - the barrier; NULL: the system has none, and the log says what that means */
bool (*barrier_find(void))(void);

#endif
