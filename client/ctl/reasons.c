/* SPDX-License-Identifier: MIT */
/*
 * reasons.c - the live blocks by reason, as the tree that '/' makes of them
 *
 * A table draws the tree. Sorted by a column it is one no more, and each row says its whole reason.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/blocks.h"
#include "client/ctl/groups.h"
#include "client/ctl/listing.h"
#include "client/ctl/tree.h"

const struct argp_option reasons_options[] = {
    {"depth", OPTION_DEPTH, "N", 0, "Show N levels: what is below them is in their figures", 0},
    {0},
};

/* ------------------------------------------------------------------------------- the rows ---- */

struct reason_row {
    struct tree_node node;
    const char *shown; /* what the table says instead of the path; NULL: the path */
};

static const char *shown_text(const void *row)
{
    return ((const struct reason_row *)row)->shown;
}

#define AT(member) COLUMN_AT(struct reason_row, node.member)

static const struct column columns[] = {
    {"REASON", "reason", COLUMN_TEXT, AT(path), .word = shown_text, .drop = 1, .may_flow = true},
    {"LEVEL", "level", COLUMN_ID, AT(level), .drop = 8},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 3},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes)},
    {"OWN BLOCKS", "own_blocks", COLUMN_COUNT, AT(own_blocks), .drop = 7},
    {"OWN", "own_bytes", COLUMN_BYTES, AT(own_bytes), .drop = 5},
    {"OLDEST", "oldest_ms", COLUMN_AGE, AT(oldest_ms), .drop = 4},
    {"SHARE", "share_permille", COLUMN_SHARE, AT(share_permille), .drop = 2, .is_derived = true},
};

static const struct listing_shape shape = {
    .name = "reasons",
    .nothing = "no live blocks",
    .nothing_chosen = "no live blocks of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "BYTES,SHARE,OWN,BLOCKS,OLDEST,REASON",
    .wide = "BYTES,SHARE,OWN,BLOCKS,OWN BLOCKS,OLDEST,LEVEL,REASON",
    .row_bytes = sizeof(struct reason_row),
    .chooses_itself = true,
};

const struct listing_shape *reasons_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

/* ------------------------------------------------------------------------------ gathering ---- */

struct reasons {
    const struct options *options;
    struct groups groups;
    struct progress progress; /* of blocks that are rolled up here */
    uint64_t n_blocks;
    struct tree tree;
};

static int add_block(const struct kmem_block *block, void *user)
{
    struct reasons *reasons = user;
    progress_step(&reasons->progress, ++reasons->n_blocks, "blocks");
    if (!blocks_filter(&reasons->options->filter, block)) {
        return 0;
    }
    return groups_add_block(&reasons->groups, KMEM_BY_REASON, NULL, block);
}

static int gather(struct reasons *reasons, struct kmem_query *query)
{
    const struct filter *filter = &reasons->options->filter;
    int r;
    if (filter_is_set(filter)) {
        progress_begin(&reasons->progress, stderr);
        r = blocks_ask(query, filter, false, add_block, reasons);
        progress_end(&reasons->progress);
        groups_join(&reasons->groups);
    } else {
        r = groups_ask(&reasons->groups, query, KMEM_BY_REASON);
    }
    return r ? r : tree_init(&reasons->tree, &reasons->groups);
}

/* -------------------------------------------------------------------------------- showing ---- */

/* Lines of three columns a level, and a reason of 127 bytes, written as \xNN. */
#define SHOWN_BYTES (KMEM_REASON_MAX_BYTES * sizeof("│  ") + ESCAPED_MAX_BYTES)

static const char *line_of(bool is_unicode, bool is_last, bool is_own)
{
    if (!is_unicode) {
        return is_own ? (is_last ? "`- " : "|- ") : (is_last ? "   " : "|  ");
    }
    return is_own ? (is_last ? "└─ " : "├─ ") : (is_last ? "   " : "│  ");
}

/* The last level of a reason, behind the lines that say what it is below. */
static const char *draw(const struct tree *tree, size_t index, bool is_unicode, char *ret_shown)
{
    const struct tree_node *node = &tree->nodes[index];
    size_t above[KMEM_REASON_MAX_BYTES];
    size_t n_above = 0;
    char *end = ret_shown;
    /* A reason that is deeper than long can only be of a daemon that is not kmemd. */
    for (size_t i = index; tree->nodes[i].parent != TREE_NONE && n_above < KMEM_REASON_MAX_BYTES;
         i = tree->nodes[i].parent) {
        above[n_above++] = i;
    }
    for (; n_above > 0; n_above--) {
        const size_t at = above[n_above - 1];
        end = stpcpy(end, line_of(is_unicode, tree->nodes[at].is_last, at == index));
    }
    (void)stpcpy(end, format_escaped(node->path + node->name_at).text);
    return ret_shown;
}

static int list(const struct reasons *reasons, const struct screen *screen)
{
    const struct options *options = reasons->options;
    const struct tree *tree = &reasons->tree;
    char shown[SHOWN_BYTES];
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    for (size_t i = tree->first; r >= 0 && i != TREE_NONE; i = tree_next(tree, i, options->depth)) {
        const struct reason_row row = {
            .node = tree->nodes[i],
            .shown = options->sort ? NULL : draw(tree, i, screen->unicode, shown),
        };
        r = listing_add(&listing, &row);
    }
    return listing_end(&listing, r < 0 ? r : 0);
}

int reasons_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen)
{
    struct reasons reasons = {.options = options};
    int r = gather(&reasons, query);
    r = r ? r : list(&reasons, screen);
    tree_fini(&reasons.tree);
    groups_fini(&reasons.groups);
    return r;
}
