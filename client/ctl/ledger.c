/* SPDX-License-Identifier: MIT */
/*
 * ledger.c - the live blocks, rolled up
 *
 * The daemon rolls them up by itself. If only some blocks are meant, kmemctl asks for those, and
 * rolls them up.
 */
#include "client/ctl/command.h"

#include "client/ctl/blocks.h"
#include "client/ctl/groups.h"
#include "client/ctl/keys.h"
#include "client/ctl/listing.h"

const struct argp_option ledger_options[] = {
    {"by", OPTION_BY, "WHAT", 0, "Roll up by reason (the default), client, uid, size, age or unit",
     0},
    {"depth", OPTION_DEPTH, "N", 0, "Keep N levels of each reason: fold \"a/b/c\" into \"a/b\"", 0},
    {0},
};

/* ------------------------------------------------------------------------------- the rows ---- */

#define AT(member) COLUMN_AT(struct group, member)

/* What tells one group from another comes first; the figures are the same for all. */
#define FIGURES                                                                                    \
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 3},                                 \
        {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes)},                                       \
        {"OLDEST", "oldest_ms", COLUMN_AGE, AT(oldest_ms), .drop = 4},                             \
    {                                                                                              \
        "SHARE", "share_permille", COLUMN_SHARE, AT(share_permille), .drop = 2, .is_derived = true \
    }

static const struct column by_reason[] = {
    {"REASON", "reason", COLUMN_TEXT, AT(key), .drop = 1, .may_flow = true},
    FIGURES,
};
static const struct column by_client[] = {
    {"UID", "uid", COLUMN_ID, AT(uid), .drop = 7},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 6, .is_derived = true},
    {"PID", "pid", COLUMN_PID, AT(pid), .drop = 1},
    {"COMMAND", "command", COLUMN_TEXT, AT(key), .drop = 1, .may_flow = true},
    FIGURES,
};
static const struct column by_uid[] = {
    {"UID", "uid", COLUMN_ID, AT(uid), .drop = 1},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 1, .is_derived = true},
    FIGURES,
};

/* A size up to which, an age from which, the blocks of a row are. */
static const struct column by_size[] = {
    {"UP TO", "size_most", COLUMN_BYTES, .number = group_number, .drop = 1},
    FIGURES,
};
static const struct column by_age[] = {
    {"FROM", "age_least_ms", COLUMN_AGE, .number = group_number, .drop = 1},
    FIGURES,
};
static const struct column by_unit[] = {
    {"UNIT", "unit", COLUMN_TEXT, AT(key), .drop = 1, .may_flow = true},
    FIGURES,
};

#define MAX_COLUMNS (sizeof(by_client) / sizeof(by_client[0]))

#define SHAPE(declared, shown)                                                                     \
    {                                                                                              \
        .name = "ledger", .nothing = "no live blocks",                                             \
        .nothing_chosen = "no live blocks of that kind", .columns = (declared),                    \
        .n_columns = sizeof(declared) / sizeof((declared)[0]), .table = (shown), .wide = (shown),  \
        .row_bytes = sizeof(struct group), .chooses_itself = true                                  \
    }

static const struct listing_shape shapes[] = {
    [KMEM_BY_REASON] = SHAPE(by_reason, "BYTES,SHARE,BLOCKS,OLDEST,REASON"),
    [KMEM_BY_CLIENT] = SHAPE(by_client, "BYTES,SHARE,BLOCKS,OLDEST,PID,UID,USER,COMMAND"),
    [KMEM_BY_UID] = SHAPE(by_uid, "BYTES,SHARE,BLOCKS,OLDEST,UID,USER"),
    [KMEM_BY_SIZE] = SHAPE(by_size, "UP TO,BYTES,SHARE,BLOCKS,OLDEST"),
    [KMEM_BY_AGE] = SHAPE(by_age, "FROM,BYTES,SHARE,BLOCKS,OLDEST"),
    [KMEM_BY_UNIT] = SHAPE(by_unit, "BYTES,SHARE,BLOCKS,OLDEST,UNIT"),
};

const struct listing_shape *ledger_shape(const struct options *options)
{
    return &shapes[options->by];
}

/* ------------------------------------------------------------------------------ gathering ---- */

struct ledger {
    const struct options *options;
    struct keys keys;
    struct groups groups;
    struct progress progress; /* of blocks that are rolled up here */
    uint64_t n_blocks;
};

static int add_block(const struct kmem_block *block, void *user)
{
    struct ledger *ledger = user;
    progress_step(&ledger->progress, ++ledger->n_blocks, "blocks");
    if (!blocks_filter(&ledger->options->filter, block)) {
        return 0;
    }
    char buffer[KEY_BYTES];
    return groups_add_block(&ledger->groups, ledger->options->by,
                            keys_of(&ledger->keys, block, buffer), block);
}

static int gather(struct ledger *ledger, struct kmem_query *query)
{
    const struct options *options = ledger->options;
    int r;
    if (filter_is_set(&options->filter)) {
        progress_begin(&ledger->progress, stderr);
        r = keys_init(&ledger->keys, options->by, query);
        r = r ? r : blocks_ask(query, &options->filter, false, add_block, ledger);
        progress_end(&ledger->progress);
        groups_join(&ledger->groups);
    } else {
        r = groups_ask(&ledger->groups, query, options->by);
    }
    if (r == 0 && options->depth > 0) {
        groups_fold(&ledger->groups, options->depth);
    }
    if (options->by == KMEM_BY_SIZE || options->by == KMEM_BY_AGE) {
        groups_sort_by_number(&ledger->groups);
    }
    groups_share(&ledger->groups);
    return r;
}

/* -------------------------------------------------------------------------------- showing ---- */

/* Of all groups, whether they are shown or not. */
static int add_total(struct listing *listing, const struct groups *groups)
{
    const struct listing_shape *shape = listing->shape;
    const struct group total = groups_total(groups);
    struct escaped texts[MAX_COLUMNS];
    const char *cells[MAX_COLUMNS] = {0};
    for (size_t i = 0; i < shape->n_columns; i++) {
        const struct column *column = &shape->columns[i];
        if (column_is_figure(column) && !column->number) {
            cells[i] = column_cell(column, &total, listing->options->exact_bytes, &texts[i]);
        } else if (shape == &shapes[KMEM_BY_REASON] || shape == &shapes[KMEM_BY_UNIT]) {
            cells[i] = "total";
        }
    }
    table_rule(listing->table);
    return listing_add_cells(listing, cells);
}

static int list(const struct ledger *ledger, const struct screen *screen)
{
    const struct groups *groups = &ledger->groups;
    struct listing listing;
    int r = listing_begin(&listing, ledger_shape(ledger->options), ledger->options, screen);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; r >= 0 && i < groups->n_groups; i++) {
        r = listing_add(&listing, &groups->groups[i]);
    }
    r = r < 0 ? r : listing_flush(&listing);
    if (r == 0 && listing_has_titles(&listing) && groups->n_groups > 0) {
        r = add_total(&listing, groups);
    }
    return listing_end(&listing, r);
}

int ledger_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct ledger ledger = {.options = options};
    int r = gather(&ledger, query);
    r = r ? r : list(&ledger, screen);
    groups_fini(&ledger.groups);
    keys_fini(&ledger.keys);
    return r;
}
