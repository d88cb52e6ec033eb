/* SPDX-License-Identifier: MIT */
/*
 * tree.h - the hierarchy that '/' makes of reasons
 *
 * A node has what its own reason has, and what all below it have. "video/capture" and "video/index"
 * make a node "video", whether a block has that reason or not. A '/' at the beginning begins no
 * second level. The order is that of a walk: each node before those below it, among siblings the
 * one with the most bytes first.
 */
#ifndef CTL_TREE_H
#define CTL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/groups.h"

#define TREE_NONE SIZE_MAX

struct tree_node {
    char *path;        /* the whole reason, or the beginning that those below it have in common */
    size_t name_at;    /* where in the path its last level begins */
    unsigned level;    /* 1 at the top */
    bool is_last;      /* among its siblings */
    uint64_t n_blocks; /* of itself and all below it, as the next ones */
    uint64_t num_bytes;
    uint64_t oldest_ms;
    uint64_t own_blocks; /* of itself alone */
    uint64_t own_bytes;
    uint64_t share_permille; /* of all bytes */
    size_t parent;           /* indexes; TREE_NONE: there is none */
    size_t first_child;
    size_t last_child;
    size_t next_sibling;
};

struct tree {
    struct tree_node *nodes;
    size_t n_nodes;
    size_t capacity;
    size_t first; /* of the walk */
    size_t last_root;
};

/**
 * tree_init() - build it of groups by reason
 * @groups:  are sorted anew
 * Return: 0 or -ENOMEM; tree_fini() is due either way.
 */
KMEM_MUST_USE int tree_init(struct tree *tree, struct groups *groups);

void tree_fini(struct tree *tree);

/**
 * tree_next() - the node after that one in the walk
 * @n_levels:  nodes below that level are left out; 0: none is
 * Return: TREE_NONE at the end.
 */
size_t tree_next(const struct tree *tree, size_t index, unsigned n_levels);

#endif
