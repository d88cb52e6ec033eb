/* SPDX-License-Identifier: MIT */
/*
 * listing.h - one row an answer: the same beginning and end for every command that lists
 *
 * As a table the rows are kept until all are there, as JSON they are written as they come.
 */
#ifndef CTL_LISTING_H
#define CTL_LISTING_H

#include "client/ctl/json.h"
#include "client/ctl/options.h"
#include "client/ctl/screen.h"
#include "client/ctl/table.h"

struct listing_shape {
    const char *name;    /* of the list in the JSON document */
    const char *nothing; /* what is printed instead of an empty table */
    const struct table_column *columns;
    size_t n_columns;
};

struct listing {
    const struct listing_shape *shape;
    const struct options *options;
    const struct screen *screen;
    struct table *table; /* NULL if JSON is asked for */
    struct json_list json;
};

/** listing_begin() - begin a table, or a document. Return: 0 or -ENOMEM; then no end is due. */
KMEM_MUST_USE int listing_begin(struct listing *listing, const struct listing_shape *shape,
                                const struct options *options, const struct screen *screen);

/**
 * listing_end() - print the table, or end the document, if all rows arrived
 * @r:  0 if they did
 * Return: r.
 */
int listing_end(struct listing *listing, int r);

#endif
