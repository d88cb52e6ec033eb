/* SPDX-License-Identifier: MIT */
/*
 * page.h - what each page of top lists
 *
 * A page is a listing: its columns are declared as those of the other commands are (column.h), and
 * most of them are theirs. Reasons are no rows that come and go with an answer but nodes of a tree.
 */
#ifndef CTL_TOP_PAGE_H
#define CTL_TOP_PAGE_H

#include <kmem/query.h>

#include "client/ctl/command.h"
#include "client/ctl/rows.h"
#include "client/ctl/shape.h"
#include "client/ctl/top/flow.h"

enum page_id {
    PAGE_REASONS,
    PAGE_CLIENTS,
    PAGE_REFUSALS,
    PAGE_OBITUARIES,
    PAGE_LIMITS,
    N_PAGES,
};

struct page {
    const char *name; /* as the user may say it */
    command_shape_fn shape;
    const char *shown;    /* the columns, as --columns would have them; the last one is a text */
    const char *sort;     /* the one that it is sorted by at first */
    const char *identity; /* the one that tells a row from all others; reasons: their paths do */
    /* Asks, and keeps the rows. NULL: reasons. */
    int (*ask)(struct kmem_query *query, struct rows *rows);
};

/** page_get() - a page. Ownership: static. */
const struct page *page_get(enum page_id id);

/** page_shape() - what its rows are */
const struct listing_shape *page_shape(const struct page *page);

/** page_find() - the page of that name; N_PAGES if there is none */
enum page_id page_find(const char *name);

/** page_column() - the column of that title or key; NULL if the page has none */
const struct column *page_column(const struct page *page, const char *name, size_t n_bytes);

/** page_shown() - the columns of its table, at most TABLE_MAX_COLUMNS. Return: how many. */
size_t page_shown(const struct page *page, const struct column **ret_columns);

/* A row of the page of clients. */
struct client_row {
    struct kmem_client client;
    int64_t rate; /* as in struct reason_row */
    int64_t grown;
    bool has_rate;
};

#endif
