/* SPDX-License-Identifier: MIT */
/*
 * blocks.h - which blocks the options mean
 */
#ifndef CTL_BLOCKS_H
#define CTL_BLOCKS_H

#include <kmem/query.h>

#include "client/ctl/filter.h"

/** blocks_filter() - whether a block is asked for */
bool blocks_filter(const struct filter *filter, const struct kmem_block *block);

/**
 * blocks_ask() - ask for the blocks that a filter means; the daemon selects, if it can
 * @only_shared:  of them, those that are shared
 *
 * More may come than is meant, all of them from an older daemon: blocks_filter() looks again.
 * Return: as kmem_query_blocks() has it.
 */
KMEM_MUST_USE int blocks_ask(struct kmem_query *query, const struct filter *filter,
                             bool only_shared, kmem_block_fn each, void *user);

#endif
