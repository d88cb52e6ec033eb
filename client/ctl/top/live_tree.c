/* SPDX-License-Identifier: MIT */
/*
 * live_tree.c - reasons as a tree
 *
 * The ledger's rows are sorted by their text first, so a node's children, which are kept in the
 * order of their names, nearly always grow at their end. The order in which they are shown is
 * another: that of a sort over all lines, with a comparison that climbs to where two paths part.
 */
#include "client/ctl/top/live_tree.h"
#include "client/ctl/measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 120 rounds: what comes and goes in turns keeps its place, and what it has grown. */
#define ABSENT_MAX 120
#define TREND_CELLS 8

/* ----------------------------------------------------------------------------- the walk ---- */

static size_t index_in_parent(const struct node *node)
{
    const struct node *parent = node->parent;
    size_t low = 0;
    size_t high = parent->n_children;
    while (low + 1 < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(parent->children[middle]->row.path, node->row.path) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct node *next_sibling(const struct node *node)
{
    for (; node->parent; node = node->parent) {
        const size_t next = index_in_parent(node) + 1;
        if (next < node->parent->n_children) {
            return node->parent->children[next];
        }
    }
    return NULL;
}

struct node *live_tree_next(const struct node *node)
{
    return node->n_children > 0 ? node->children[0] : next_sibling(node);
}

static void node_free(struct node *node)
{
    free(node->row.path);
    free(node->children);
    free(node);
}

/* The last leaf of all goes, again and again. */
void live_tree_fini(struct live_tree *tree)
{
    while (tree->root.n_children > 0) {
        struct node *parent = &tree->root;
        struct node *leaf = parent->children[parent->n_children - 1];
        while (leaf->n_children > 0) {
            parent = leaf;
            leaf = parent->children[parent->n_children - 1];
        }
        parent->n_children--;
        node_free(leaf);
    }
    free(tree->root.children);
    *tree = (struct live_tree){.unicode = tree->unicode};
}

/* ------------------------------------------------------------------------- finding a node ---- */

static int compare_prefix(const char *path, const char *prefix, size_t n_bytes)
{
    const int order = strncmp(path, prefix, n_bytes);
    return order != 0 ? order : path[n_bytes] != '\0';
}

/* Return: where it is among the children, or belongs; *ret_child is NULL if it is not there. */
static size_t child_place(const struct node *node, const char *path, size_t n_bytes,
                          struct node **ret_child)
{
    size_t low = 0;
    size_t high = node->n_children;
    *ret_child = NULL;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_prefix(node->children[middle]->row.path, path, n_bytes);
        if (order == 0) {
            *ret_child = node->children[middle];
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int node_reserve(struct node *node)
{
    const size_t capacity = node->capacity ? node->capacity * 2 : 4;
    if (node->n_children < node->capacity) {
        return 0;
    }
    struct node **grown = realloc(node->children, capacity * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    node->children = grown;
    node->capacity = capacity;
    return 0;
}

static struct node *node_new(struct node *parent, const char *path, size_t n_bytes, bool is_root)
{
    struct node *node = calloc(1, sizeof(*node));
    if (!node) {
        return NULL;
    }
    node->row.path = strndup(path, n_bytes);
    if (!node->row.path) {
        free(node);
        return NULL;
    }
    node->parent = parent;
    node->name_at = is_root ? 0 : strlen(parent->row.path) + 1;
    node->depth = is_root ? 0 : parent->depth + 1;
    return node;
}

/* The child whose path is that long a piece of it, made if it is not there. */
static struct node *child_take(struct live_tree *tree, struct node *parent, const char *path,
                               size_t n_bytes)
{
    struct node *node;
    const size_t place = child_place(parent, path, n_bytes, &node);
    if (node) {
        return node;
    }
    node = node_new(parent, path, n_bytes, parent == &tree->root);
    if (!node || node_reserve(parent) < 0) {
        if (node) {
            node_free(node);
        }
        return NULL;
    }
    memmove(&parent->children[place + 1], &parent->children[place],
            (parent->n_children - place) * sizeof(struct node *));
    parent->children[place] = node;
    parent->n_children++;
    if (tree->has_rounds) {
        flow_begin(&node->flow, tree->now_ms);
    }
    return node;
}

/* The first of the children, for theirs have more than its path. What the node was, it is now. */
static struct node *self_take(struct node *node)
{
    struct node *self = node->children[0];
    if (self->is_self) {
        return self;
    }
    self = node_new(node, node->row.path, strlen(node->row.path), false);
    if (!self || node_reserve(node) < 0) {
        if (self) {
            node_free(self);
        }
        return NULL;
    }
    memmove(&node->children[1], &node->children[0], node->n_children * sizeof(struct node *));
    node->children[0] = self;
    node->n_children++;
    self->is_self = true;
    self->flow = node->flow;
    return self;
}

/* A '/' at the beginning begins no second level. */
static struct node *node_of(struct live_tree *tree, const char *path)
{
    struct node *node = &tree->root;
    for (const char *from = *path ? path + 1 : path; node; from++) {
        const char *slash = strchr(from, '/');
        node = child_take(tree, node, path, slash ? (size_t)(slash - path) : strlen(path));
        if (!slash) {
            return node;
        }
        from = slash;
    }
    return NULL;
}

/* ----------------------------------------------------------------------------- an answer ---- */

static void node_clear(struct node *node)
{
    node->row.num_bytes = node->row.n_blocks = node->row.oldest_ms = 0;
    node->own_bytes = node->own_blocks = 0;
}

static void node_count(struct node *node, const struct group *group)
{
    node->own_bytes += group->num_bytes;
    node->own_blocks += group->n_blocks;
    for (; node; node = node->parent) {
        node->row.num_bytes += group->num_bytes;
        node->row.n_blocks += group->n_blocks;
        if (group->oldest_ms > node->row.oldest_ms) {
            node->row.oldest_ms = group->oldest_ms;
        }
    }
}

static void node_describe(struct node *node, const struct live_tree *tree)
{
    struct reason_row *row = &node->row;
    const struct curve curve = flow_curve(&node->flow, 0, TREND_CELLS, tree->unicode);
    const double total = (double)tree->root.row.num_bytes;
    row->share_permille = measure_permille((double)row->num_bytes, total);
    row->rate = flow_rate(&node->flow);
    row->grown = flow_grown(&node->flow);
    row->has_rate = node->flow.has_rate;
    (void)snprintf(row->trend, sizeof(row->trend), "%.*s", (int)sizeof(row->trend) - 1, curve.text);
}

/* Leaves that were absent for long, the last first: what they leave without children goes too. */
static void forget_absent(struct live_tree *tree)
{
    for (struct node *node = live_tree_next(&tree->root); node;) {
        struct node *next = live_tree_next(node);
        struct node *parent = node->parent;
        if (node->n_absent > ABSENT_MAX && node->n_children == 0) {
            const size_t place = index_in_parent(node);
            next = next_sibling(node);
            memmove(&parent->children[place], &parent->children[place + 1],
                    (--parent->n_children - place) * sizeof(struct node *));
            node_free(node);
        }
        node = next;
    }
}

/* A second of which the last look is too near for a rate. */
#define TOO_NEAR_MS 500

int live_tree_past(struct live_tree *tree, const struct past *past, uint64_t now_ms)
{
    if (past->n_points == 0) {
        return 0;
    }
    const struct past_point *last = &past->points[past->n_points - 1];
    const size_t newest_ago = last->ms_ago < TOO_NEAR_MS;
    const uint64_t looked_ms = last->ms_ago + 1000 * newest_ago;
    for (size_t i = 0; i < past->n_points; i++) {
        const struct past_point *point = &past->points[i];
        const size_t ago = (size_t)(last->number - point->number);
        if (point->reason && point->reason[0] == '<') {
            continue; /* of those it says nothing that could be compared */
        }
        struct node *node = point->reason ? node_of(tree, point->reason) : &tree->root;
        if (!node) {
            return -ENOMEM;
        }
        for (; node && (node->parent || !point->reason); node = node->parent) {
            flow_past(&node->flow, point->num_bytes, ago);
        }
    }
    for (struct node *node = &tree->root; node; node = live_tree_next(node)) {
        flow_past_end(&node->flow, newest_ago, now_ms > looked_ms ? now_ms - looked_ms : 0);
    }
    return 0;
}

static int compare_keys(const void *left, const void *right)
{
    return strcmp(((const struct group *)left)->key, ((const struct group *)right)->key);
}

static int count_all(struct live_tree *tree, struct groups *groups)
{
    if (groups->n_groups > 0) {
        qsort(groups->groups, groups->n_groups, sizeof(struct group), compare_keys);
    }
    /* All nodes are there before blocks are counted: which have children is known then. */
    for (size_t i = 0; i < groups->n_groups; i++) {
        if (!node_of(tree, groups->groups[i].key)) {
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < groups->n_groups; i++) {
        struct node *node = node_of(tree, groups->groups[i].key);
        if (node && node->n_children > 0) {
            node = self_take(node);
        }
        if (!node) {
            return -ENOMEM;
        }
        node_count(node, &groups->groups[i]);
    }
    return 0;
}

int live_tree_take(struct live_tree *tree, struct groups *groups, uint64_t now_ms)
{
    node_clear(&tree->root);
    for (struct node *node = live_tree_next(&tree->root); node; node = live_tree_next(node)) {
        node_clear(node);
    }
    int r = count_all(tree, groups);
    tree->n_present = 0;
    for (struct node *node = live_tree_next(&tree->root); node; node = live_tree_next(node)) {
        flow_add(&node->flow, node->row.num_bytes, now_ms);
        node->n_absent = node->row.n_blocks > 0 ? 0 : node->n_absent + 1;
        tree->n_present += node->own_blocks > 0;
        node_describe(node, tree);
    }
    tree->has_rounds = true;
    tree->now_ms = now_ms;
    forget_absent(tree);
    return r;
}

void live_tree_reset(struct live_tree *tree)
{
    for (struct node *node = live_tree_next(&tree->root); node; node = live_tree_next(node)) {
        flow_reset(&node->flow);
        node_describe(node, tree);
    }
}

/* ------------------------------------------------------------------------ which are shown ---- */

void live_tree_match(struct live_tree *tree, live_tree_match_fn match, const void *user)
{
    for (struct node *node = live_tree_next(&tree->root); node; node = live_tree_next(node)) {
        const bool above = node->parent != &tree->root && node->parent->matches;
        const bool itself = !match || match(node->row.path, user);
        node->matches = above || itself;
        node->has_match = false;
        if (itself && match && !above) {
            for (struct node *up = node->parent; up->parent && !up->has_match; up = up->parent) {
                up->has_match = true;
            }
        }
    }
}

void live_tree_open_all(struct live_tree *tree, bool is_open)
{
    for (struct node *node = live_tree_next(&tree->root); node; node = live_tree_next(node)) {
        node->is_open = is_open;
    }
}

/* What the filter finds below a node that it does not mean is not hidden. */
bool node_opens(const struct node *node)
{
    return node->is_open || (node->has_match && !node->matches);
}

bool node_has_children(const struct node *node)
{
    return node->row.n_blocks > node->own_blocks;
}

bool node_is_shown(const struct node *node)
{
    bool is_shown = node->row.n_blocks > 0 && (node->matches || node->has_match);
    for (const struct node *up = node->parent; is_shown && up->parent; up = up->parent) {
        is_shown = node_opens(up);
    }
    return is_shown;
}

const char *node_identity(const struct node *node, struct escaped *buffer)
{
    (void)snprintf(buffer->text, sizeof(buffer->text), "%s%s", node->row.path,
                   node->is_self ? "\n" : "");
    return buffer->text;
}

static const char *mark_of(const struct node *node, bool unicode)
{
    if (!node_has_children(node)) {
        return "  ";
    }
    if (node_opens(node)) {
        return unicode ? "▾ " : "- ";
    }
    return unicode ? "▸ " : "+ ";
}

struct escaped node_label(const struct node *node, bool flat, bool unicode)
{
    struct escaped label;
    if (flat) {
        return format_escaped(node->row.path);
    }
    /* Sixteen levels are as far as an indentation helps. */
    const unsigned depth = node->depth < 16 ? node->depth : 16;
    const struct escaped name =
        format_escaped(node->is_self ? "(itself)" : node->row.path + node->name_at);
    (void)snprintf(label.text, sizeof(label.text), "%*s%s%.*s", (int)(2 * depth), "",
                   mark_of(node, unicode), ESCAPED_MAX_BYTES - 48, name.text);
    return label;
}

/* -------------------------------------------------------------------------------- ordering ---- */

static int compare_siblings(const struct node *left, const struct node *right,
                            const struct live_tree_order *order)
{
    const int by_column = column_compare(order->by, &left->row, &right->row);
    if (by_column != 0) {
        return order->is_descending ? -by_column : by_column;
    }
    return strcmp(left->row.path, right->row.path);
}

int live_tree_compare(const struct node *left, const struct node *right,
                      const struct live_tree_order *order)
{
    const unsigned left_depth = left->depth;
    const unsigned right_depth = right->depth;
    if (left == right) {
        return 0;
    }
    if (order->is_flat) {
        return compare_siblings(left, right, order);
    }
    while (left->depth > right_depth) {
        left = left->parent;
    }
    while (right->depth > left_depth) {
        right = right->parent;
    }
    if (left == right) {
        return left_depth < right_depth ? -1 : 1; /* one is above the other */
    }
    while (left->parent != right->parent) {
        left = left->parent;
        right = right->parent;
    }
    return compare_siblings(left, right, order);
}

bool live_tree_check(const struct live_tree *tree)
{
    const struct node *node = &tree->root;
    for (; node; node = live_tree_next(node)) {
        uint64_t num_bytes = node->own_bytes;
        uint64_t n_blocks = node->own_blocks;
        for (size_t i = 0; i < node->n_children; i++) {
            num_bytes += node->children[i]->row.num_bytes;
            n_blocks += node->children[i]->row.n_blocks;
        }
        if (num_bytes != node->row.num_bytes || n_blocks != node->row.n_blocks) {
            return false;
        }
    }
    return true;
}
