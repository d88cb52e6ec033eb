/* SPDX-License-Identifier: MIT */
/*
 * runs.h - rows that have no room in memory: sorted runs in a file, merged as they are read
 *
 * A record is a row with all that it points to, behind the number of its bytes; a run is records in
 * their order. The file has no name, so it is gone with the process, whatever that dies of.
 */
#ifndef CTL_RUNS_H
#define CTL_RUNS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <kmem/kmem.h>

#include "client/ctl/format.h"

/* What stands before a row; a record is a multiple of it, so that each row is aligned. */
struct record_head {
    uint64_t n_bytes; /* the record's, this included */
};

/* 1 MiB: far more than any row; what is said to be longer has been damaged. */
#define RECORD_MAX_BYTES ((size_t)1 << 20)

struct run {
    uint64_t from_bytes; /* in the file: what is not read yet */
    uint64_t to_bytes;
    char *buffer;
    size_t buffer_bytes;
    size_t at; /* in the buffer: the record that is next */
    size_t end;
    struct record_head *record; /* that one; NULL: the run has no more */
    uint64_t key;               /* of its row */
};

struct runs {
    FILE *file; /* NULL: there is no run */
    char *file_buffer;
    struct run *runs;
    size_t n_runs;
    size_t n_written; /* bytes of all runs */
    size_t *heap;     /* of those that have a record; the one that is due first is the root */
    size_t n_heap;
    char sentence[sizeof(struct escaped) + 256]; /* what went wrong; "": nothing */
};

/** runs_order_fn - which of two records with the same key comes first; like strcmp() */
typedef int (*runs_order_fn)(const struct record_head *left, const struct record_head *right,
                             const void *user);

/** runs_adopt_fn - a record has been read: let its row point into itself. Return: the row's key. */
typedef uint64_t (*runs_adopt_fn)(struct record_head *record, const void *user);

/** runs_each_fn - Return: 0 to go on. */
typedef int (*runs_each_fn)(const struct record_head *record, void *user);

/** runs_fini() - close the file, free all; an empty structure is all zero. The sentence stays. */
void runs_fini(struct runs *runs);

/** runs_begin() - what is written from now on is the next run. Return: 0, or a negative errno. */
KMEM_MUST_USE int runs_begin(struct runs *runs);

/** runs_write() - add a record to it, not less than the last. Return: 0, or a negative errno. */
KMEM_MUST_USE int runs_write(struct runs *runs, const struct record_head *record);

/** runs_finish() - the run is complete. Return: 0, or a negative errno: it has no room. */
KMEM_MUST_USE int runs_finish(struct runs *runs);

struct runs_merge {
    runs_order_fn order;
    runs_adopt_fn adopt; /* the least key comes first */
    const void *user;    /* of both */
    runs_each_fn each;
    void *each_user;
};

/**
 * runs_merge() - hand on the records of all runs in their order; equals as they were written
 * Return: 0; what each() returned; or a negative errno.
 */
KMEM_MUST_USE int runs_merge(struct runs *runs, const struct runs_merge *merge);

#endif
