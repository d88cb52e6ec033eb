/* SPDX-License-Identifier: MIT */
/*
 * rows.h - rows that are kept, because they are to be sorted
 *
 * A row is copied with its strings into one piece of memory. If only the first N are wanted, no
 * more than some 2 N are ever kept, however many come.
 */
#ifndef CTL_ROWS_H
#define CTL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/shape.h"

struct kept_row {
    void *row;
    uint64_t number; /* in the order in which they came, which is that of equals */
};

struct rows {
    const struct listing_shape *shape;
    const struct column *by;
    bool is_descending;
    uint64_t n_wanted; /* 0: all */
    struct kept_row *rows;
    size_t n_rows;
    size_t capacity;
    uint64_t n_seen;
};

/** rows_fini() - free them all; an empty structure is all zero */
void rows_fini(struct rows *rows);

/** rows_add() - keep a copy of a row. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int rows_add(struct rows *rows, const void *row);

/** rows_sort() - sort them, and forget those that are not wanted */
void rows_sort(struct rows *rows);

#endif
