/* SPDX-License-Identifier: MIT */
/*
 * bins.h - a thread's heap as it lies in memory: for each size class a bin of blocks that are ready
 *
 * What is done with it is in heap.h; the slabs behind the bins are in slab.h.
 */
#ifndef CLIENT_HEAP_BINS_H
#define CLIENT_HEAP_BINS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "client/heap/intern.h"
#include "proto/counts.h"
#include "proto/ledger.h"
#include "proto/size_class.h"

struct allocator;

/* A block that is free, and whose entry is retired: the next to be handed out. */
struct free_block {
    unsigned char *block;
    struct ledger_entry *entry;
};

/*
 * 64 ready blocks at most, and MAGAZINE_BYTES of them, but 16 whatever their size: a program that
 * releases some dozen blocks and allocates them again goes to the slabs once in 32 calls. With half
 * as many mixed churn is 5 % slower; more keep slabs from becoming empty. They are never more than
 * 1/MAGAZINE_FRACTION of the segment for a class: a small one is for many clients.
 */
#define MAGAZINE_MAX 64
#define MAGAZINE_MIN 16
#define MAGAZINE_BYTES (256 * 1024)
#define MAGAZINE_FRACTION 256

/*
 * A thread's blocks of one size class.
 *
 *      head.n_used == entries of the slab with a word + blocks of the slab in the magazine
 *      n_used      == sum of head.n_used over the bin's slabs
 *      a slab is in `room` if it has a block to give, else in `full`         : kmem__heap_check()
 */
struct bin {
    uint32_t magazine_bytes; /* of `magazine`, in use; the last of them was released last */
    uint32_t max_magazine_bytes;
    uint32_t block_bytes;         /* struct size_class */
    uint32_t left_magazine_bytes; /* when the last block went out: kmem__heap_is_warm() */
    struct ledger_entry *plane;   /* of the class */
    uint32_t plane_page_bytes;    /* how far the entries of neighbouring pages are apart in it */
    uint32_t size_class;
    uint64_t left_at; /* heap.n_cleared then */
    uint32_t room;    /* slabs, by first page, through head.next and head.prev; 0 none */
    uint32_t full;
    uint32_t n_used;     /* blocks that are out or ready */
    uint32_t n_live;     /* of them, when the bin was last settled: those that were out */
    uint64_t live_bytes; /* in those, as asked for, about: see slab.c */
    struct free_block magazine[MAGAZINE_MAX];
};

static_assert(offsetof(struct bin, magazine) == 64, "what every call needs is one cache line");
static_assert(sizeof(struct bin) % 64 == 0, "bins of other classes are on other cache lines");

/*
 * What a release must know of the page that a pointer is in, for every page of the segment. Private
 * memory, derived from the heads. What it loads is what a release costs, so it is little: whether
 * the page is of the thread's own heap is seen from where the bin is, without the heap's number.
 *
 *  field     written by                          read by       order
 *  place,    the heap that opens, adopts, closes every release relaxed: a thread asks only whether
 *  heap      the slab                                          it is its own heap, which it wrote
 *  all else  the heap that opens the slab        that heap     none
 */
struct page_note {
    struct ledger_entry *entries; /* from that of the block on into which the page's start falls */
    uint64_t reciprocal;          /* ceil(2^64 / block_bytes): see kmem__heap_spot() */
    _Atomic uint64_t place;       /* NOTE_PLACE() */
    _Atomic uint16_t heap;        /* its number; 0: the page is in no slab */
    uint16_t unused[3];
};

static_assert(sizeof(struct page_note) == 32, "found by a shift");

/* The slab's bin, NULL for a page in no slab, and how far before the page that block begins. */
#define NOTE_PLACE(bin, lead_bytes) ((uint64_t)(uintptr_t)(bin) << 16 | (lead_bytes))
#define NOTE_BIN(place) ((struct bin *)(uintptr_t)((place) >> 16))
#define NOTE_LEAD_BYTES(place) ((place)&0xffff)

/** kmem__note_heap() - the number of the heap whose slab the page is in; 0: of none */
static inline uint32_t kmem__note_heap(const struct page_note *note)
{
    /* Relaxed: a thread asks whether it is its own, or tells one that passes it on. */
    return atomic_load_explicit(&note->heap, memory_order_relaxed);
}

/*
 * 2048: a heap has a table of its bins up to here, 512 bytes, and what is inline ends here: beyond,
 * blocks take 16 ns and more to clear, and the call is lost in that.
 */
#define BIN_AT_MAX_BYTES 2048

/*
 * All zero: no thread's heap, whose bins are empty and in whose segment no pointer lies. Every
 * thread points at one like that until it has its own; in a forked child every heap is one.
 *
 *  field      written by           read by            order
 *  visited    any thread           the owner          push: compare-and-swap, release
 *                                                     take the lot: exchange, acquire
 *  all else   the owner            the owner          none; through heaps.lock when it changes
 */
struct heap {
    unsigned char *base;           /* copies of what the allocator has */
    const _Atomic uint64_t *asked; /* of the ledger: see lease.h */
    struct page_note *notes;
    const _Atomic uint32_t *clock;
    uint64_t epoch;     /* see site.h */
    uint64_t num_bytes; /* of the segment; 0: no pointer lies in it */
    uint32_t id;        /* 0: no allocator's */
    uint64_t
        n_cleared; /* bytes of blocks of CLEAR_LOOP_MIN_BYTES and more, since the thread began */
    struct allocator *allocator;
    struct heap *next_abandoned;
    struct ledger_head *heads;
    struct thread_counts *counts; /* this heap's place in the ledger, or own_counts */
    _Atomic uint32_t visited; /* slabs into which other threads released blocks, by first page */
    struct thread_counts own_counts;
    _Alignas(64) struct remembered remembered[REMEMBERED_MAX];
    _Alignas(64) struct bin bins[N_SIZE_CLASSES];
    uint32_t bin_at[BIN_AT_MAX_BYTES / BLOCK_ALIGN_BYTES]; /* by size: see kmem__heap_bin() */
};

/* Counted in bytes: the place of a ready block takes no multiplication then. */
static inline struct free_block *kmem__bin_magazine(struct bin *bin, uint64_t magazine_bytes)
{
    return (struct free_block *)(void *)((unsigned char *)bin->magazine + magazine_bytes);
}

/** kmem__bin_n_ready() - how many blocks are ready */
static inline uint32_t kmem__bin_n_ready(const struct bin *bin)
{
    return bin->magazine_bytes / (uint32_t)sizeof(struct free_block);
}

/** kmem__bin_entries() - the entries of the slab that begins at `page` */
static inline struct ledger_entry *kmem__bin_entries(const struct bin *bin, uint32_t page)
{
    return (void *)((unsigned char *)bin->plane + (uint64_t)page * bin->plane_page_bytes);
}

/** kmem__bins_map() - a heap of zeros that a fork leaves as zeros; NULL if there is no memory */
struct heap *kmem__bins_map(void);

/** kmem__bins_unmap() - of a heap that is no thread's */
void kmem__bins_unmap(struct heap *heap);

#endif
