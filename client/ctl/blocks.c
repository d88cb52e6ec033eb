/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/listing.h"

const struct argp_option blocks_options[] = {
    {"pid", OPTION_PID, "PID", 0, "Only the blocks of the process PID", 0},
    {"reason", OPTION_REASON, "PREFIX", 0, "Only the blocks whose reason begins with PREFIX", 0},
    {"shared", OPTION_SHARED, NULL, 0, "Only the shared blocks, and by how many they are held", 0},
    {0},
};

/* Two more with --shared, before the others. */
static const struct table_column columns[] = {
    {"HOLDERS", TABLE_RIGHT, false}, {"NAMES", TABLE_RIGHT, false},  {"OFFSET", TABLE_RIGHT, false},
    {"BYTES", TABLE_RIGHT, false},   {"AGE", TABLE_RIGHT, false},    {"PID", TABLE_RIGHT, false},
    {"UID", TABLE_RIGHT, false},     {"COMMAND", TABLE_LEFT, false}, {"REASON", TABLE_LEFT, true},
};

#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))
#define N_SHARED_COLUMNS 2

static const struct listing_shape all_blocks = {
    "blocks", "no live blocks", columns + N_SHARED_COLUMNS, N_COLUMNS - N_SHARED_COLUMNS};
static const struct listing_shape some_blocks = {"blocks", "no live blocks of that kind",
                                                 columns + N_SHARED_COLUMNS,
                                                 N_COLUMNS - N_SHARED_COLUMNS};
static const struct listing_shape shared_blocks = {"blocks", "no shared blocks", columns,
                                                   N_COLUMNS};
static const struct listing_shape some_shared_blocks = {"blocks", "no shared blocks of that kind",
                                                        columns, N_COLUMNS};

static const struct listing_shape *shape_of(const struct options *options)
{
    const bool is_filtered = options->has_pid || options->reason_prefix;
    if (options->shared) {
        return is_filtered ? &some_shared_blocks : &shared_blocks;
    }
    return is_filtered ? &some_blocks : &all_blocks;
}

struct blocks {
    struct listing listing;
    uint64_t n_blocks;
    uint64_t num_bytes;
};

static bool is_asked_for(const struct options *options, const struct kmem_block *block)
{
    const char *prefix = options->reason_prefix;
    if ((options->has_pid && block->pid != options->pid) || (options->shared && !block->shared)) {
        return false;
    }
    return !prefix || strncmp(block->reason, prefix, strlen(prefix)) == 0;
}

static int add_row(struct listing *listing, const struct kmem_block *block)
{
    struct label holders = format_count(block->n_holders);
    struct label names = format_count(block->n_names);
    struct label offset = format_offset(block->offset);
    struct label bytes = format_bytes(block->num_bytes, listing->options->exact_bytes);
    struct label age = format_age(block->age_ms);
    struct label pid = format_pid(block->pid);
    struct label uid = format_id(block->uid);
    struct escaped command = format_escaped(block->command);
    struct escaped reason = format_escaped(block->reason);
    const char *cells[N_COLUMNS] = {holders.text, names.text, offset.text,  bytes.text, age.text,
                                    pid.text,     uid.text,   command.text, reason.text};
    return table_add(listing->table, listing->options->shared ? cells : cells + N_SHARED_COLUMNS);
}

static int add_json(struct listing *listing, const struct kmem_block *block)
{
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "offset", block->offset);
    json_row_number(&row, "num_bytes", block->num_bytes);
    json_row_text(&row, "reason", block->reason);
    json_row_number(&row, "pid", block->pid);
    json_row_text(&row, "command", block->command);
    json_row_number(&row, "uid", block->uid);
    json_row_number(&row, "age_ms", block->age_ms);
    json_row_bool(&row, "shared", block->shared);
    json_row_number(&row, "n_holders", block->n_holders);
    json_row_number(&row, "n_names", block->n_names);
    return json_list_add(&listing->json, &row);
}

static int add_block(const struct kmem_block *block, void *user)
{
    struct blocks *blocks = user;
    if (!is_asked_for(blocks->listing.options, block)) {
        return 0;
    }
    blocks->n_blocks++;
    blocks->num_bytes += block->num_bytes;
    return blocks->listing.table ? add_row(&blocks->listing, block)
                                 : add_json(&blocks->listing, block);
}

static void print_total(const struct blocks *blocks, const struct options *options,
                        const struct screen *screen)
{
    struct label n_blocks = format_count(blocks->n_blocks);
    struct label bytes = format_bytes(blocks->num_bytes, options->exact_bytes);
    (void)fprintf(screen->file, "\n%s %s, %s%s\n", n_blocks.text,
                  blocks->n_blocks == 1 ? "block" : "blocks", bytes.text,
                  options->exact_bytes ? " bytes" : "");
}

int blocks_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct blocks blocks = {0};
    int r = listing_begin(&blocks.listing, shape_of(options), options, screen);
    if (r < 0) {
        return r;
    }
    r = listing_end(&blocks.listing, kmem_query_blocks(query, add_block, &blocks));
    if (r == 0 && !options->json && blocks.n_blocks > 0) {
        print_total(&blocks, options, screen);
    }
    return r;
}
