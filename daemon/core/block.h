/* SPDX-License-Identifier: MIT */
/*
 * block.h - a live block, and the slab that it lies in, whoever carved them
 */
#ifndef DAEMON_CORE_BLOCK_H
#define DAEMON_CORE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/ledger.h"

struct block {
    struct seg_off off;
    uint64_t num_bytes;
    uint32_t reason; /* an id in the daemon's table; in the client's own if `leased` */
    uint32_t born;
    uint32_t slot;
    bool leased; /* as the client's ledger says: not verified */
};

/* A slab, or a large block, which is a slab of one. */
struct slab {
    uint32_t page;
    uint32_t n_blocks; /* places that have been handed out at least once; the others are free */
    uint64_t block_bytes;
    struct ledger_entry *entries; /* of a leased slab: a copy */
    /* Of leased slabs: */
    uint32_t slot;
    uint32_t span_pages;
    uint32_t plane;
};

#endif
