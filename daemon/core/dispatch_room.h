/* SPDX-License-Identifier: MIT */
/*
 * dispatch_room.h - memory is asked for
 */
#ifndef DAEMON_CORE_DISPATCH_ROOM_H
#define DAEMON_CORE_DISPATCH_ROOM_H

#include "daemon/core/call.h"

/** dispatch_allocate() - a block that the server carves. Return: DISPATCH_x. */
int dispatch_allocate(const struct call *call);

/** dispatch_lease() - pages for the caller to carve up. Return: DISPATCH_x. */
int dispatch_lease(const struct call *call);

#endif
