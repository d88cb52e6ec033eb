/* SPDX-License-Identifier: MIT */
/*
 * stretch.h - what a page of the segment belongs to: the pages around it that are of one thing
 *
 *      free extent · pages being cleared · the first page · a direct slab or large block ·
 *      in a lease: unused pages · a slab or large block · pages of which its ledger says nothing
 *
 * The stretches from page 0 on, each from where the last one ended, are all pages, each once,
 * whatever clients write into their ledgers. What is said of a lease's blocks is not verified.
 */
#ifndef DAEMON_CORE_STRETCH_H
#define DAEMON_CORE_STRETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/block.h"
#include "daemon/core/core.h"

enum stretch_state {
    STRETCH_FREE,
    STRETCH_CLEARING,  /* free, and being made 0 */
    STRETCH_FIRST,     /* the segment's first page, which is never given out */
    STRETCH_DIRECT,    /* a slab or large block that the server carved */
    STRETCH_LEASED,    /* leased, and in use */
    STRETCH_IDLE,      /* leased, and no block lives there: another process can have it */
    STRETCH_RETURNING, /* leased by a client that has ended, or taken back from one: free soon */
    N_STRETCH_STATES,
};

struct stretch {
    enum stretch_state state;
    uint32_t page;
    uint32_t n_pages;
    uint32_t owner;    /* slot: whose lease; of direct blocks, whose most bytes are; SLOT_NONE */
    struct slab slab;  /* n_blocks 0: there is none. Valid until the next stretch is looked for */
    uint64_t n_blocks; /* live ones */
    uint64_t live_bytes;
    uint64_t owner_bytes;  /* of these, the owner's */
    uint64_t reason_bytes; /* of these, those of the reason with the most, about */
    struct block reason;   /* a block's, for block_reason(): of the reason with the most */
    bool one_owner;
    bool one_reason;
    uint32_t oldest; /* ticks, of live blocks */
    uint32_t newest;
};

/** stretch_reason_key() - the same for blocks of one reason: clients' have numbers of their own */
uint64_t stretch_reason_key(const struct block *block);

/**
 * stretch_find() - the stretch that a page is in
 * @page:  below the segment's number of pages
 * @from:  it does not begin before this one; == page: it begins there
 * @spent: what that cost is added, in entries looked at; a stretch of unused or unknown pages ends
 *         after STRETCH_PAGES_MAX, whatever follows
 */
void stretch_find(const struct core *core, uint32_t page, uint32_t from, uint32_t *spent,
                  struct stretch *ret_stretch);

/* 8,192 pages, 128 MiB: in a look at a word of states each, 1,000 looks. */
#define STRETCH_PAGES_MAX 8192

#endif
