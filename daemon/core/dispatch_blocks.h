/* SPDX-License-Identifier: MIT */
/*
 * dispatch_blocks.h - what is asked of a block by its offset: Release, ReleaseMany, SizeOf
 */
#ifndef DAEMON_CORE_DISPATCH_BLOCKS_H
#define DAEMON_CORE_DISPATCH_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/call.h"
#include "proto/attributes.h"

/* Handlers. */
int dispatch_release(const struct call *call);
int dispatch_release_many(const struct call *call);
int dispatch_size_of(const struct call *call);

/** dispatch_holds() - whether the caller holds a share, as its owner or not */
bool dispatch_holds(const struct call *call, uint32_t share);

/* What became of a block that was let go of. */
struct released {
    uint64_t num_bytes; /* 0: it is not known any more */
    bool kept;          /* others hold it */
    bool unwritten;     /* no other than its owner has held it for writing, as far as is known */
};

/**
 * dispatch_look() - what would become of a block if the caller let go of it
 * Return: 0 or a DIRECT_E_x; ret_block as direct_find().
 */
KMEM_MUST_USE int dispatch_look(const struct call *call, struct seg_off off,
                                struct released *ret_released, struct block *ret_block);

/**
 * dispatch_let_go() - let go of a block that the caller owns or holds
 * @sequence:  for its own intent; 0: it writes none
 * Return: as dispatch_look(); ret_released is written on success.
 */
KMEM_MUST_USE int dispatch_let_go(const struct call *call, struct seg_off off, uint64_t sequence,
                                  struct released *ret_released, struct block *ret_block);

/** dispatch_released() - the same, as answers have it */
Kmem__Released *dispatch_released(const struct call *call, const struct released *released);

/**
 * dispatch_refuse_block() - an error that names the block, where there is one
 * @why:  a DIRECT_E_x, and the block that was found for it
 * Return: DISPATCH_OK.
 */
int dispatch_refuse_block(const struct call *call, int why, struct seg_off off,
                          const struct block *block);

#endif
