/* SPDX-License-Identifier: MIT */
/*
 * blocks.h - blocks by pointer: which is meant, and what is wrong with it
 */
#ifndef CLIENT_BLOCKS_H
#define CLIENT_BLOCKS_H

#include <stddef.h>
#include <string.h>

#include "client/context.h"
#include "client/failure.h"
#include "client/heap/heap.h"
#include "proto/attributes.h"
#include "proto/counts.h"

/** kmem__blocks_counts() - what the server does not see is counted here */
struct ledger_counts *kmem__blocks_counts(void);

/** kmem__blocks_count_misuse() - the program has done what it must not */
void kmem__blocks_count_misuse(void);

/** kmem__blocks_refuse_ended() - the segment has ended, as the sentence says. Return: -ECONNRESET.
 */
KMEM_MUST_USE int kmem__blocks_refuse_ended(size_t num_bytes, const char *reason,
                                            struct failure *failure);

/**
 * kmem__blocks_enter_about() - take the connection lock, and find a pointer's offset
 * Return: 0, or -errno without it.
 */
KMEM_MUST_USE int kmem__blocks_enter_about(struct conn_lock *lock, const void *mem,
                                           struct seg_off *ret_offset, struct failure *failure);

/**
 * kmem__blocks_reserve_direct() - have room to note a direct block, where children are to inherit
 * it (inherit.h); these three: with the connection
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int kmem__blocks_reserve_direct(struct failure *failure);

/** kmem__blocks_note_direct() - it is this process's */
void kmem__blocks_note_direct(struct seg_off offset, uint64_t num_bytes);

/** kmem__blocks_drop_direct() - it is not any more, or none was at the offset */
void kmem__blocks_drop_direct(struct seg_off offset);

/** kmem__blocks_refuse_pointer() - one that the daemon need not be asked about. Return: -errno. */
KMEM_MUST_USE int kmem__blocks_refuse_pointer(const struct segment *segment, const void *mem,
                                              struct failure *failure);

/** kmem__blocks_refuse_leased() - say what is wrong with one of a lease: HEAP_E_x. Return: -errno.
 */
KMEM_MUST_USE int kmem__blocks_refuse_leased(struct allocator *allocator, int why,
                                             struct seg_off offset, const struct found *found,
                                             struct failure *failure);

enum { BLOCKS_E_ASK = 1 }; /* not a block of this process's leases alone: ask the daemon */

typedef int (*blocks_look)(struct allocator *allocator, struct seg_off offset,
                           struct found *ret_found);

/** kmem__blocks_leased() - release or find a leased block. Return: 0; BLOCKS_E_ASK; or -errno. */
KMEM_MUST_USE int kmem__blocks_leased(const void *mem, blocks_look look, struct found *ret_found,
                                      struct failure *failure);

/*
 * *mem is the caller's pointer, of any type: its bytes are copied, as memcpy() may do with every
 * object. To read it as a void * would be undefined as soon as the caller is optimised with this.
 */
static inline void *pointer_get(void *const *mem)
{
    void *block;
    memcpy((void *)&block, (const void *)mem, sizeof(block));
    return block;
}

static inline void pointer_put(void **mem, void *block)
{
    memcpy((void *)mem, (const void *)&block, sizeof(block));
}

static inline void pointer_clear(void **mem)
{
    pointer_put(mem, NULL);
}

#endif
