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

#endif
