/* SPDX-License-Identifier: MIT */
/*
 * walk.h - every live block of the segment, whoever carved it
 */
#ifndef DAEMON_CORE_WALK_H
#define DAEMON_CORE_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"

enum walk_which { WALK_ALL, WALK_LEASED };

/**
 * walk() - visit the live blocks from a position on, in order of their offsets
 * @from:    an offset, or what walk() returned: then it goes on as if it had not paused, and no
 *           block is visited twice nor overlaps one that was, whatever clients' ledgers say
 * @budget:  how many entries and pages to look at before pausing, a read of a ledger counts
 *           CLIENT_LEDGER_READ_COST; at least one run, or one slab of a lease, is looked at
 * @each:    returns false to stop before the block it was given; may not change any block
 * Return: where to go on; 0 if the walk has reached the end of the segment.
 */
KMEM_MUST_USE struct seg_off walk(const struct core *core, struct seg_off from, uint32_t budget,
                                  enum walk_which which, block_fn each, void *user);

/**
 * walk_find() - the leased block that an offset lies in, whoever's it is
 *
 * For sentences about somebody's mistake. See client_ledger_find(). Return: whether a client tells
 * of one.
 */
KMEM_MUST_USE bool walk_find(const struct core *core, struct seg_off off, struct block *ret_block);

/**
 * walk_reason() - a block's reason, whoever's table it is in
 * @ret_text:  REASON_MAX_BYTES of room
 * Return: its length, not terminated.
 */
size_t walk_reason(const struct core *core, const struct block *block, char *ret_text);

#endif
