/* SPDX-License-Identifier: MIT */
/*
 * slab.h - the slabs behind a bin: where its blocks come from and where they go
 */
#ifndef CLIENT_HEAP_SLAB_H
#define CLIENT_HEAP_SLAB_H

#include <stdbool.h>
#include <stdint.h>

#include "client/heap/bins.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

struct allocator;

/** kmem__slab_refill() - fill an empty bin from a slab, an abandoned heap's or a new one if need be
 * Return: false: no pages are to be had. */
KMEM_MUST_USE bool kmem__slab_refill(struct heap *heap, struct bin *bin);

/** kmem__slab_spill() - put a bin's n_blocks that were released first back into their slabs */
void kmem__slab_spill(struct heap *heap, struct bin *bin, uint32_t n_blocks);

/** kmem__slab_collect() - take back what other threads released */
void kmem__slab_collect(struct heap *heap);

/**
 * kmem__slab_push() - release a block of a slab that is another heap's
 * @id:  of this thread's heap; 0: it has none
 * Return: false: another thread has just done it.
 */
KMEM_MUST_USE bool kmem__slab_push(struct allocator *allocator, uint32_t id,
                                   const struct ledger_block *block);

/**
 * kmem__slab_keep() - a ready block, out of its bin and entered, may be of a slab that is contested
 * Return: whether it is this thread's; else it is entered no more, and the slab is forgotten.
 */
KMEM_MUST_USE bool kmem__slab_keep(struct heap *heap, struct bin *bin,
                                   const struct free_block *ready);

/** kmem__slab_check() - recount a bin's slabs. Return: whether the equations at struct bin hold. */
KMEM_MUST_USE bool kmem__slab_check(const struct heap *heap, const struct bin *bin);

#endif
