/* SPDX-License-Identifier: MIT */
/*
 * listing.h - rows in, a table or a document out: the same for every command that lists
 *
 * Which columns, which rows and in what order, and how it all is written, are the options'
 * business: a command declares its columns (shape.h) and adds each row as it comes. Rows that are
 * to be sorted are kept until all are there (rows.h); others are written as they come, a table's in
 * batches.
 */
#ifndef CTL_LISTING_H
#define CTL_LISTING_H

#include "client/ctl/json.h"
#include "client/ctl/options.h"
#include "client/ctl/progress.h"
#include "client/ctl/rows.h"
#include "client/ctl/screen.h"
#include "client/ctl/shape.h"
#include "client/ctl/table.h"

struct listing {
    const struct listing_shape *shape;
    const struct options *options;
    const struct screen *screen;
    const struct column *shown[TABLE_MAX_COLUMNS];
    size_t n_shown;
    struct rows rows;         /* if they are to be sorted */
    struct progress progress; /* of rows that are kept first */
    struct table *table;      /* NULL if none is asked for */
    struct json_list json;
    uint64_t n_rows;     /* that were asked for */
    uint64_t n_written;  /* --top N: the first of them */
    uint64_t flushed_ms; /* when what is written was last sent on; 0: not yet */
    uint64_t once;       /* the block of the row that was written last */
    struct escaped cells[TABLE_MAX_COLUMNS];
};

/**
 * listing_check() - find out whether the options can be meant for such rows
 * @command:  what the message calls it
 * Return: 0, or STATUS_USAGE, and then the message is printed.
 */
KMEM_MUST_USE int listing_check(const struct listing_shape *shape, const struct options *options,
                                const char *command);

/** listing_complain() - the same, with the message in a file */
KMEM_MUST_USE int listing_complain(FILE *file, const struct listing_shape *shape,
                                   const struct options *options, const char *command);

/** listing_columns() - what a table can show: "OFFSET, BYTES". Return: buffer. */
const char *listing_columns(const struct listing_shape *shape, char *buffer, size_t buffer_bytes);

/**
 * listing_begin() - begin a table, or a document; listing_check() was content
 * Return: 0 or -ENOMEM; then no end is due.
 */
KMEM_MUST_USE int listing_begin(struct listing *listing, const struct listing_shape *shape,
                                const struct options *options, const struct screen *screen);

/** listing_add() - add a row, if it is asked for. Return: 1 if it was, 0, or a negative errno. */
KMEM_MUST_USE int listing_add(struct listing *listing, const void *row);

/**
 * listing_add_cells() - add to a table what is no row of its own: what stands below one
 * @cells:  one for each column that is declared; NULL is an empty one
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int listing_add_cells(struct listing *listing, const char *const *cells);

/** listing_has_titles() - whether it is a table, and more than its rows is wanted */
bool listing_has_titles(const struct listing *listing);

/**
 * listing_flush() - write the rows that had to be sorted first
 *
 * For a command that adds a total below them; listing_end() does it otherwise.
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int listing_flush(struct listing *listing);

/**
 * listing_end() - print the table, or end the document, if all rows arrived
 * @r:  0 if they did
 * Return: r; -ENOMEM; or STATUS_ERROR if rows could not be kept, and then a message is printed.
 */
int listing_end(struct listing *listing, int r);

#endif
