/* SPDX-License-Identifier: MIT */
/*
 * block_iter.h - the live blocks of the segment, direct and leased, in order of their offsets
 *
 *      struct block_iter iter;
 *      struct block block;
 *      block_iter_init(&iter, core, BLOCKS_ALL, from, budget);
 *      while (block_iter_next(&iter, &block)) {
 *          ...
 *      }
 *      from = block_iter_position(&iter);      0: that was all; else a later turn goes on there
 *
 * While an iterator is in use nothing else reads clients' ledgers slab by slab, and no block is
 * given or taken. Between two iterators everything may change.
 */
#ifndef DAEMON_CORE_BLOCK_ITER_H
#define DAEMON_CORE_BLOCK_ITER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"

enum block_iter_which { BLOCKS_ALL, BLOCKS_LEASED };

/* 32: the heads of a lease of 512 KiB in one kilobyte. */
#define BLOCK_ITER_HEADS 32

struct block_iter {
    const struct core *core;
    enum block_iter_which which;
    struct seg_off from; /* where it began: blocks before are left out */
    uint32_t budget;
    uint32_t spent;   /* entries and pages looked at; callers add what a block costs them */
    uint32_t page;    /* the next to look at */
    uint32_t run_end; /* of the run that it is in; == page: a run begins there */
    uint32_t end;     /* where to stop: the segment's end, or a run's */
    const struct client *client;                /* of the leased run that page is in */
    struct slab slab;                           /* the slab before page */
    uint32_t index;                             /* the next of its blocks to look at */
    struct ledger_head heads[BLOCK_ITER_HEADS]; /* the client's: copies, of pages in a row */
    uint32_t heads_page;
    uint32_t n_heads;
};

/**
 * block_iter_init() - begin at a position
 * @from:    an offset, or what block_iter_position() returned: then it goes on as if it had not
 *           paused, and returns no block twice nor one that overlaps another, whatever clients'
 *           ledgers say
 * @budget:  how many entries and pages to look at before pausing, a read of a ledger counts
 *           CLIENT_LEDGER_READ_COST; at least one run, or one slab of a lease, is looked at
 */
void block_iter_init(struct block_iter *iter, const struct core *core, enum block_iter_which which,
                     struct seg_off from, uint32_t budget);

/** block_iter_init_run() - likewise, in the leased run alone that `from` is in */
void block_iter_init_run(struct block_iter *iter, const struct core *core, struct seg_off from,
                         uint32_t budget);

/** block_iter_next() - Return: false: the budget is spent, or there are no more blocks. */
KMEM_MUST_USE bool block_iter_next(struct block_iter *iter, struct block *ret_block);

/** block_iter_put_back() - return the last block again */
void block_iter_put_back(struct block_iter *iter);

/** block_iter_position() - where to go on with what was not returned yet; 0: nowhere, it is done */
KMEM_MUST_USE struct seg_off block_iter_position(const struct block_iter *iter);

/**
 * block_find_leased() - the leased block that an offset lies in, of whatever client
 *
 * For the sentence about a misuse. See client_ledger_find(). Return: whether a client's ledger has
 * one there; *ret_slab is the slab that it is in.
 */
KMEM_MUST_USE bool block_find_leased(const struct core *core, struct seg_off off,
                                     struct block *ret_block, struct slab *ret_slab);

/**
 * block_reason() - a block's reason, out of the daemon's table or the client's
 * @ret_text:  REASON_MAX_BYTES of room
 * Return: its length, not terminated.
 */
size_t block_reason(const struct core *core, const struct block *block, char *ret_text);

/** block_reason_of_many() - likewise; see client_ledger_reason_of_many() */
size_t block_reason_of_many(const struct core *core, const struct block *block,
                            struct ledger_reasons_read *read, char *ret_text);

#endif
