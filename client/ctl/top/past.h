/* SPDX-License-Identifier: MIT */
/*
 * past.h - what the daemon remembers of the last minute, so that top begins with more than now
 */
#ifndef CTL_TOP_PAST_H
#define CTL_TOP_PAST_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/history.h>

struct past_point {
    char *reason;    /* NULL: all live blocks */
    uint64_t number; /* of its second */
    uint64_t ms_ago;
    uint64_t num_bytes;
};

struct past {
    struct past_point *points; /* oldest first */
    size_t n_points;
    size_t capacity;
};

void past_fini(struct past *past);

/** past_add() - a kmem_history_fn that keeps a copy of each row; user is the struct past */
int past_add(const struct kmem_history_row *row, void *user);

#endif
