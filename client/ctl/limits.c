/* SPDX-License-Identifier: MIT */
/*
 * limits.c - what there may be how much of, and what is near its end
 *
 * Some are in bytes and some are counts, so a table says the unit with each figure. Three are how
 * much is remembered: they are full sooner or later, and nothing is refused then.
 */
#include "client/ctl/command.h"

#include <string.h>

#include "client/ctl/limits.h"
#include "client/ctl/listing.h"
#include "client/ctl/status.h"
#include "client/ctl/measure.h"

const struct argp_option limits_options[] = {
    {"fail-above", OPTION_FAIL_ABOVE, "PERCENT", 0,
     "End with status 5 if more than PERCENT of a limit is in use", 0},
    {0},
};

/* ------------------------------------------------------------------------------- judgement ---- */

static bool rotates(const char *name)
{
    return strcmp(name, "obituaries") == 0 || strcmp(name, "refusals") == 0 ||
           strcmp(name, "rollups") == 0;
}

enum limit_state limit_state(const struct kmem_limit *limit)
{
    if (limit->limit == 0) {
        return LIMIT_NONE;
    }
    if (rotates(limit->name)) {
        return LIMIT_ROTATES;
    }
    if (limit->used >= limit->limit) {
        return LIMIT_FULL;
    }
    return limit_percent(limit) >= LIMIT_NEAR_PERCENT ? LIMIT_NEAR : LIMIT_OK;
}

double limit_percent(const struct kmem_limit *limit)
{
    return limit->limit > 0 ? 100.0 * (double)limit->used / (double)limit->limit : 0;
}

/* ------------------------------------------------------------------------------- the rows ---- */

struct limit_row {
    struct kmem_limit said;
    uint64_t share_permille;
    struct label used;
    struct label limit;
    struct label share;
};

static const char *state_word(const void *row)
{
    static const char *const words[] = {[LIMIT_NONE] = "no limit",
                                        [LIMIT_ROTATES] = "rotates",
                                        [LIMIT_OK] = "ok",
                                        [LIMIT_NEAR] = "near",
                                        [LIMIT_FULL] = "full"};
    return words[limit_state(&((const struct limit_row *)row)->said)];
}

static const char *used_text(const void *row)
{
    return ((const struct limit_row *)row)->used.text;
}

static const char *limit_text(const void *row)
{
    return ((const struct limit_row *)row)->limit.text;
}

static const char *share_text(const void *row)
{
    return ((const struct limit_row *)row)->share.text;
}

#define AT(member) COLUMN_AT(struct limit_row, member)

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT, AT(said.name)},
    {"USED", "used", COLUMN_COUNT, AT(said.used), .word = used_text, .drop = 2},
    {"LIMIT", "limit", COLUMN_COUNT, AT(said.limit), .word = limit_text, .drop = 3},
    {"SHARE", "share_permille", COLUMN_SHARE, AT(share_permille), .word = share_text, .drop = 1},
    {"UNIT", "unit", COLUMN_TEXT, AT(said.unit), .drop = 6},
    {"STATE", "state", COLUMN_WORD, .word = state_word, .drop = 4},
    {"WHAT IT IS", "text", COLUMN_TEXT, AT(said.text), .drop = 5, .may_flow = true},
};

static const struct listing_shape shape = {
    .name = "limits",
    .nothing = "no limits",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "NAME,USED,LIMIT,SHARE,STATE,WHAT IT IS",
    .wide = "NAME,USED,LIMIT,SHARE,STATE,UNIT,WHAT IT IS",
    .row_bytes = sizeof(struct limit_row),
};

const struct listing_shape *limits_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

/* -------------------------------------------------------------------------------- showing ---- */

struct limits {
    struct listing listing;
    double most_percent; /* of those that are limits of something */
};

static struct label figure(const struct kmem_limit *limit, uint64_t figure, bool exactly)
{
    return strcmp(limit->unit, "bytes") == 0 ? format_bytes(figure, exactly) : format_count(figure);
}

static struct limit_row describe(const struct kmem_limit *limit, bool exactly)
{
    return (struct limit_row){
        .said = *limit,
        .share_permille = measure_permille(limit_percent(limit), 100),
        .used = figure(limit, limit->used, exactly),
        .limit =
            limit->limit > 0 ? figure(limit, limit->limit, exactly) : (struct label){.text = "-"},
        .share = format_share(limit->used, limit->limit),
    };
}

static int keep_limit(const struct kmem_limit *limit, void *user)
{
    const struct limit_row row = describe(limit, false);
    return rows_add(user, &row);
}

int limits_keep(struct kmem_query *query, struct rows *rows)
{
    return kmem_query_limits(query, keep_limit, rows);
}

static int add_limit(const struct kmem_limit *limit, void *user)
{
    struct limits *limits = user;
    const struct limit_row row = describe(limit, limits->listing.options->exact_bytes);
    if (limit_state(limit) >= LIMIT_OK && limit_percent(limit) > limits->most_percent) {
        limits->most_percent = limit_percent(limit);
    }
    int r = listing_add(&limits->listing, &row);
    return r < 0 ? r : 0;
}

int limits_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct limits limits = {.most_percent = 0};
    int r = listing_begin(&limits.listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    r = listing_end(&limits.listing, kmem_query_limits(query, add_limit, &limits));
    const bool fails = options->fail_above_percent > 0;
    return r == 0 && fails && limits.most_percent > options->fail_above_percent ? STATUS_THRESHOLD
                                                                                : r;
}
