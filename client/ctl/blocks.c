/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include <errno.h>

#include "client/ctl/blocks.h"
#include "client/ctl/format.h"
#include "client/ctl/listing.h"

const struct argp_option blocks_options[] = {
    {"shared", OPTION_SHARED, NULL, 0, "Only the shared blocks, and by how many they are held", 0},
    {0},
};

#define AT(member) COLUMN_AT(struct kmem_block, member)

static const struct column columns[] = {
    {"OFFSET", "offset", COLUMN_OFFSET, AT(offset), .filter = FILTER_OFFSET, .drop = 5},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE},
    {"REASON", "reason", COLUMN_TEXT, AT(reason), .filter = FILTER_REASON, .drop = 1,
     .may_flow = true},
    {"PID", "pid", COLUMN_PID, AT(pid), .filter = FILTER_PID, .drop = 2},
    {"COMMAND", "command", COLUMN_TEXT, AT(command), .drop = 6},
    {"UID", "uid", COLUMN_ID, AT(uid), .filter = FILTER_USER, .drop = 8},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 7, .is_derived = true},
    {"AGE", "age_ms", COLUMN_AGE, AT(age_ms), .filter = FILTER_AGE, .drop = 3},
    {"SHARED", "shared", COLUMN_FLAG, AT(shared), .drop = 9},
    {"HOLDERS", "n_holders", COLUMN_COUNT, AT(n_holders), .drop = 4},
    {"NAMES", "n_names", COLUMN_COUNT, AT(n_names), .drop = 4},
    {"LEASED", "leased", COLUMN_FLAG, AT(leased), .drop = 10, .is_derived = true},
};

#define WIDE "OFFSET,BYTES,AGE,PID,UID,USER,LEASED,SHARED,HOLDERS,NAMES,COMMAND,REASON"

static const struct listing_shape all_blocks = {
    .name = "blocks",
    .nothing = "no live blocks",
    .nothing_chosen = "no live blocks of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "OFFSET,BYTES,AGE,PID,UID,USER,COMMAND,REASON",
    .wide = WIDE,
    .row_bytes = sizeof(struct kmem_block),
};

static const struct listing_shape shared_blocks = {
    .name = "blocks",
    .nothing = "no shared blocks",
    .nothing_chosen = "no shared blocks of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "HOLDERS,NAMES,OFFSET,BYTES,AGE,PID,UID,USER,COMMAND,REASON",
    .wide = WIDE,
    .row_bytes = sizeof(struct kmem_block),
};

const struct listing_shape *blocks_shape(const struct options *options)
{
    return options->shared ? &shared_blocks : &all_blocks;
}

bool blocks_filter(const struct filter *filter, const struct kmem_block *block)
{
    return filter_passes(filter, columns, sizeof(columns) / sizeof(columns[0]), block);
}

int blocks_ask(struct kmem_query *query, const struct filter *filter, bool only_shared,
               kmem_block_fn each, void *user)
{
    char reason[FILTER_GLOB_BYTES];
    const struct kmem_block_filter wanted = {
        .struct_bytes = sizeof(wanted),
        .by_pid = filter->has_pid,
        .pid = filter->pid,
        .by_uid = filter->has_uid,
        .uid = filter->uid,
        .reason = filter_glob(filter->reason, reason),
        .older_than_ms = filter->has_age ? filter->older_than_ms : 0,
        .larger_than = filter->has_bytes ? filter->larger_than_bytes : 0,
        .sharing = only_shared ? KMEM_SHARING_SHARED : KMEM_SHARING_ANY,
    };
    int r = -EPROTONOSUPPORT;
    if (filter_is_set(filter) || only_shared) {
        r = kmem_query_blocks_where(query, &wanted, each, user);
    }
    return r == -EPROTONOSUPPORT ? kmem_query_blocks(query, each, user) : r;
}

struct blocks {
    struct listing listing;
    uint64_t n_blocks;
    uint64_t num_bytes;
};

static int add_block(const struct kmem_block *block, void *user)
{
    struct blocks *blocks = user;
    if (blocks->listing.options->shared && !block->shared) {
        return 0;
    }
    int r = listing_add(&blocks->listing, block);
    if (r > 0) {
        blocks->n_blocks++;
        blocks->num_bytes += block->num_bytes;
    }
    return r < 0 ? r : 0;
}

static void print_total(const struct blocks *blocks, const struct options *options,
                        const struct screen *screen)
{
    struct label n_blocks = format_count(blocks->n_blocks);
    struct label bytes = format_bytes(blocks->num_bytes, options->exact_bytes);
    (void)fputc('\n', screen->file);
    if (blocks->listing.n_written < blocks->n_blocks) {
        (void)fprintf(screen->file, "%s of ", format_count(blocks->listing.n_written).text);
    }
    (void)fprintf(screen->file, "%s %s, %s%s\n", n_blocks.text,
                  blocks->n_blocks == 1 ? "block" : "blocks", bytes.text,
                  options->exact_bytes ? " bytes" : "");
}

int blocks_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct blocks blocks = {.n_blocks = 0};
    int r = listing_begin(&blocks.listing, blocks_shape(options), options, screen);
    if (r < 0) {
        return r;
    }
    const bool has_total = listing_has_titles(&blocks.listing);
    r = blocks_ask(query, &options->filter, options->shared, add_block, &blocks);
    r = listing_end(&blocks.listing, r);
    if (r == 0 && has_total && blocks.n_blocks > 0) {
        print_total(&blocks, options, screen);
    }
    return r;
}
