/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/page.h"

#include <string.h>

#include "client/ctl/limits.h"
#include "client/ctl/refusals.h"
#include "client/ctl/table.h"
#include "client/ctl/top/live_tree.h"

/* -------------------------------------------------------------------------------- reasons ---- */

static const char *reason_unknown(const void *row)
{
    return ((const struct reason_row *)row)->has_rate ? NULL : "-";
}

static const char *reason_trend(const void *row)
{
    return ((const struct reason_row *)row)->trend;
}

#define AT(member) COLUMN_AT(struct reason_row, member)

static const struct column reason_columns[] = {
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes)},
    {"SHARE", "share_permille", COLUMN_SHARE, AT(share_permille), .drop = 4},
    {"BYTES/S", "rate", COLUMN_GROWN_BYTES, AT(rate), .word = reason_unknown, .drop = 1},
    {"GROWN", "grown", COLUMN_GROWN_BYTES, AT(grown), .word = reason_unknown, .drop = 3},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 5},
    {"OLDEST", "oldest_ms", COLUMN_AGE, AT(oldest_ms), .drop = 6},
    {"TREND", NULL, COLUMN_WORD, .word = reason_trend, .drop = 2},
    {"REASON", "reason", COLUMN_TEXT, AT(path)},
};
#undef AT

static const struct listing_shape reason_shape = {
    .name = "reasons",
    .nothing = "no live blocks",
    .nothing_chosen = "no reason matches",
    .columns = reason_columns,
    .n_columns = sizeof(reason_columns) / sizeof(reason_columns[0]),
    .row_bytes = sizeof(struct reason_row),
};

static const struct listing_shape *reasons_rows(const struct options *options)
{
    (void)options;
    return &reason_shape;
}

/* -------------------------------------------------------------------------------- clients ---- */

static const char *client_unknown(const void *row)
{
    return ((const struct client_row *)row)->has_rate ? NULL : "-";
}

#define AT(member) COLUMN_AT(struct client_row, member)

static const struct column client_columns[] = {
    {"SLOT", "slot", COLUMN_ID, AT(client.slot), .drop = 9},
    {"PID", "pid", COLUMN_PID, AT(client.pid), .filter = FILTER_PID},
    {"USER", "user", COLUMN_USER, AT(client.uid), .filter = FILTER_USER, .drop = 6},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(client.num_bytes), .filter = FILTER_SIZE},
    {"BYTES/S", "rate", COLUMN_GROWN_BYTES, AT(rate), .word = client_unknown, .drop = 1},
    {"GROWN", "grown", COLUMN_GROWN_BYTES, AT(grown), .word = client_unknown, .drop = 4},
    {"LEASED", "leased_bytes", COLUMN_BYTES, AT(client.leased_bytes), .drop = 3},
    {"IDLE", "idle_bytes", COLUMN_BYTES, AT(client.idle_bytes), .drop = 2},
    {"PEAK USED", "peak_used_bytes", COLUMN_BYTES, AT(client.peak_used_bytes), .drop = 7},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(client.n_blocks), .drop = 5},
    {"AGE", "age_ms", COLUMN_AGE, AT(client.age_ms), .filter = FILTER_AGE, .drop = 8},
    {"UNIT", "unit", COLUMN_TEXT, AT(client.unit), .drop = 10},
    {"COMMAND", "command", COLUMN_TEXT, AT(client.command)},
};
#undef AT

static const struct listing_shape client_shape = {
    .name = "clients",
    .nothing = "no clients",
    .nothing_chosen = "no client matches",
    .columns = client_columns,
    .n_columns = sizeof(client_columns) / sizeof(client_columns[0]),
    .row_bytes = sizeof(struct client_row),
};

static const struct listing_shape *clients_rows(const struct options *options)
{
    (void)options;
    return &client_shape;
}

static int keep_client(const struct kmem_client *client, void *user)
{
    const struct client_row row = {.client = *client};
    return rows_add(user, &row);
}

static int ask_clients(struct kmem_query *query, struct rows *rows)
{
    return kmem_query_clients(query, keep_client, rows);
}

/* ----------------------------------------------------------------------------- obituaries ---- */

static int keep_obituary(const struct kmem_obituary *obituary, void *user)
{
    return rows_add(user, obituary);
}

static int ask_obituaries(struct kmem_query *query, struct rows *rows)
{
    return kmem_query_obituaries(query, keep_obituary, rows);
}

/* ------------------------------------------------------------------------------ the pages ---- */

static const struct page pages[N_PAGES] = {
    [PAGE_REASONS] = {"reasons", reasons_rows,
                      "BYTES,SHARE,BYTES/S,GROWN,BLOCKS,OLDEST,TREND,REASON", "BYTES", "", NULL},
    [PAGE_CLIENTS] = {"clients", clients_rows,
                      "PID,USER,BYTES,BYTES/S,GROWN,LEASED,IDLE,PEAK USED,BLOCKS,AGE,COMMAND",
                      "BYTES", "SLOT", ask_clients},
    [PAGE_OBITUARIES] = {"obituaries", obituaries_shape,
                         "ENDED,LIVED,PID,USER,END,PEAK USED,UNRELEASED,BLOCKS,COMMAND", "NO", "NO",
                         ask_obituaries},
    [PAGE_REFUSALS] = {"refusals", refusals_shape,
                       "LAST,TIMES,ASKED,BYTES,WHY,FREE,EXTENT,PID,USER,COMMAND,REASON", "LAST:asc",
                       "NO", refusals_keep},
    [PAGE_LIMITS] = {"limits", limits_shape, "NAME,USED,LIMIT,SHARE,STATE,WHAT IT IS", "SHARE",
                     "NAME", limits_keep},
};

const struct page *page_get(enum page_id id)
{
    return &pages[id];
}

const struct listing_shape *page_shape(const struct page *page)
{
    static const struct options plainly;
    return page->shape(&plainly);
}

enum page_id page_find(const char *name)
{
    enum page_id id = 0;
    while (id < N_PAGES && strcmp(pages[id].name, name) != 0) {
        id++;
    }
    return id;
}

const struct column *page_column(const struct page *page, const char *name, size_t n_bytes)
{
    const struct listing_shape *shape = page_shape(page);
    const size_t found = column_find(shape->columns, shape->n_columns, name, n_bytes);
    return found < shape->n_columns ? &shape->columns[found] : NULL;
}

size_t page_shown(const struct page *page, const struct column **ret_columns)
{
    size_t n = 0;
    for (const char *name = page->shown; n < TABLE_MAX_COLUMNS; name += strcspn(name, ",") + 1) {
        const size_t n_bytes = strcspn(name, ",");
        ret_columns[n] = page_column(page, name, n_bytes);
        n += ret_columns[n] != NULL;
        if (name[n_bytes] == '\0') {
            break;
        }
    }
    return n;
}
