/* SPDX-License-Identifier: MIT */
/*
 * fair.h - who is served next: round robin among users, among a user's processes, among a
 * process's connections
 *
 *      line ── user 1000 ── process 4242 ── connection, connection, connection
 *           │            └─ process 4250 ── connection
 *           └─ user 0 ──── process 1 ────── connection
 *
 * A node that waits stands in its parent's queue, and so does its parent in turn. What is taken is
 * the first of the first of the first; whoever on that path still has somebody waiting goes to the
 * end of its queue. So a thousand connections of one process delay others as much as one does, and
 * a thousand processes of one user delay another user as much as one does.
 *
 * Taking and adding cost the depth of the tree, whatever waits.
 */
#ifndef DAEMON_CORE_FAIR_H
#define DAEMON_CORE_FAIR_H

#include <stdbool.h>

#include "proto/attributes.h"

/* A leaf is what is served; a node without a parent is the line itself. */
struct fair {
    struct fair *parent;
    struct fair *next; /* in the parent's queue */
    struct fair *prev;
    struct fair *first; /* its own queue: those of its children that wait */
    struct fair *last;
    bool waits; /* in the parent's queue; of a node that is none's leaf: == (first != NULL) */
};

/** fair_init() - a node that waits for nothing; parent NULL: it is a line */
void fair_init(struct fair *node, struct fair *parent);

/** fair_add() - a leaf waits from now on, at the end; nothing changes if it does already */
void fair_add(struct fair *leaf);

/** fair_remove() - a leaf does not wait any more; nothing changes if it did not */
void fair_remove(struct fair *leaf);

/** fair_first() - the leaf that is next; NULL: none waits */
struct fair *fair_first(const struct fair *line);

/** fair_take() - the same, and it does not wait any more */
struct fair *fair_take(struct fair *line);

#endif
