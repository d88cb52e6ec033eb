/* SPDX-License-Identifier: MIT */
/*
 * large.h - leased blocks above SMALL_MAX_BYTES: whole pages, any thread's
 */
#ifndef CLIENT_HEAP_LARGE_H
#define CLIENT_HEAP_LARGE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

struct allocator;
struct recent;

/**
 * kmem__large_take() - make a block, entered in the ledger and cleared
 * @own:     the thread's runs, where one is looked for first
 * @reason:  the entry's word but for num_bytes
 * @clears:  false: what this process itself left in the pages may stay there
 * Return: the block; NULL if no run is to be had.
 */
KMEM_MUST_USE void *kmem__large_take(struct allocator *allocator, struct recent *own,
                                     uint64_t num_bytes, uint64_t reason, bool clears);

/**
 * kmem__large_give() - release a large block
 * @own:     the thread's runs, where its pages are kept; NULL: it has none
 * @is_own:  no other process has held it for writing
 * Return: false: another thread has just done it.
 */
KMEM_MUST_USE bool kmem__large_give(struct allocator *allocator, struct recent *own, uint32_t page,
                                    bool is_own);

#endif
