/* SPDX-License-Identifier: MIT */
/*
 * refusals.c - what was asked for and refused: each, or how often for which cause
 */
#include "client/ctl/refusals.h"

#include <string.h>

#include "client/ctl/command.h"
#include "client/ctl/listing.h"

const struct argp_option refusals_options[] = {
    {"counts", OPTION_COUNTS, NULL, 0, "How often each was refused for which cause, explained", 0},
    {0},
};

/* ------------------------------------------------------------------------------- the rows ---- */

struct refusal_row {
    struct kmem_refusal said;
    struct label used;
    struct label limit;
};

/* What is about no process's memory has no bytes. */
static const char *bytes_text(const void *row)
{
    return ((const struct refusal_row *)row)->said.num_bytes > 0 ? NULL : "-";
}

static const char *used_text(const void *row)
{
    return ((const struct refusal_row *)row)->used.text;
}

static const char *limit_text(const void *row)
{
    return ((const struct refusal_row *)row)->limit.text;
}

#define AT(member) COLUMN_AT(struct refusal_row, said.member)

static const struct column columns[] = {
    {"NO", "number", COLUMN_COUNT, AT(number), .drop = 13},
    {"ASKED", "asked", COLUMN_TEXT, AT(asked), .drop = 3},
    {"WHY", "why", COLUMN_TEXT, AT(why)},
    {"PID", "pid", COLUMN_PID, AT(pid), .filter = FILTER_PID, .drop = 2},
    {"UID", "uid", COLUMN_ID, AT(uid), .filter = FILTER_USER, .drop = 10},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 9, .is_derived = true},
    {"COMMAND", "command", COLUMN_TEXT, AT(command), .drop = 5},
    {"REASON", "reason", COLUMN_TEXT, AT(reason), .filter = FILTER_REASON, .drop = 4,
     .may_flow = true},
    {"TIMES", "n_times", COLUMN_COUNT, AT(n_times), .drop = 6},
    {"FIRST", "first_ms_ago", COLUMN_AGE, AT(first_ms_ago), .drop = 12},
    {"LAST", "last_ms_ago", COLUMN_AGE, AT(last_ms_ago), .filter = FILTER_AGE, .drop = 1},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes), .word = bytes_text, .filter = FILTER_SIZE,
     .drop = 1},
    {"FREE", "free_bytes", COLUMN_BYTES, AT(free_bytes), .drop = 8},
    {"EXTENT", "largest_extent_bytes", COLUMN_BYTES, AT(largest_extent_bytes), .drop = 7},
    {"USED", "used", COLUMN_COUNT, AT(used), .word = used_text, .drop = 11},
    {"LIMIT", "limit", COLUMN_COUNT, AT(limit), .word = limit_text, .drop = 11},
};

#define TABLE "LAST,TIMES,ASKED,BYTES,WHY,FREE,EXTENT,PID,UID,USER,COMMAND,REASON"
#define WIDE                                                                                       \
    "NO,FIRST,LAST,TIMES,ASKED,BYTES,WHY,FREE,EXTENT,USED,LIMIT,PID,UID,USER,COMMAND,REASON"

static const struct listing_shape each_shape = {
    .name = "refusals",
    .nothing = "nothing was refused",
    .nothing_chosen = "nothing of that kind was refused",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = TABLE,
    .wide = WIDE,
    .row_bytes = sizeof(struct refusal_row),
};

#define COUNT_AT(member) COLUMN_AT(struct kmem_refusal_count, member)

static const struct column count_columns[] = {
    {"TIMES", "n_times", COLUMN_COUNT, COUNT_AT(n_times)},
    {"ASKED", "asked", COLUMN_TEXT, COUNT_AT(asked), .drop = 1},
    {"WHY", "why", COLUMN_TEXT, COUNT_AT(why)},
    {"WHAT IT SAYS", "text", COLUMN_TEXT, COUNT_AT(text), .drop = 2, .may_flow = true},
};

static const struct listing_shape counts_shape = {
    .name = "refusal_counts",
    .nothing = "nothing was refused",
    .columns = count_columns,
    .n_columns = sizeof(count_columns) / sizeof(count_columns[0]),
    .table = "TIMES,ASKED,WHY,WHAT IT SAYS",
    .wide = "TIMES,ASKED,WHY,WHAT IT SAYS",
    .row_bytes = sizeof(struct kmem_refusal_count),
};

const struct listing_shape *refusals_shape(const struct options *options)
{
    return options->counts ? &counts_shape : &each_shape;
}

/* -------------------------------------------------------------------------------- showing ---- */

static struct label against(const struct kmem_refusal *refusal, uint64_t figure, bool exactly)
{
    if (refusal->limit == 0) {
        return (struct label){.text = "-"};
    }
    const bool is_memory =
        strcmp(refusal->asked, "block") == 0 || strcmp(refusal->asked, "lease") == 0;
    return is_memory ? format_bytes(figure, exactly) : format_count(figure);
}

static struct refusal_row describe(const struct kmem_refusal *refusal, bool exactly)
{
    return (struct refusal_row){
        .said = *refusal,
        .used = against(refusal, refusal->used, exactly),
        .limit = against(refusal, refusal->limit, exactly),
    };
}

static int add_refusal(const struct kmem_refusal *refusal, void *user)
{
    struct listing *listing = user;
    const struct refusal_row row = describe(refusal, listing->options->exact_bytes);
    int r = listing_add(listing, &row);
    return r < 0 ? r : 0;
}

static int keep_refusal(const struct kmem_refusal *refusal, void *user)
{
    const struct refusal_row row = describe(refusal, false);
    return rows_add(user, &row);
}

int refusals_keep(struct kmem_query *query, struct rows *rows)
{
    return kmem_query_refusals(query, keep_refusal, rows);
}

static int add_count(const struct kmem_refusal_count *count, void *user)
{
    int r = count->n_times > 0 ? listing_add(user, count) : 0;
    return r < 0 ? r : 0;
}

int refusals_show(struct kmem_query *query, const struct options *options,
                  const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, refusals_shape(options), options, screen);
    if (r < 0) {
        return r;
    }
    r = options->counts ? kmem_query_refusal_counts(query, add_count, &listing)
                        : kmem_query_refusals(query, add_refusal, &listing);
    return listing_end(&listing, r);
}
