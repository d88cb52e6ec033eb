/* SPDX-License-Identifier: MIT */
/*
 * taken.h - what is taken of a segment while events are gone through: by offset, as recorded
 *
 * A lease comes back in pieces; what is left of it then is up to two pieces. A caller that keeps
 * something for each piece, as a replay does, is told what comes and goes.
 */
#ifndef CTL_TAKEN_H
#define CTL_TAKEN_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/event.h"

struct piece {
    uint64_t offset; /* as recorded */
    uint64_t num_bytes;
    uint32_t pid;
    uint64_t place; /* the caller's */
    const char *reason;
};

struct taken {
    struct piece *pieces; /* by offset */
    size_t n;
    size_t capacity;
    uint64_t num_bytes;
    /* Called when a piece comes, and when it goes; NULL: nobody is. Return: 0, or what ends it. */
    int (*comes)(struct piece *piece, void *user);
    int (*goes)(const struct piece *piece, void *user);
    void *user;
};

KMEM_MUST_USE int taken_init(struct taken *taken);
void taken_fini(struct taken *taken);

/** taken_apply() - Return: 0, -ENOMEM, or what a callback returned. */
KMEM_MUST_USE int taken_apply(struct taken *taken, const struct event *event);

#endif
