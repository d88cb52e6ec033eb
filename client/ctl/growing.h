/* SPDX-License-Identifier: MIT */
/*
 * growing.h - what grows now, by how much and since when
 *
 * By what the daemon remembers of the last hour: a reason whose course rises (course.h), over that
 * hour or, if that is too short to show in it, over the last minute; and that has not stopped. Of a
 * daemon that remembers nothing yet, or is so old that it never does, by two looks at the ledger,
 * half a second apart.
 */
#ifndef CTL_GROWING_H
#define CTL_GROWING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/history.h>

#include "client/ctl/options.h"

/* One reason. */
struct growing_row {
    char *reason;
    uint64_t grown_bytes;
    uint64_t since_ms; /* so long ago it began */
    bool is_at_least;  /* it grew before as well, as far as is known */
    uint64_t after_bytes;
    uint64_t after_blocks;
};

struct growing {
    struct growing_row *rows; /* what has grown most comes first */
    size_t n_rows;
    uint64_t known_ms; /* how far was looked back */
};

/**
 * growing_find() - ask, and judge
 * @query:  may be lost on the way, if the daemon does not know the question: ask it last
 * Return: 0 or a negative errno; growing_fini() is due either way.
 */
KMEM_MUST_USE int growing_find(struct growing *growing, struct kmem_query *query,
                               const struct options *options);

void growing_fini(struct growing *growing);

#endif
