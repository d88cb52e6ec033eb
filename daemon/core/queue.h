/* SPDX-License-Identifier: MIT */
/*
 * queue.h - who waits for memory, in the order in which they came
 *
 * A request that waits has a ticket. It is refused as "not now" and asked for again, when the bell
 * of memory rings or a tenth of a second has passed, so that the connection is free meanwhile. The
 * server keeps its place: it is served when nothing stands before it that has the same right,
 *
 *      all that may be served       in the order in which they came, whatever their size
 *      over its quota or budget     stands before its own client, and what falls under that budget
 *      within its own reserve       passes those that may not have that
 *      silent for QUEUE_SILENT_MS   its process is stopped: it is passed, and keeps its place
 *
 * So a large request is not starved by small ones that wait; what does not wait takes what is free.
 * Tickets are the server's alone: another server begins with none, and those that ask again come in
 * the order in which they do.
 */
#ifndef DAEMON_CORE_QUEUE_H
#define DAEMON_CORE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/core/queued.h"
#include "proto/attributes.h"

enum { QUEUE_OK, QUEUE_E_BEHIND, QUEUE_E_FULL };

/**
 * queue_ask() - a client asks with a ticket, for the first time or again
 * Return: 0: it may be served; QUEUE_E_BEHIND; QUEUE_E_FULL: as many wait as can.
 */
KMEM_MUST_USE int queue_ask(struct core *core, const struct client *client, uint64_t ticket,
                            uint64_t num_bytes, uint32_t budgets, uint64_t now_ms);

/** queue_bar() - it was its turn, and its quota or budget was against it; or that is so no more */
void queue_bar(struct core *core, const struct client *client, uint64_t ticket, bool is_barred);

/** queue_leave() - it waits no more; whoever is behind it is told. Nothing, if it is not there. */
void queue_leave(struct core *core, const struct client *client, uint64_t ticket);

/** queue_look() - ring the bell of memory, if some wait and what there is has changed */
void queue_look(struct core *core);

/** queue_tick() - ring it in any case: what clients leave unused is seen by looking only */
void queue_tick(struct core *core);

#endif
