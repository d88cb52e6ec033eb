/* SPDX-License-Identifier: MIT */
/*
 * diff.c - what has grown, by reason: from one snapshot to another, or to now
 */
#include "client/ctl/command.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ctl/growth.h"
#include "client/ctl/listing.h"
#include "client/ctl/snapshot.h"
#include "client/ctl/status.h"

const struct argp_option diff_options[] = {
    {"depth", OPTION_DEPTH, "N", 0, "Keep N levels of each reason: fold \"a/b/c\" into \"a/b\"", 0},
    {0},
};

/* ------------------------------------------------------------------------------- the rows ---- */

#define AT(member) COLUMN_AT(struct growth, member)

static const struct column columns[] = {
    {"REASON", "reason", COLUMN_TEXT, AT(key), .filter = FILTER_REASON, .drop = 1,
     .may_flow = true},
    {"GROWN", "grown_bytes", COLUMN_GROWN_BYTES, AT(grown_bytes)},
    {"BLOCKS", "grown_blocks", COLUMN_GROWN_COUNT, AT(grown_blocks), .drop = 3},
    {"BEFORE", "before_bytes", COLUMN_BYTES, AT(before_bytes), .drop = 5},
    {"AFTER", "after_bytes", COLUMN_BYTES, AT(after_bytes), .drop = 2},
    {"BLOCKS BEFORE", "before_blocks", COLUMN_COUNT, AT(before_blocks), .drop = 7},
    {"BLOCKS AFTER", "after_blocks", COLUMN_COUNT, AT(after_blocks), .drop = 6},
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct listing_shape shape = {
    .name = "diff",
    .nothing = "nothing has grown, and nothing has shrunk",
    .nothing_chosen = "nothing of that kind has grown or shrunk",
    .columns = columns,
    .n_columns = N_COLUMNS,
    .table = "GROWN,BLOCKS,BEFORE,AFTER,REASON",
    .wide = "GROWN,BLOCKS,BEFORE,AFTER,BLOCKS BEFORE,BLOCKS AFTER,REASON",
    .row_bytes = sizeof(struct growth),
};

const struct listing_shape *diff_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

bool diff_asks(const struct options *options)
{
    return !options->arguments[1];
}

/* ------------------------------------------------------------------------------ gathering ---- */

struct diff {
    const struct options *options;
    struct snapshot before;
    struct snapshot after;
    struct growths growths;
};

/* Return: STATUS_OK, or a status, and then a message is printed. */
static int read_or_complain(struct snapshot *snapshot, const char *path)
{
    char why[SNAPSHOT_WHY_BYTES];
    int r = snapshot_read(snapshot, path, why);
    if (r < 0) {
        (void)fprintf(stderr, "kmemctl diff: %s: %s\n", format_escaped(path).text, why);
    }
    return r == -EINVAL ? STATUS_USAGE : r < 0 ? STATUS_ERROR : STATUS_OK;
}

static int gather(struct diff *diff, struct kmem_query *query)
{
    const struct options *options = diff->options;
    int r = read_or_complain(&diff->before, options->arguments[0]);
    if (r == 0) {
        r = options->arguments[1] ? read_or_complain(&diff->after, options->arguments[1])
                                  : snapshot_take(&diff->after, query);
    }
    if (r == 0 && options->depth > 0) {
        groups_fold(&diff->before.groups, options->depth);
        groups_fold(&diff->after.groups, options->depth);
    }
    return r ? r : growths_init(&diff->growths, &diff->before.groups, &diff->after.groups);
}

/* -------------------------------------------------------------------------------- showing ---- */

static void print_time(uint64_t taken_ms, const struct screen *screen)
{
    char text[64] = "?";
    const time_t seconds = (time_t)(taken_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local)) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    }
    (void)fputs(text, screen->file);
}

static void print_head(const struct diff *diff, const struct screen *screen)
{
    const uint64_t before_ms = diff->before.taken_ms;
    const uint64_t after_ms = diff->after.taken_ms;
    const uint64_t between_ms = after_ms > before_ms ? after_ms - before_ms : before_ms - after_ms;
    (void)fprintf(screen->file, "segment \"%s\", from ",
                  format_escaped(diff->after.segment_name).text);
    print_time(before_ms, screen);
    (void)fputs(" to ", screen->file);
    if (diff->options->arguments[1]) {
        print_time(after_ms, screen);
    } else {
        (void)fputs("now", screen->file);
    }
    (void)fprintf(screen->file, " (%s%s)\n\n", format_age(between_ms).text,
                  after_ms < before_ms ? ", backwards" : "");
}

/* What it says may still be wanted: how two runs of a program differ. */
static void warn_of_another(const struct diff *diff, const struct screen *screen)
{
    const struct snapshot *before = &diff->before;
    const struct snapshot *after = &diff->after;
    if (strcmp(before->segment_name, after->segment_name) != 0) {
        (void)fprintf(screen->notes, "kmemctl: these are two segments, \"%s\" and \"%s\"\n",
                      format_escaped(before->segment_name).text,
                      format_escaped(after->segment_name).text);
    } else if (before->instance != after->instance && before->instance && after->instance) {
        (void)fprintf(
            screen->notes,
            "kmemctl: the segment \"%s\" was made anew in between: no block is the same\n",
            format_escaped(after->segment_name).text);
    }
}

static int add_total(struct listing *listing, const struct growth *total)
{
    struct escaped texts[N_COLUMNS];
    const char *cells[N_COLUMNS];
    for (size_t i = 0; i < N_COLUMNS; i++) {
        cells[i] = columns[i].kind == COLUMN_TEXT
                       ? "total"
                       : column_cell(&columns[i], total, listing->options->exact_bytes, &texts[i]);
    }
    table_rule(listing->table);
    return listing_add_cells(listing, cells);
}

static int list(const struct diff *diff, const struct screen *screen)
{
    const struct growths *growths = &diff->growths;
    struct listing listing;
    int r = listing_begin(&listing, &shape, diff->options, screen);
    if (r < 0) {
        return r;
    }
    if (listing_has_titles(&listing)) {
        print_head(diff, screen);
    }
    for (size_t i = 0; r >= 0 && i < growths->n_rows; i++) {
        r = listing_add(&listing, &growths->rows[i]);
    }
    r = r < 0 ? r : listing_flush(&listing);
    if (r == 0 && listing_has_titles(&listing) && listing.n_rows > 0) {
        r = add_total(&listing, &growths->total);
    }
    return listing_end(&listing, r);
}

int diff_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    struct diff diff = {.options = options};
    int r = gather(&diff, query);
    if (r == 0) {
        r = list(&diff, screen);
        warn_of_another(&diff, screen);
    }
    growths_fini(&diff.growths);
    snapshot_fini(&diff.before);
    snapshot_fini(&diff.after);
    return r;
}
