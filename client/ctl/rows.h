/* SPDX-License-Identifier: MIT */
/*
 * rows.h - rows that are kept, because they are to be sorted
 *
 * A row is copied with its strings into one piece of memory. If only the first N are wanted, no
 * more than some 2 N are ever kept, however many come. What is more than most_bytes is sorted, and
 * goes to a file (runs.h) until all are there. If all are wanted, the copies stand one behind the
 * other: to free a million of them one by one, in another order than theirs, took an eighth of the
 * time.
 */
#ifndef CTL_ROWS_H
#define CTL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/runs.h"
#include "client/ctl/shape.h"

/*
 * 8 MiB: some 50,000 blocks, so that a list that is read by a human never touches the disk; with
 * what merging takes, a list of any length is sorted in 16 MiB.
 */
#define ROWS_MOST_BYTES ((size_t)8 << 20)

struct kept_row {
    void *row;
    uint64_t key;    /* the least is the first: column_key(), or its complement */
    uint64_t number; /* in the order in which they came, which is that of equals */
};

struct rows {
    const struct listing_shape *shape;
    const struct column *by; /* NULL: they are not to be sorted */
    bool is_descending;
    uint64_t n_wanted; /* 0: all */
    size_t most_bytes; /* in memory; 0: all of them, which rows_sort() leaves in rows[] */
    struct kept_row *rows;
    size_t n_rows;
    size_t capacity;
    size_t kept_bytes; /* of rows */
    char *room;        /* where copies stand one behind the other; NULL: each for itself */
    size_t used_bytes; /* of the room */
    uint64_t n_seen;
    struct runs runs;
};

/** rows_fini() - free them all; an empty structure is all zero */
void rows_fini(struct rows *rows);

/**
 * rows_add() - keep a copy of a row
 * Return: 0, -ENOMEM, or another negative errno, and then rows_error() has a sentence.
 */
KMEM_MUST_USE int rows_add(struct rows *rows, const void *row);

/** rows_sort() - sort those in memory, and forget those that are not wanted */
void rows_sort(struct rows *rows);

typedef int (*rows_each_fn)(const void *row, void *user);

/**
 * rows_each() - sort them, and hand on those that are wanted
 * Return: 0; what each() returned if it was not 0; or as rows_add() has it.
 */
KMEM_MUST_USE int rows_each(struct rows *rows, rows_each_fn each, void *user);

/** rows_error() - why they can not be kept; "" if there is no more to say than the errno */
const char *rows_error(const struct rows *rows);

#endif
