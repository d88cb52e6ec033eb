/* SPDX-License-Identifier: MIT */
/*
 * direct.h - blocks that the daemon carves itself, on request
 *
 * The blocks of all clients are packed into the same slabs: a client costs the segment its blocks
 * and nothing else. What the daemon knows of them is in its own ledger, in the state file.
 *
 *      n_blocks   == live entries == sum over clients == sum over reasons
 *      used_bytes == sum of the sizes asked for, likewise
 *      counters' allocations - releases == n_blocks
 *      block_bytes == sum of the sizes of those blocks
 *      every PAGE_DIRECT run is one slab or one large block, and no other pages are
 *      a slab is on the list of its class while it has room, on that of the shareable ones if it is
 *      one, and is closed when it is empty
 *      the first page of a slab or a large block has an open head; the others of a slab lead to it;
 *      heads of other pages mean nothing
 *                                                                          : direct_check()
 */
#ifndef DAEMON_CORE_DIRECT_H
#define DAEMON_CORE_DIRECT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/block.h"
#include "daemon/core/budgets.h"
#include "daemon/core/clients.h"
#include "daemon/core/pages.h"
#include "daemon/core/reasons.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

struct direct {
    struct ledger *ledger;
    struct pages *pages;
    struct reasons *reasons;
    struct clients *clients;
    struct budgets *budgets;
    uint32_t partial_slabs[N_SIZE_CLASSES];   /* first page of a slab with room; 0: none */
    uint32_t shareable_slabs[N_SIZE_CLASSES]; /* likewise, of those that are HEAD_SHAREABLE */
    uint64_t n_blocks;
    uint64_t used_bytes;
    uint64_t block_bytes;
    uint64_t slab_bytes; /* pages in slabs and large blocks */
};

/* A block that a client asks for. */
struct direct_request {
    uint64_t num_bytes; /* at least 1 */
    const char *reason; /* UTF-8, at most REASON_MAX_BYTES; empty: no reason given */
    size_t n_reason_bytes;
    uint64_t sequence; /* the request's sequence number; 0: it has none */
    uint32_t now;      /* tick */
    bool shareable;    /* if it is small, among blocks of that kind alone */
};

/* Where it was carved. */
struct direct_carved {
    struct seg_off off;
    bool is_zero; /* of pages of its own, known to be zero */
};

enum {
    DIRECT_OK,
    DIRECT_E_FULL,     /* no free block and no free extent is large enough */
    DIRECT_E_WILD,     /* the offset lies in no block */
    DIRECT_E_INTERIOR, /* it lies inside a block */
    DIRECT_E_RELEASED, /* a block that began there was released */
    DIRECT_E_FOREIGN,  /* the block is another client's */
    DIRECT_E_CORRUPT,  /* direct_check() */
};

void direct_init(struct direct *direct, struct ledger *ledger, struct pages *pages,
                 struct reasons *reasons, struct clients *clients);

/** direct_pages_for() - how long a free run must be for a block of num_bytes to be carved */
uint32_t direct_pages_for(uint64_t num_bytes);

/** direct_new_pages() - how many pages it takes beside the slabs that have room, as a rule */
uint32_t direct_new_pages(const struct direct *direct, uint64_t num_bytes, bool shareable);

/** direct_fini() - asserts that no block is left */
void direct_fini(struct direct *direct);

/**
 * direct_allocate() - carve a block for a client, and enter it
 * Return: 0 or DIRECT_E_FULL.
 */
KMEM_MUST_USE int direct_allocate(struct direct *direct, struct client *client,
                                  const struct direct_request *request,
                                  struct direct_carved *ret_carved);

/**
 * direct_find() - the block of a client that begins at an offset
 * Return: 0; DIRECT_E_WILD, DIRECT_E_INTERIOR, DIRECT_E_RELEASED or DIRECT_E_FOREIGN. ret_block is
 * written on success, for DIRECT_E_INTERIOR and for DIRECT_E_FOREIGN.
 */
KMEM_MUST_USE int direct_find(const struct direct *direct, const struct client *client,
                              struct seg_off off, struct block *ret_block);

/**
 * direct_release() - take a client's block back
 * @sequence:  the request's sequence number; 0: it has none
 * Return: as direct_find().
 */
KMEM_MUST_USE int direct_release(struct direct *direct, const struct client *client,
                                 struct seg_off off, uint64_t sequence, struct block *ret_block);

/** direct_slab() - the slab or large block that begins at `page` */
struct slab direct_slab(const struct direct *direct, uint32_t page);
/** direct_take_back() - the same of the block that begins at an offset, whoever pays for it */
void direct_take_back(struct direct *direct, struct seg_off off);

/** direct_charge() - the client of a slot is charged for that block from now on */
void direct_charge(struct direct *direct, struct seg_off off, uint32_t slot);

/*
 * Pages of a lease become a slab, or a large block, with some blocks in it. Nothing is true before
 * they are a direct run: pages_turn_part(). A restart forgets what was prepared.
 */

/** direct_forget_entries() - of a slab that has no block yet, or will be none: places have none */
void direct_forget_entries(struct direct *direct, uint32_t page);

/** direct_prepare() - write heads; size_class N_SIZE_CLASSES: of a large block */
void direct_prepare(struct direct *direct, uint32_t page, uint32_t span_pages, uint32_t size_class);

/** direct_prepare_block() - write an entry; its slot is charged, its reason held by a record */
void direct_prepare_block(struct direct *direct, uint32_t page, uint32_t index,
                          const struct block *block);

/** direct_adopt() - they are a direct run: count its blocks */
void direct_adopt(struct direct *direct, uint32_t page);

/** direct_block() - the block at a place of such a slab. Return: whether there is one. */
KMEM_MUST_USE bool direct_block(const struct slab *slab, uint32_t index, struct block *ret_block);

/**
 * direct_reap_run() - take back what ended clients hold in a direct run
 * @page:   where its slab or large block begins
 *
 * They share nothing any more: sharing_reap().
 * @taken:  is told each block, before it is taken
 */
void direct_reap_run(struct direct *direct, uint32_t page,
                     void (*taken)(const struct block *block, void *user), void *user);

/**
 * direct_recover_run() - count the blocks of the slab or large block that begins at `page`
 *
 * For the tables after a restart. A run without a block goes back. Return: 0; -ENOMEM; or
 * DIRECT_E_CORRUPT, and *ret_why says what does not add up.
 */
KMEM_MUST_USE int direct_recover_run(struct direct *direct, uint32_t page, const char **ret_why);

/**
 * direct_recovered() - all blocks have been counted
 *
 * A server that was killed between giving out a block, or taking one back, and counting that, has
 * counted one too few: the blocks that are there tell which.
 */
void direct_recovered(struct direct *direct);

/**
 * direct_recover_opening() - a slab that was being made, and is none, is forgotten
 * Return: 0; or DIRECT_E_CORRUPT: it would be where no slab can be made.
 */
KMEM_MUST_USE int direct_recover_opening(struct direct *direct);

/** direct_head_kind() - what the head of a page says: HEAD_x */
static inline uint32_t direct_head_kind(const struct direct *direct, uint32_t page)
{
    /* Relaxed: the server alone writes and reads its own ledger. */
    return atomic_load_explicit(&direct->ledger->heads[page].kind, memory_order_relaxed);
}

/** direct_check() - walk and recount everything. Return: 0 or DIRECT_E_CORRUPT. */
KMEM_MUST_USE int direct_check(const struct direct *direct);

#endif
