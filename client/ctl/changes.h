/* SPDX-License-Identifier: MIT */
/*
 * changes.h - the stream of changes, read over the ends of servers: of `watch` and `record`
 */
#ifndef CTL_CHANGES_H
#define CTL_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include <kmem/observe.h>

#include "client/ctl/options.h"

/* 24: "2026-11-30T02:30:35.123Z" is 24. */
#define CHANGE_TIME_BYTES 32

/* One change, or that some were missed, or that another server counts now. */
struct change_row {
    struct kmem_change change; /* kind "missed": n_missed of them; "began_anew": a new server */
    uint64_t n_missed;
    char time[CHANGE_TIME_BYTES]; /* of day, in UTC */
};

/* Return: 0; else the stream ends with that. */
typedef int (*change_row_fn)(const struct change_row *row, void *user);

struct stream {
    const struct options *options;
    struct kmem_query *query; /* the caller's, or one of its own */
    bool is_new;              /* connected anew, and not asked yet */
    struct kmem_query *own;
    struct kmem_change_position position;
    change_row_fn each;
    void *user;
};

/** stream_begin() - from the next change on */
void stream_begin(struct stream *stream, struct kmem_query *query, const struct options *options,
                  change_row_fn each, void *user);

/**
 * stream_step() - wait for changes, wait_ms at most, and tell them
 *
 * If the server has ended it connects to the next one. Return: 0; what `each` returned; a negative
 * errno: nothing answers any more.
 */
KMEM_MUST_USE int stream_step(struct stream *stream, unsigned wait_ms);

/** stream_error() - the sentence for a negative errno */
const char *stream_error(const struct stream *stream);

void stream_end(struct stream *stream);

#endif
