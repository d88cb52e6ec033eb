/* SPDX-License-Identifier: MIT */
/*
 * heap.h - a thread's own blocks: allocate and release without a lock, an atomic read-modify-write
 *          or a system call
 *
 * What is inline here is the way that nearly every call takes. It ends in NULL or false whenever
 * anything is not as usual, and has then changed nothing: heap.c goes on from there.
 */
#ifndef CLIENT_HEAP_HEAP_H
#define CLIENT_HEAP_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "client/heap/allocator.h"
#include "client/heap/bins.h"
#include "client/heap/clear.h"
#include "client/heap/counts.h"
#include "client/heap/intern.h"
#include "client/heap/site.h"
#include "proto/attributes.h"
#include "proto/crash_point.h"
#include "proto/ledger.h"
#include "proto/lease.h"

extern _Thread_local struct heap *kmem__heap_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The text that stands for NULL, so that it is remembered like any other. */
extern const char kmem__heap_no_reason[1] __attribute__((visibility("hidden")));

/* ---------------------------------------------------------------------------- the fast way ---- */

/* Where the bin is in the heap, in bytes, by (num_bytes + 15) / 16 up to 2048 bytes. */
extern const uint32_t kmem__heap_bin_at[129] __attribute__((visibility("hidden")));

/** kmem__heap_bin() - where blocks of num_bytes are, which is 1 to SMALL_MAX_BYTES */
static inline struct bin *kmem__heap_bin(struct heap *heap, uint32_t num_bytes)
{
    if (KMEM_LIKELY(num_bytes <= 2048)) {
        const uint64_t at = kmem__heap_bin_at[(num_bytes + 15) >> 4];
        return (struct bin *)(void *)((unsigned char *)heap + at);
    }
    return &heap->bins[size_class_of(num_bytes)];
}

/** kmem__heap_clear_more() - clears CLEAR_LOOP_MIN_BYTES and more. Return: block. */
void *kmem__heap_clear_more(unsigned char *block, size_t num_bytes, struct heap *heap,
                            struct bin *bin) __attribute__((visibility("hidden")));

/*
 * Enters a ready block that is already out of its bin. Return: whether it is surely this thread's;
 * else the daemon may ask for its slab, or have taken it: see lease.h.
 */
static inline bool kmem__heap_enter(const struct heap *heap, struct ledger_entry *entry,
                                    size_t num_bytes, uint64_t reason, uint32_t tick)
{
    KMEM_CRASH_POINT("client.block.taken");
    store_prepare_u32(&entry->born, tick);
    KMEM_CRASH_POINT("client.entry.half");
    /* Before: the block is free. After: it is live, and when and why is in place. */
    store_commit(&entry->word, num_bytes | reason);
    KMEM_CRASH_POINT("client.entry.complete");
    /* The compiler keeps the order; the processor's is the daemon's to enforce, by membarrier(). */
    atomic_signal_fence(memory_order_seq_cst);
    return !lease_is_announced(heap->asked);
}

static inline void *kmem__heap_clear(struct heap *heap, struct bin *bin, unsigned char *block,
                                     size_t num_bytes)
{
    if (num_bytes <= CLEAR_INLINE_BYTES) {
        kmem__clear_inline(block, num_bytes);
        return block;
    }
    if (num_bytes < CLEAR_LOOP_MIN_BYTES) {
        return memset(block, 0, num_bytes);
    }
    return kmem__heap_clear_more(block, num_bytes, heap, bin);
}

/* A call that goes on where the fast way ends; site is NULL if there is none. */
typedef void *(*allocate_function)(size_t num_bytes, const char *reason, struct kmem_site *site);

/**
 * kmem__heap_contest() - the block that was just taken out of its bin, and entered, may be of a
 *                        slab that the daemon asks for, or has taken
 * Return: the block, cleared, if it is this thread's; else what otherwise() returns.
 */
void *kmem__heap_contest(size_t num_bytes, const char *reason, struct kmem_site *site,
                         allocate_function otherwise) __attribute__((visibility("hidden")));

/* A ready block, entered and cleared; what otherwise() returns if there is none. */
__attribute__((always_inline)) static inline void *
kmem__heap_pop(struct heap *heap, size_t num_bytes, const char *reason, uint64_t word,
               struct kmem_site *site, allocate_function otherwise)
{
    struct bin *bin = kmem__heap_bin(heap, (uint32_t)num_bytes);
    const uint32_t magazine_bytes = bin->magazine_bytes;
    if (KMEM_UNLIKELY(magazine_bytes == 0)) {
        return otherwise(num_bytes, reason, site);
    }
    /* Relaxed: a tick; who finds it stopped loads it again. */
    const uint32_t tick = atomic_load_explicit(heap->clock, memory_order_relaxed);
    if (KMEM_UNLIKELY(tick == TICK_STOPPED)) {
        return otherwise(num_bytes, reason, site);
    }
    const struct free_block *ready = kmem__bin_magazine(bin, magazine_bytes) - 1;
    unsigned char *block = ready->block;
    struct ledger_entry *entry = ready->entry; /* before the store, which might change it */
    bin->magazine_bytes = magazine_bytes - (uint32_t)sizeof(*ready);
    if (KMEM_UNLIKELY(!kmem__heap_enter(heap, entry, num_bytes, word, tick))) {
        return kmem__heap_contest(num_bytes, reason, site, otherwise);
    }
    /* num_bytes - 1 is computed anew: kept from the first comparison on it takes the register that
       would have to be saved otherwise, which costs more. */
    __asm__("" : "+r"(num_bytes));
    return kmem__heap_clear(heap, bin, block, num_bytes);
}

/** kmem__heap_take() - a block whose reason is compared with the one remembered for its pointer */
__attribute__((always_inline)) static inline void *
kmem__heap_take(size_t num_bytes, const char *reason, allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    if (KMEM_UNLIKELY(num_bytes - 1 >= SMALL_MAX_BYTES)) {
        return otherwise(num_bytes, reason, NULL);
    }
    reason = reason != NULL ? reason : kmem__heap_no_reason;
    const struct remembered *remembered = kmem__remembered_at(heap->remembered, reason);
    if (KMEM_UNLIKELY(!kmem__remembered_matches(remembered, reason))) {
        return otherwise(num_bytes, reason, NULL);
    }
    return kmem__heap_pop(heap, num_bytes, reason, remembered->word, NULL, otherwise);
}

/** kmem__heap_take_at() - a block whose reason is a literal of this call site */
__attribute__((always_inline)) static inline void *kmem__heap_take_at(size_t num_bytes,
                                                                      const char *reason,
                                                                      struct kmem_site *site,
                                                                      allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    uint64_t word;
    if (KMEM_UNLIKELY(num_bytes - 1 >= SMALL_MAX_BYTES) ||
        KMEM_UNLIKELY(!kmem__site_knows(site, reason, heap->epoch, &word))) {
        return otherwise(num_bytes, reason, site);
    }
    return kmem__heap_pop(heap, num_bytes, reason, word, site, otherwise);
}

__extension__ typedef unsigned __int128 uint128;

/* Where a pointer of this thread's heap leads. */
struct spot {
    struct bin *bin; /* NULL: to no block of this heap that begins there */
    struct ledger_entry *entry;
};

/*
 * The block of this thread's heap that begins at a pointer, live or not.
 *
 * Division and remainder are one multiplication by c = ceil(2^64 / block_bytes) (Lemire, Kaser and
 * Kurz, "Faster Remainder by Direct Computation", 2019): the upper half of within * c is the
 * quotient, and the lower half is less than c if nothing remains.
 */
__attribute__((always_inline)) static inline struct spot kmem__heap_spot(struct heap *heap,
                                                                         const void *block)
{
    const uint64_t page = (uint64_t)((uintptr_t)block - (uintptr_t)heap->base) >> PAGE_SHIFT;
    if (KMEM_UNLIKELY(page >= heap->n_pages)) {
        return (struct spot){NULL, NULL};
    }
    const struct page_note *note = &heap->notes[page];
    if (KMEM_UNLIKELY(kmem__note_heap(note) != heap->id)) {
        return (struct spot){NULL, NULL};
    }
    const uint32_t within = (uint32_t)((uintptr_t)block - (uintptr_t)note->begin);
    const uint128 product = (uint128)within * note->reciprocal;
    if (KMEM_UNLIKELY((uint64_t)product >= note->reciprocal)) {
        return (struct spot){NULL, NULL};
    }
    /* Behind the last block may be a place for one more entry: it is never written. */
    return (struct spot){(struct bin *)(void *)((unsigned char *)heap + note->bin_at),
                         &note->entries[(uint64_t)(product >> 64)]};
}

/** kmem__heap_give() - release this thread's block; false: go on with kmem__heap_release() */
__attribute__((always_inline)) static inline bool kmem__heap_give(void *block)
{
    struct heap *heap = kmem__heap_mine;
    const struct spot spot = kmem__heap_spot(heap, block);
    struct bin *bin = spot.bin;
    if (KMEM_UNLIKELY(bin == NULL)) {
        return false;
    }
    const uint32_t magazine_bytes = bin->magazine_bytes;
    /* Relaxed: this thread's own, unless two threads release one block at the same time. */
    if (KMEM_UNLIKELY(
            !entry_is_private(atomic_load_explicit(&spot.entry->word, memory_order_relaxed))) ||
        KMEM_UNLIKELY(magazine_bytes >= bin->max_magazine_bytes) ||
        /* Relaxed: the segment may have ended, or not; the slow way finds out. */
        KMEM_UNLIKELY(atomic_load_explicit(heap->clock, memory_order_relaxed) == TICK_STOPPED)) {
        return false;
    }
    struct free_block *ready = kmem__bin_magazine(bin, magazine_bytes);
    ready->block = block;
    KMEM_CRASH_POINT("client.release.begun");
    /* Before: the block is live. After: it is free, and nobody's until it is taken again. */
    store_commit(&spot.entry->word, 0);
    KMEM_CRASH_POINT("client.release.retired");
    ready->entry = spot.entry;
    bin->magazine_bytes = magazine_bytes + (uint32_t)sizeof(*ready);
    kmem__counts_release(heap->counts);
    return true;
}

/** kmem__heap_sizeof() - this thread's block's size as asked for; 0: go on with the ledger */
static inline uint64_t kmem__heap_sizeof(const void *block)
{
    const struct spot spot = kmem__heap_spot(kmem__heap_mine, block);
    if (KMEM_UNLIKELY(spot.bin == NULL)) {
        return 0;
    }
    /* Relaxed: as in kmem__heap_give(). */
    return ENTRY_NUM_BYTES(atomic_load_explicit(&spot.entry->word, memory_order_relaxed));
}

/* ---------------------------------------------------------------------------- the other ways -- */

/**
 * kmem__heap_allocate() - a leased block of any size, if it is to be one
 * @num_bytes:  1 at least, not more than the segment
 * @reason:     as it was passed
 * @site:       learns its reason; NULL: there is none
 *
 * Return: the block; NULL: let the daemon carve it.
 */
KMEM_MUST_USE void *kmem__heap_allocate(struct allocator *allocator, size_t num_bytes,
                                        const char *reason, struct kmem_site *site);

/* Where a pointer into the segment leads, for any thread. */
enum {
    HEAP_OK,
    HEAP_E_DIRECT, /* to no page of this process's leases: the daemon knows */
    HEAP_E_WILD,
    HEAP_E_INTERIOR, /* found is the block in which it lies */
    HEAP_E_RELEASED,
};

struct found {
    struct seg_off offset; /* where the block begins */
    uint64_t num_bytes;
    uint32_t reason;
    struct ledger_block block;
};

/**
 * kmem__heap_find() - look a block up
 * @ret_found:  written for HEAP_OK and HEAP_E_INTERIOR
 * Return: HEAP_OK or why not.
 */
KMEM_MUST_USE int kmem__heap_find(struct allocator *allocator, struct seg_off offset,
                                  struct found *ret_found);

/**
 * kmem__heap_release() - release a leased block of any size and any thread of this process
 * Return: as kmem__heap_find().
 */
KMEM_MUST_USE int kmem__heap_release(struct allocator *allocator, struct seg_off offset,
                                     struct found *ret_found);

/** kmem__heap_can_flush() - whether this thread has a heap that may have ready blocks */
static inline bool kmem__heap_can_flush(const struct allocator *allocator)
{
    return kmem__heap_mine->id != 0 && kmem__heap_mine->allocator == allocator;
}

/**
 * kmem__heap_flush() - put every ready block of this thread back into its slab
 * Return: whether there was one.
 */
bool kmem__heap_flush(const struct allocator *allocator);

/** kmem__heap_check() - at rest: recount every heap: the equations at struct bin */
KMEM_MUST_USE bool kmem__heap_check(struct allocator *allocator);

#endif
