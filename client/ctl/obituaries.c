/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include <stdio.h>

#include "client/ctl/format.h"
#include "client/ctl/listing.h"

enum column {
    NUMBER,
    ENDED,
    LIVED,
    PID,
    UID,
    COMMAND,
    END,
    PEAK_USED,
    PEAK_HELD,
    UNRELEASED,
    BLOCKS,
    REASON,
    N_COLUMNS,
};

static const struct table_column columns[N_COLUMNS] = {
    [NUMBER] = {"NO", TABLE_RIGHT, false},
    [ENDED] = {"ENDED", TABLE_RIGHT, false},
    [LIVED] = {"LIVED", TABLE_RIGHT, false},
    [PID] = {"PID", TABLE_RIGHT, false},
    [UID] = {"UID", TABLE_RIGHT, false},
    [COMMAND] = {"COMMAND", TABLE_LEFT, false},
    [END] = {"END", TABLE_LEFT, false},
    [PEAK_USED] = {"PEAK USED", TABLE_RIGHT, false},
    [PEAK_HELD] = {"PEAK HELD", TABLE_RIGHT, false},
    [UNRELEASED] = {"UNRELEASED", TABLE_RIGHT, false},
    [BLOCKS] = {"BLOCKS", TABLE_RIGHT, false},
    [REASON] = {"REASON", TABLE_LEFT, true},
};

static const struct listing_shape shape = {"obituaries", "nobody has ended", columns, N_COLUMNS};

/* A row below its obituary: only what was not released, by reason. */
static int add_reason(struct listing *listing, uint64_t num_bytes, uint64_t n_blocks,
                      const char *reason)
{
    struct label bytes = format_bytes(num_bytes, listing->options->exact_bytes);
    struct label blocks = format_count(n_blocks);
    struct escaped escaped = format_escaped(reason);
    const char *cells[N_COLUMNS] = {
        [UNRELEASED] = bytes.text,
        [BLOCKS] = blocks.text,
        [REASON] = escaped.text,
    };

    return table_add(listing->table, cells);
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
    return table_add(listing->table, cells);
}

static int add_row(const struct kmem_obituary *obituary, void *user)
{
    struct listing *listing = user;
    bool exactly = listing->options->exact_bytes;
    struct label number = format_count(obituary->number);
    struct label ended = format_age(obituary->ended_ms_ago);
    struct label lived = format_age(obituary->lived_ms);
    struct label pid = format_pid(obituary->pid);
    struct label uid = format_id(obituary->uid);
    struct escaped command = format_escaped(obituary->command);
    struct label peak_used = format_bytes(obituary->peak_used_bytes, exactly);
    struct label peak_held = format_bytes(obituary->peak_bytes, exactly);
    struct label bytes = format_bytes(obituary->num_bytes, exactly);
    struct label blocks = format_count(obituary->n_blocks);
    const char *cells[N_COLUMNS] = {
        [NUMBER] = number.text,
        [ENDED] = ended.text,
        [LIVED] = lived.text,
        [PID] = pid.text,
        [UID] = uid.text,
        [COMMAND] = command.text,
        [END] = obituary->left ? "left" : "died",
        [PEAK_USED] = peak_used.text,
        [PEAK_HELD] = peak_held.text,
        [UNRELEASED] = bytes.text,
        [BLOCKS] = blocks.text,
    };
    int r = table_add(listing->table, cells);

    r = r == 0 && obituary->n_blocks > 0 ? add_reasons(listing, obituary) : r;
    return r == 0 && obituary->n_kept > 0 ? add_kept(listing, obituary) : r;
}

/* ----------------------------------------------------------------------------------- JSON ---- */

static void json_reason(struct json_row *row, const struct kmem_ledger_row *reason)
{
    struct json_row one;
    json_row_init(&one);
    json_row_text(&one, "reason", reason->key);
    json_row_number(&one, "n_blocks", reason->n_blocks);
    json_row_number(&one, "num_bytes", reason->num_bytes);
    json_row_number(&one, "oldest_ms", reason->oldest_ms);
    json_row_append(row, "reasons", &one);
}

static void json_kept(struct json_row *row, const struct kmem_obituary *obituary)
{
    const bool is_name = obituary->kept_by_kind == KMEM_HOLDER_NAME;
    const bool is_process = obituary->kept_by_kind == KMEM_HOLDER_ATTACHED;
    struct json_row largest;
    json_row_init(&largest);
    json_row_number(&largest, "num_bytes", obituary->largest_kept_bytes);
    json_row_text(&largest, "kind", is_name ? "name" : is_process ? "attached" : "offer");
    json_row_number(&largest, "pid", obituary->kept_by_pid);
    json_row_text(&largest, "command", is_process ? obituary->kept_by : "");
    json_row_text(&largest, "name", is_name ? obituary->kept_by : "");
    json_row_row(row, "largest_kept", &largest);
}

static int add_json(const struct kmem_obituary *obituary, void *user)
{
    struct listing *listing = user;
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "number", obituary->number);
    json_row_number(&row, "pid", obituary->pid);
    json_row_number(&row, "uid", obituary->uid);
    json_row_text(&row, "command", obituary->command);
    json_row_bool(&row, "left", obituary->left);
    json_row_number(&row, "lived_ms", obituary->lived_ms);
    json_row_number(&row, "ended_ms_ago", obituary->ended_ms_ago);
    json_row_number(&row, "n_blocks", obituary->n_blocks);
    json_row_number(&row, "num_bytes", obituary->num_bytes);
    json_row_number(&row, "peak_used_bytes", obituary->peak_used_bytes);
    json_row_number(&row, "peak_bytes", obituary->peak_bytes);
    json_row_number(&row, "n_reasons", obituary->n_reasons);
    json_row_list(&row, "reasons");
    for (size_t i = 0; i < obituary->n_rows; i++) {
        json_reason(&row, &obituary->rows[i]);
    }
    json_row_number(&row, "n_kept", obituary->n_kept);
    json_row_number(&row, "kept_bytes", obituary->kept_bytes);
    if (obituary->n_kept > 0) {
        json_kept(&row, obituary);
    }
    return json_list_add(&listing->json, &row);
}

int obituaries_show(struct kmem_query *query, const struct options *options,
                    const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    r = kmem_query_obituaries(query, options->json ? add_json : add_row, &listing);
    return listing_end(&listing, r);
}
