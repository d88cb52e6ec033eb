/* SPDX-License-Identifier: MIT */
/*
 * no_room.h - there is no room: the answer, and the look that finds out who has it all
 *
 * "Refused, evict, try again" is how a cache lives, so a refusal costs what an answer costs and
 * waits for nothing. What is free and the largest extent are read where the server keeps them. Who
 * has the most by reason takes a look at all blocks:
 *
 *      all is seen in one small step       it is made at once: the sentence is of this moment
 *      there are more blocks than that     the last complete look is told, with its age; if it is
 *                                          older than a second, another is begun, and goes on in
 *                                          small steps while the server has nothing else to do
 *      no look yet, or a very old one      processes are named, by what is charged to them now
 */
#ifndef DAEMON_CORE_NO_ROOM_H
#define DAEMON_CORE_NO_ROOM_H

#include <stdbool.h>

#include "daemon/core/call.h"

/** no_room_refuse() - refuse what peer->placement asks for; the reply is complete */
void no_room_refuse(const struct call *call);

/** no_room_has_work() - whether a look is under way that refusals wanted */
bool no_room_has_work(const struct core *core);

/** no_room_work() - a small step of it. Waiting: some 25 us. */
void no_room_work(struct core *core, struct now now);

#endif
