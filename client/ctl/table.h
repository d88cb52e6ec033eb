/* SPDX-License-Identifier: MIT */
/*
 * table.h - rows of text in aligned columns
 *
 * A table keeps copies of its cells until it is printed, because a column is as wide as its widest
 * cell. A table that streams keeps some rows only: these say how wide the columns are, and are
 * printed as soon as they are enough; then come the next. Cells are ready for a terminal: their
 * foreign strings are escaped.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/screen.h"

enum table_align {
    TABLE_LEFT,
    TABLE_RIGHT,
};

struct table_column {
    const char *title; /* borrowed for the table's life; NULL for a table without titles */
    enum table_align align;
    bool may_flow; /* the last column only: a text that goes on in the next line if it must */
    unsigned char stream_columns; /* its least width, if more rows come than are kept */
};

#define TABLE_MAX_COLUMNS 24

struct table;

/** table_new() - a table without rows. Return: the table, NULL if there is no memory. */
KMEM_MUST_USE struct table *table_new(const struct table_column *columns, size_t n_columns);

/** table_free() - may be NULL. Return: NULL. */
struct table *table_free(struct table *table);

/**
 * table_fit() - let columns be shortened and left out where there is no room, not lines be broken
 * @drops:  one for each column; copied; the column with the greatest number is left out first
 */
void table_fit(struct table *table, const unsigned char *drops);

/* 128: these are there at once, and say well how wide a table has to be; they are some 20 KiB. */
#define TABLE_STREAM_ROWS 128

/**
 * table_stream() - print rows as they come, TABLE_STREAM_ROWS at a time
 *
 * The columns stay where the first rows have put them, until a figure needs more room.
 * @screen:  borrowed; table_print() prints the last rows there
 */
void table_stream(struct table *table, const struct screen *screen);

/** table_dropped() - the columns that a fitted table has no room for on a screen, as bits */
uint32_t table_dropped(const struct table *table, const struct screen *screen);

/**
 * table_add() - add a row
 * @cells:  as many as there are columns; copied; NULL is an empty cell
 * Return: 0 or -ENOMEM; then the table is as it was.
 */
KMEM_MUST_USE int table_add(struct table *table, const char *const *cells);

/** table_rule() - draw a line above the next row: what follows are totals */
void table_rule(struct table *table);

/** table_row_count() - how many rows were added, the printed ones included */
size_t table_row_count(const struct table *table);

/** table_width() - the columns of the screen that it takes if there is room */
size_t table_width(const struct table *table);

/**
 * table_print() - print the titles and all rows, no line wider than the screen
 *
 * Of a table that streams, the rows that are not printed yet.
 */
void table_print(struct table *table, const struct screen *screen);

#endif
