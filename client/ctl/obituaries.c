/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include <stdio.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/listing.h"

static const char *end_text(const void *row)
{
    const struct kmem_obituary *obituary = row;
    return obituary->left ? "left" : "died";
}

/* The reasons are rows of their own, below. */
static const char *nothing_text(const void *row)
{
    (void)row;
    return "";
}

static void nest_reasons(struct json_row *json, const void *row)
{
    const struct kmem_obituary *obituary = row;
    json_row_list(json, "reasons");
    for (size_t i = 0; i < obituary->n_rows; i++) {
        const struct kmem_ledger_row *reason = &obituary->rows[i];
        struct json_row one;
        json_row_init(&one);
        json_row_text(&one, "reason", reason->key);
        json_row_number(&one, "n_blocks", reason->n_blocks);
        json_row_number(&one, "num_bytes", reason->num_bytes);
        json_row_number(&one, "oldest_ms", reason->oldest_ms);
        json_row_append(json, "reasons", &one);
    }
}

static void nest_largest_kept(struct json_row *json, const void *row)
{
    const struct kmem_obituary *obituary = row;
    const bool is_name = obituary->kept_by_kind == KMEM_HOLDER_NAME;
    const bool is_process = obituary->kept_by_kind == KMEM_HOLDER_ATTACHED;
    struct json_row largest;
    if (obituary->n_kept == 0) {
        return;
    }
    json_row_init(&largest);
    json_row_number(&largest, "num_bytes", obituary->largest_kept_bytes);
    json_row_text(&largest, "kind", is_name ? "name" : is_process ? "attached" : "offer");
    json_row_number(&largest, "pid", obituary->kept_by_pid);
    json_row_text(&largest, "command", is_process ? obituary->kept_by : "");
    json_row_text(&largest, "name", is_name ? obituary->kept_by : "");
    json_row_row(json, "largest_kept", &largest);
}

#define AT(member) COLUMN_AT(struct kmem_obituary, member)

enum {
    N_BLOCKS = 8,
    NUM_BYTES = 9,
    REASON = 18,
    N_COLUMNS,
};

static const struct column columns[N_COLUMNS] = {
    {"NO", "number", COLUMN_COUNT, AT(number), .drop = 6},
    {"PID", "pid", COLUMN_PID, AT(pid), .filter = FILTER_PID},
    {"UID", "uid", COLUMN_ID, AT(uid), .filter = FILTER_USER, .drop = 11},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 9, .is_derived = true},
    {"COMMAND", "command", COLUMN_TEXT, AT(command), .drop = 3},
    {NULL, "left", COLUMN_FLAG, AT(left)},
    {"LIVED", "lived_ms", COLUMN_AGE, AT(lived_ms), .drop = 7},
    {"ENDED", "ended_ms_ago", COLUMN_AGE, AT(ended_ms_ago), .filter = FILTER_AGE, .drop = 5},
    [N_BLOCKS] = {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 4},
    [NUM_BYTES] = {"UNRELEASED", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE,
                   .drop = 1},
    {"PEAK USED", "peak_used_bytes", COLUMN_BYTES, AT(peak_used_bytes), .drop = 8},
    {"PEAK HELD", "peak_bytes", COLUMN_BYTES, AT(peak_bytes), .drop = 10},
    {"REASONS", "n_reasons", COLUMN_COUNT, AT(n_reasons), .drop = 12},
    {NULL, "reasons", COLUMN_NESTED, .nest = nest_reasons},
    {"KEPT", "n_kept", COLUMN_COUNT, AT(n_kept), .drop = 13},
    {"KEPT BYTES", "kept_bytes", COLUMN_BYTES, AT(kept_bytes), .drop = 13},
    {NULL, "largest_kept", COLUMN_NESTED, .nest = nest_largest_kept},
    {"END", "end", COLUMN_WORD, .word = end_text, .drop = 3, .is_derived = true},
    [REASON] = {"REASON", NULL, COLUMN_WORD, .word = nothing_text, .drop = 2, .may_flow = true},
};

/* --------------------------------------------------------------------- what stands below ---- */

/* Only what was not released, by reason. */
static int add_reason(struct listing *listing, uint64_t num_bytes, uint64_t n_blocks,
                      const char *reason)
{
    struct label bytes = format_bytes(num_bytes, listing->options->exact_bytes);
    struct label blocks = format_count(n_blocks);
    struct escaped escaped = format_escaped(reason);
    const char *cells[N_COLUMNS] = {
        [NUM_BYTES] = bytes.text,
        [N_BLOCKS] = blocks.text,
        [REASON] = escaped.text,
    };

    return listing_add_cells(listing, cells);
}

/* The daemon remembers the largest reasons only; what they leave over is a row too. */
static int add_reasons(struct listing *listing, const struct kmem_obituary *obituary)
{
    uint64_t num_bytes = obituary->num_bytes;
    uint64_t n_blocks = obituary->n_blocks;
    int r = 0;
    for (size_t i = 0; r == 0 && i < obituary->n_rows; i++) {
        const struct kmem_ledger_row *row = &obituary->rows[i];
        num_bytes -= row->num_bytes;
        n_blocks -= row->n_blocks;
        r = add_reason(listing, row->num_bytes, row->n_blocks, row->key);
    }
    if (r == 0 && n_blocks > 0) {
        r = add_reason(listing, num_bytes, n_blocks, "<other reasons>");
    }
    return r;
}

/* Another row below it: what lives on, and with whom the largest block of it. */
static int add_kept(struct listing *listing, const struct kmem_obituary *obituary)
{
    const bool exactly = listing->options->exact_bytes;
    struct label all = format_bytes(obituary->kept_bytes, exactly);
    struct label largest = format_bytes(obituary->largest_kept_bytes, exactly);
    struct label pid = format_pid(obituary->kept_by_pid);
    struct escaped by = format_escaped(obituary->kept_by);
    char with[sizeof(by.text) + sizeof(pid.text) + 32];
    char text[sizeof(with) + sizeof(all.text) + sizeof(largest.text) + 32];
    if (obituary->kept_by_kind == KMEM_HOLDER_NAME) {
        (void)snprintf(with, sizeof(with), "by the name %s", by.text);
    } else if (obituary->kept_by_kind == KMEM_HOLDER_OFFER) {
        (void)snprintf(with, sizeof(with), "as an offer that no process has attached");
    } else {
        (void)snprintf(with, sizeof(with), "with process %s (%s)", pid.text, by.text);
    }
    if (obituary->n_kept == 1) {
        (void)snprintf(text, sizeof(text), "%s lives on %s", all.text, with);
    } else {
        (void)snprintf(text, sizeof(text), "%s lives on, %s of it %s", all.text, largest.text,
                       with);
    }
    const char *cells[N_COLUMNS] = {[REASON] = text};
    return listing_add_cells(listing, cells);
}

static int add_below(struct listing *listing, const void *row)
{
    const struct kmem_obituary *obituary = row;
    int r = obituary->n_blocks > 0 ? add_reasons(listing, obituary) : 0;
    return r == 0 && obituary->n_kept > 0 ? add_kept(listing, obituary) : r;
}

/* ---------------------------------------------------------------------------------- copies ---- */

static size_t more_bytes(const void *row)
{
    const struct kmem_obituary *obituary = row;
    size_t n_bytes = obituary->n_rows * sizeof(obituary->rows[0]);
    for (size_t i = 0; i < obituary->n_rows; i++) {
        n_bytes += strlen(obituary->rows[i].key) + 1;
    }
    return n_bytes + strlen(obituary->kept_by ? obituary->kept_by : "") + 1;
}

static void more_copy(void *copy, char *room)
{
    struct kmem_obituary *obituary = copy;
    struct kmem_ledger_row *rows = (struct kmem_ledger_row *)(void *)room;
    char *end = room + obituary->n_rows * sizeof(*rows);
    for (size_t i = 0; i < obituary->n_rows; i++) {
        rows[i] = obituary->rows[i];
        rows[i].key = end;
        end = stpcpy(end, obituary->rows[i].key) + 1;
    }
    const char *kept_by = obituary->kept_by ? obituary->kept_by : "";
    obituary->rows = rows;
    (void)stpcpy(end, kept_by);
    obituary->kept_by = end;
}

static const struct listing_shape shape = {
    .name = "obituaries",
    .nothing = "nobody has ended",
    .nothing_chosen = "nobody of that kind has ended",
    .columns = columns,
    .n_columns = N_COLUMNS,
    .table = "NO,ENDED,LIVED,PID,UID,USER,COMMAND,END,PEAK USED,PEAK HELD,UNRELEASED,BLOCKS,REASON",
    .wide = "NO,ENDED,LIVED,PID,UID,USER,COMMAND,END,PEAK USED,PEAK HELD,UNRELEASED,BLOCKS,"
            "REASONS,KEPT,KEPT BYTES,REASON",
    .row_bytes = sizeof(struct kmem_obituary),
    .more_bytes = more_bytes,
    .more_copy = more_copy,
    .add_below = add_below,
};

const struct listing_shape *obituaries_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

static int add_obituary(const struct kmem_obituary *obituary, void *user)
{
    int r = listing_add(user, obituary);
    return r < 0 ? r : 0;
}

int obituaries_show(struct kmem_query *query, const struct options *options,
                    const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    return listing_end(&listing, kmem_query_obituaries(query, add_obituary, &listing));
}
