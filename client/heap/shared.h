/* SPDX-License-Identifier: MIT */
/*
 * shared.h - a block of this process's leases that others may hold: what its entry says
 *
 *      word      ENTRY_SHARED from before the server is asked to share it until it is home again
 *      holder    of such an entry: SHARED_HERE, this process holds it, with others or not
 *                                  SHARED_AWAY, others do, and it comes home by the returns
 *
 * The fast way of a release leaves such a block alone: its word is not positive.
 */
#ifndef CLIENT_HEAP_SHARED_H
#define CLIENT_HEAP_SHARED_H

#include <stdbool.h>

#include "client/heap/allocator.h"
#include "client/heap/heap.h"
#include "proto/attributes.h"

/**
 * kmem__shared_mark() - the server is about to be asked to share a block
 * @ret_found:  written for HEAP_OK and HEAP_E_INTERIOR
 * @ret_was:    whether it was marked before
 * Return: as kmem__heap_find().
 */
KMEM_MUST_USE int kmem__shared_mark(struct allocator *allocator, struct seg_off offset,
                                    struct found *ret_found, bool *ret_was);

/** kmem__shared_unmark() - it refused: the block is this process's alone, as before */
void kmem__shared_unmark(const struct found *found);

/** kmem__shared_set() - where a marked block is; nothing, if it is none. Return: whether it is. */
bool kmem__shared_set(struct allocator *allocator, struct seg_off offset, uint32_t where);

#endif
