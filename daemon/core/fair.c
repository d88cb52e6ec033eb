/* SPDX-License-Identifier: MIT */
#include "daemon/core/fair.h"

#include <stddef.h>

void fair_init(struct fair *node, struct fair *parent)
{
    *node = (struct fair){.parent = parent};
}

static void queue_append(struct fair *node)
{
    struct fair *parent = node->parent;
    KMEM_ASSERT(!node->waits);
    node->waits = true;
    node->next = NULL;
    node->prev = parent->last;
    if (parent->last) {
        parent->last->next = node;
    } else {
        parent->first = node;
    }
    parent->last = node;
}

static void queue_remove(struct fair *node)
{
    struct fair *parent = node->parent;
    KMEM_ASSERT(node->waits);
    if (node->prev) {
        node->prev->next = node->next;
    } else {
        parent->first = node->next;
    }
    if (node->next) {
        node->next->prev = node->prev;
    } else {
        parent->last = node->prev;
    }
    node->waits = false;
}

void fair_add(struct fair *leaf)
{
    KMEM_ASSERT(leaf->first == NULL);
    for (struct fair *node = leaf; node->parent && !node->waits; node = node->parent) {
        queue_append(node);
    }
}

void fair_remove(struct fair *leaf)
{
    struct fair *node = leaf;
    while (node->parent && node->waits && !node->first) {
        queue_remove(node);
        node = node->parent;
    }
}

struct fair *fair_first(const struct fair *line)
{
    struct fair *node = line->first;
    while (node && node->first) {
        node = node->first;
    }
    return node;
}

struct fair *fair_take(struct fair *line)
{
    struct fair *leaf = fair_first(line);
    if (!leaf) {
        return NULL;
    }
    fair_remove(leaf);
    for (struct fair *node = leaf->parent; node->parent; node = node->parent) {
        if (node->waits) {
            queue_remove(node); /* it was first: others are waiting in front of it now */
            queue_append(node);
        }
    }
    return leaf;
}
