/* SPDX-License-Identifier: MIT */
/*
 * shape.h - what a command that lists rows has to say about them
 */
#ifndef CTL_SHAPE_H
#define CTL_SHAPE_H

#include "client/ctl/column.h"

struct listing;

struct listing_shape {
    const char *name;           /* of the list in the JSON document */
    const char *nothing;        /* what is printed instead of an empty table */
    const char *nothing_chosen; /* the same, if options chose among the rows */
    const struct column *columns;
    size_t n_columns;
    const char *table; /* the columns of a table, as --columns would have them */
    const char *wide;  /* and of a wide one */
    size_t row_bytes;
    bool chooses_itself;          /* the command looks at the options that choose rows */
    const struct column *once_by; /* what the rows of one block have in common; NULL: no such */
    /* What a row points to, beside the strings of its columns. NULL if that is nothing. */
    size_t (*more_bytes)(const void *row);
    void (*more_copy)(void *copy, char *room);
    /* Of a table: what stands below a row, added with listing_add_cells(). NULL: nothing does. */
    int (*add_below)(struct listing *listing, const void *row);
};

#endif
