/* SPDX-License-Identifier: MIT */
/*
 * table.h - rows of text in aligned columns
 *
 * A table keeps copies of its cells until it is printed, because a column is as wide as its widest
 * cell. Cells are ready for a terminal: the caller has escaped foreign strings.
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

/** table_row_count() - how many rows were added */
size_t table_row_count(const struct table *table);

/** table_width() - the columns of the screen that it takes if there is room */
size_t table_width(const struct table *table);

/** table_print() - print the titles and all rows, no line wider than the screen */
void table_print(const struct table *table, const struct screen *screen);

#endif
