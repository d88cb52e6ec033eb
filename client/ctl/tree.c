/* SPDX-License-Identifier: MIT */
/*
 * Reasons are sorted so that what begins alike stands together: '/' counts as less than any other
 * character, or "a-b" would stand between "a" and "a/c". Then one pass builds all nodes: of each
 * reason, those of its levels are new that the reason before it does not have. A second pass links
 * siblings in the order of their bytes. Nothing calls itself: a reason may have 64 levels.
 */
#include "client/ctl/tree.h"
#include "client/ctl/measure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void tree_fini(struct tree *tree)
{
    for (size_t i = 0; i < tree->n_nodes; i++) {
        free(tree->nodes[i].path);
    }
    free(tree->nodes);
    *tree = (struct tree){.first = TREE_NONE, .last_root = TREE_NONE};
}

/* --------------------------------------------------------------------------------- levels ---- */

static int rank(char character)
{
    return character == '/' ? 1 : character == '\0' ? 0 : (unsigned char)character + 2;
}

static int compare_reasons(const void *left, const void *right)
{
    const char *a = ((const struct group *)left)->key;
    const char *b = ((const struct group *)right)->key;
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return rank(*a) - rank(*b);
}

/* Return: where the level that begins there ends: at a '/', or at the end of the reason. */
static size_t level_end(const char *reason, size_t from)
{
    const size_t skipped = from == 0 && *reason == '/';
    return from + skipped + strcspn(reason + from + skipped, "/");
}

/* --------------------------------------------------------------------------------- growing ---- */

static int tree_reserve(struct tree *tree)
{
    const size_t capacity = tree->capacity ? tree->capacity * 2 : 64;
    if (tree->n_nodes < tree->capacity) {
        return 0;
    }
    struct tree_node *grown = realloc(tree->nodes, capacity * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    tree->nodes = grown;
    tree->capacity = capacity;
    return 0;
}

static int tree_add(struct tree *tree, const char *reason, size_t from, size_t end, size_t parent)
{
    int r = tree_reserve(tree);
    char *path = r == 0 ? strndup(reason, end) : NULL;
    if (!path) {
        return -ENOMEM;
    }
    tree->nodes[tree->n_nodes++] = (struct tree_node){
        .path = path,
        .name_at = from,
        .level = parent == TREE_NONE ? 1 : tree->nodes[parent].level + 1,
        .parent = parent,
        .first_child = TREE_NONE,
        .last_child = TREE_NONE,
        .next_sibling = TREE_NONE,
    };
    return 0;
}

/* Return: the deepest node, of the newest and those above it, that the reason is below, or is. */
static size_t common_node(const struct tree *tree, const char *reason)
{
    size_t index = tree->n_nodes > 0 ? tree->n_nodes - 1 : TREE_NONE;
    while (index != TREE_NONE) {
        const char *path = tree->nodes[index].path;
        const size_t n_bytes = strlen(path);
        if (strncmp(path, reason, n_bytes) == 0 &&
            (reason[n_bytes] == '/' || reason[n_bytes] == '\0') &&
            level_end(reason, tree->nodes[index].name_at) == n_bytes) {
            break;
        }
        index = tree->nodes[index].parent;
    }
    return index;
}

static void tree_count(struct tree *tree, size_t index, const struct group *group)
{
    tree->nodes[index].own_blocks += group->n_blocks;
    tree->nodes[index].own_bytes += group->num_bytes;
    for (; index != TREE_NONE; index = tree->nodes[index].parent) {
        struct tree_node *node = &tree->nodes[index];
        node->n_blocks += group->n_blocks;
        node->num_bytes += group->num_bytes;
        node->oldest_ms = group->oldest_ms > node->oldest_ms ? group->oldest_ms : node->oldest_ms;
    }
}

static int tree_add_group(struct tree *tree, const struct group *group)
{
    const char *reason = group->key;
    size_t parent = common_node(tree, reason);
    bool is_there = parent != TREE_NONE && strcmp(tree->nodes[parent].path, reason) == 0;
    size_t from = parent == TREE_NONE ? 0 : strlen(tree->nodes[parent].path) + 1;
    int r = 0;
    while (r == 0 && !is_there) {
        const size_t end = level_end(reason, from);
        r = tree_add(tree, reason, from, end, parent);
        parent = r == 0 ? tree->n_nodes - 1 : parent;
        is_there = reason[end] == '\0';
        from = end + 1;
    }
    if (r == 0) {
        tree_count(tree, parent, group);
    }
    return r;
}

/* --------------------------------------------------------------------------------- linking ---- */

static int compare_nodes(const void *left, const void *right, void *user)
{
    const struct tree *tree = user;
    const size_t a = *(const size_t *)left;
    const size_t b = *(const size_t *)right;
    const uint64_t a_bytes = tree->nodes[a].num_bytes;
    const uint64_t b_bytes = tree->nodes[b].num_bytes;
    return a_bytes != b_bytes ? (a_bytes < b_bytes ? 1 : -1) : (a > b) - (a < b);
}

static void tree_link(struct tree *tree, size_t index)
{
    const size_t parent = tree->nodes[index].parent;
    size_t *first = parent == TREE_NONE ? &tree->first : &tree->nodes[parent].first_child;
    size_t *last = parent == TREE_NONE ? &tree->last_root : &tree->nodes[parent].last_child;
    if (*last == TREE_NONE) {
        *first = index;
    } else {
        tree->nodes[*last].next_sibling = index;
        tree->nodes[*last].is_last = false;
    }
    tree->nodes[index].is_last = true;
    *last = index;
}

static int tree_order(struct tree *tree, uint64_t total_bytes)
{
    size_t *order = malloc((tree->n_nodes + 1) * sizeof(*order));
    if (!order) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < tree->n_nodes; i++) {
        tree->nodes[i].share_permille =
            measure_permille((double)tree->nodes[i].num_bytes, (double)total_bytes);
        order[i] = i;
    }
    qsort_r(order, tree->n_nodes, sizeof(*order), compare_nodes, tree);
    for (size_t i = 0; i < tree->n_nodes; i++) {
        tree_link(tree, order[i]);
    }
    free(order);
    return 0;
}

/* ------------------------------------------------------------------------------------- all ---- */

int tree_init(struct tree *tree, struct groups *groups)
{
    int r = 0;
    *tree = (struct tree){.first = TREE_NONE, .last_root = TREE_NONE};
    if (groups->n_groups > 0) {
        qsort(groups->groups, groups->n_groups, sizeof(struct group), compare_reasons);
    }
    for (size_t i = 0; r == 0 && i < groups->n_groups; i++) {
        r = tree_add_group(tree, &groups->groups[i]);
    }
    return r ? r : tree_order(tree, groups_total(groups).num_bytes);
}

size_t tree_next(const struct tree *tree, size_t index, unsigned n_levels)
{
    const struct tree_node *node = &tree->nodes[index];
    if (node->first_child != TREE_NONE && (n_levels == 0 || node->level < n_levels)) {
        return node->first_child;
    }
    while (node->next_sibling == TREE_NONE && node->parent != TREE_NONE) {
        node = &tree->nodes[node->parent];
    }
    return node->next_sibling;
}
