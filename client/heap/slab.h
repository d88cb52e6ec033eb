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

/** kmem__slab_refill() - fill an empty bin from a slab, an abandoned heap's or a new one if need be
 * Return: false: no pages are to be had. */
KMEM_MUST_USE bool kmem__slab_refill(struct heap *heap, struct bin *bin);

/** kmem__slab_spill() - put a bin's n_blocks that were released first back into their slabs */
void kmem__slab_spill(struct heap *heap, struct bin *bin, uint32_t n_blocks);

/** kmem__slab_collect() - take back what other threads released */
void kmem__slab_collect(struct heap *heap);

/**
 * kmem__slab_keep() - a ready block, out of its bin and entered, may be of a slab that is contested
 * Return: whether it is this thread's; else it is entered no more, and the slab is forgotten.
 */
KMEM_MUST_USE bool kmem__slab_keep(struct heap *heap, struct bin *bin,
                                   const struct free_block *ready);

/** kmem__bin_block() - where a ready block lies */
static inline struct ledger_block kmem__bin_block(const struct heap *heap, const struct bin *bin,
                                                  const struct free_block *ready)
{
    const uint32_t at = (uint32_t)((uint64_t)(ready->block - heap->base) >> PAGE_SHIFT);
    const uint32_t page = kmem__note_first(&heap->notes[at], at);
    const uint64_t index = (uint64_t)(ready->entry - kmem__bin_entries(bin, page));
    return (struct ledger_block){page, (uint32_t)index, ready->entry};
}

/** kmem__heap_owns() - whether the slab that a page is in is the heap's */
static inline bool kmem__heap_owns(const struct heap *heap, uint32_t page)
{
    return kmem__note_heap(&heap->notes[page]) == heap->id;
}

#endif
