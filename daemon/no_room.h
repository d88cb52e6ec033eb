/* SPDX-License-Identifier: MIT */
/*
 * no_room.h - there is no room, and who has it all
 *
 * That is found out in steps while others are served, and once for all who are refused within a
 * second. The sentence says how old it is, if it is not of a time after the request.
 */
#ifndef DAEMON_NO_ROOM_H
#define DAEMON_NO_ROOM_H

#include "daemon/dispatch.h"
#include "proto/attributes.h"

/** no_room_begin() - refuse what peer->room asks for. Return: DISPATCH_OK or DISPATCH_PENDING. */
KMEM_MUST_USE int no_room_begin(struct core *core, struct peer *peer, struct now now,
                                struct reply *reply);

/** no_room_continue() - go on while peer->is_refused */
KMEM_MUST_USE int no_room_continue(struct core *core, struct peer *peer, struct now now,
                                   struct reply *reply);

#endif
