/* SPDX-License-Identifier: MIT */
#include "client/ctl/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 1,024: below that, sorting again and again costs more than the memory is worth. */
#define ROWS_MIN 1024

static void rows_cut(struct rows *rows, size_t n_rows)
{
    while (rows->n_rows > n_rows) {
        free(rows->rows[--rows->n_rows].row);
    }
}

void rows_fini(struct rows *rows)
{
    rows_cut(rows, 0);
    free(rows->rows);
    *rows = (struct rows){0};
}

/* ---------------------------------------------------------------------------------- order ---- */

static int compare_rows(const void *left, const void *right, void *user)
{
    const struct rows *rows = user;
    const struct kept_row *a = left;
    const struct kept_row *b = right;
    const int order = column_compare(rows->by, a->row, b->row);
    if (order != 0) {
        return rows->is_descending ? -order : order;
    }
    return (a->number > b->number) - (a->number < b->number);
}

void rows_sort(struct rows *rows)
{
    if (rows->n_rows > 0) {
        qsort_r(rows->rows, rows->n_rows, sizeof(struct kept_row), compare_rows, rows);
    }
    if (rows->n_wanted > 0 && rows->n_rows > rows->n_wanted) {
        rows_cut(rows, (size_t)rows->n_wanted);
    }
}

/* --------------------------------------------------------------------------------- copies ---- */

static bool is_string(const struct column *column)
{
    return column->kind == COLUMN_TEXT;
}

static size_t copy_bytes(const struct listing_shape *shape, const void *row)
{
    size_t n_bytes = shape->row_bytes;
    for (size_t i = 0; i < shape->n_columns; i++) {
        n_bytes +=
            is_string(&shape->columns[i]) ? strlen(column_text(&shape->columns[i], row)) + 1 : 0;
    }
    return n_bytes;
}

/* What needs an alignment comes before the strings. */
static void *row_dup(const struct listing_shape *shape, const void *row)
{
    const size_t more_bytes = shape->more_bytes ? shape->more_bytes(row) : 0;
    char *copy = malloc(copy_bytes(shape, row) + more_bytes);
    if (!copy) {
        return NULL;
    }
    memcpy(copy, row, shape->row_bytes);
    if (shape->more_copy) {
        shape->more_copy(copy, copy + shape->row_bytes);
    }
    char *end = copy + shape->row_bytes + more_bytes;
    for (size_t i = 0; i < shape->n_columns; i++) {
        if (is_string(&shape->columns[i])) {
            char **member = (char **)(void *)(copy + shape->columns[i].at);
            *member = end;
            end = stpcpy(end, column_text(&shape->columns[i], row)) + 1;
        }
    }
    return copy;
}

static int rows_reserve(struct rows *rows)
{
    const size_t capacity = rows->capacity ? rows->capacity * 2 : 64;
    if (rows->n_rows < rows->capacity) {
        return 0;
    }
    struct kept_row *grown = realloc(rows->rows, capacity * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    rows->rows = grown;
    rows->capacity = capacity;
    return 0;
}

int rows_add(struct rows *rows, const void *row)
{
    if (rows->n_wanted > 0 && rows->n_rows >= ROWS_MIN && rows->n_rows / 2 >= rows->n_wanted) {
        rows_sort(rows);
    }
    int r = rows_reserve(rows);
    if (r < 0) {
        return r;
    }
    void *copy = row_dup(rows->shape, row);
    if (!copy) {
        return -ENOMEM;
    }
    rows->rows[rows->n_rows++] = (struct kept_row){.row = copy, .number = rows->n_seen++};
    return 0;
}
