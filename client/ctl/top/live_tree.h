/* SPDX-License-Identifier: MIT */
/*
 * live_tree.h - reasons as a tree that opens and closes
 *
 * '/' makes the levels, as in groups.h. A node counts all blocks at and below it; blocks whose
 * reason is that of a node with children are a child of it, "(itself)". Nodes are kept from one
 * answer to the next, with what they have grown and whether they are open; what is gone for a while
 * is forgotten.
 *
 *      a node's bytes = those of its children; if it has none, of its blocks: live_tree_check()
 */
#ifndef CTL_TOP_LIVE_TREE_H
#define CTL_TOP_LIVE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/column.h"
#include "client/ctl/groups.h"
#include "client/ctl/top/flow.h"
#include "client/ctl/top/past.h"

/* What the columns of a page are about: the first member of a node. */
struct reason_row {
    char *path; /* the whole reason: foreign */
    uint64_t num_bytes;
    uint64_t n_blocks;
    uint64_t oldest_ms;
    uint64_t share_permille;
    int64_t rate; /* bytes a second */
    int64_t grown;
    bool has_rate; /* else neither is known */
    char trend[3 * 8 + 1];
};

struct node {
    struct reason_row row;
    struct node *parent; /* NULL: the root, which has no line */
    struct node **children;
    size_t n_children;
    size_t capacity;
    size_t name_at; /* where in the path its own level begins */
    unsigned depth; /* 0: no parent but the root */
    bool is_self;   /* its parent's own blocks: its path is the parent's */
    bool is_open;
    bool matches;   /* the filter means it, or a node above it */
    bool has_match; /* or one below it */
    uint64_t own_bytes;
    uint64_t own_blocks;
    struct flow flow;
    unsigned n_absent; /* rounds since it had a block */
};

struct live_tree {
    struct node root;
    bool has_rounds;  /* an answer came: what is new from now on has grown from nothing */
    uint64_t now_ms;  /* when the last one was asked for */
    size_t n_present; /* reasons that have blocks */
    bool unicode;
};

void live_tree_fini(struct live_tree *tree);

/** live_tree_take() - a ledger by reason, asked for at that time. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int live_tree_take(struct live_tree *tree, struct groups *groups, uint64_t now_ms);

/**
 * live_tree_past() - what was live before the first ledger: a point a second; of a reason that had
 * none in a second, nothing is known then. Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int live_tree_past(struct live_tree *tree, const struct past *past, uint64_t now_ms);

/** live_tree_reset() - what nodes have grown is counted from now on */
void live_tree_reset(struct live_tree *tree);

typedef bool (*live_tree_match_fn)(const char *path, const void *user);

/** live_tree_match() - choose the nodes whose paths match; NULL: all */
void live_tree_match(struct live_tree *tree, live_tree_match_fn match, const void *user);

/** live_tree_open_all() - open or close every node */
void live_tree_open_all(struct live_tree *tree, bool is_open);

/** live_tree_next() - the node after it, children before siblings; NULL at the end */
struct node *live_tree_next(const struct node *node);

/** node_is_shown() - whether it has a line: it has blocks, is chosen, and all above it are open */
bool node_is_shown(const struct node *node);

/** node_opens() - whether what is below it is shown */
bool node_opens(const struct node *node);

/** node_has_children() - whether there is anything below it that could be */
bool node_has_children(const struct node *node);

/** node_identity() - what tells it from all others, from one answer to the next. Return: buffer. */
const char *node_identity(const struct node *node, struct escaped *buffer);

/** node_label() - what its line shows: indented, with a mark; flat: the whole reason */
struct escaped node_label(const struct node *node, bool flat, bool unicode);

/* The order of siblings. */
struct live_tree_order {
    const struct column *by;
    bool is_descending;
    bool is_flat; /* no node is another's child */
};

/** live_tree_compare() - the order of two lines: a node is before what is below it */
int live_tree_compare(const struct node *left, const struct node *right,
                      const struct live_tree_order *order);

/** live_tree_check() - whether all sums hold; for tests */
bool live_tree_check(const struct live_tree *tree);

#endif
