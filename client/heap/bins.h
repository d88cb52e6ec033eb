/* SPDX-License-Identifier: MIT */
/*
 * bins.h - a thread's heap as it lies in memory: for each size class a bin of blocks that are ready
 *
 * What is done with it is in heap.h; the slabs behind the bins are in slab.h.
 */
#ifndef CLIENT_HEAP_BINS_H
#define CLIENT_HEAP_BINS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/heap/intern.h"
#include "client/heap/lease_cache.h"
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
 *      head.n_used == entries of the slab with a word + blocks of it in the magazines of all heaps
 *                     + blocks of it in its stack: remote.h
 *      n_used      == sum of head.n_used over the bin's slabs
 *      a slab is in `room` if it has a block to give, else in `full`         : kmem__heap_check()
 */
struct bin {
    _Alignas(64) struct free_block *top; /* behind the last ready block, which was released last */
    struct free_block *end;              /* top goes no further */
    uint32_t block_bytes;                /* struct size_class */
    uint32_t size_class;
    struct ledger_entry *plane;  /* of the class */
    struct free_block *left_top; /* top when the last block went out: kmem__heap_is_warm() */
    uint64_t left_at;            /* heap.n_cleared then */
    uint32_t plane_page_bytes; /* how far the entries of neighbouring pages are apart in `plane` */
    uint32_t room;             /* slabs, by first page, through head.next and head.prev; 0 none */
    uint32_t full;
    uint32_t n_used;        /* sum of head.n_used: some may be ready in other threads' magazines */
    struct free_block none; /* below the magazine: zeros, so no block is ready where top is there */
    struct free_block magazine[MAGAZINE_MAX];
    uint64_t live_bytes; /* in n_live blocks, as asked for, about: see slab.c */
    uint32_t n_live;     /* of n_used, when the bin was last settled: those that were out */
};

static_assert(offsetof(struct bin, none) == 64, "what every call needs is one cache line");
static_assert(offsetof(struct bin, magazine) == 64 + sizeof(struct free_block), "top[-1] is none");
static_assert(sizeof(struct bin) % 64 == 0, "bins of other classes are on other cache lines");

/*
 * What a release must know of the page that a pointer is in, for every page of the segment. Private
 * memory, derived from the heads. What a release loads is half a cache line, and it comes to the
 * entry by as few steps as can be: until it is there, what is allocated next may have to wait for
 * the processor to see that it is another one.
 *
 *  field     written by                          read by       order
 *  place,    the heap that opens, adopts, closes every release relaxed: a thread asks only whether
 *  heap      the slab                                          it is its own heap, which it wrote
 *  where     the heap that opens it; ABROAD is   any thread    relaxed: set before the block is
 *            set by a thread that releases a                   another thread's; see head.remote;
 *            block of another heap's                           OWN: while the slab is open
 *  all else  the heap that opens the slab;       that heap;    none; others look at `place` before
 *            `reciprocal` is made 0 by a thread  others for    and after: kmem__heap_give_remote()
 *            that has another block there:       a live block
 *            kmem__heap_leave_page()
 */
struct page_note {
    struct ledger_entry *entries; /* from that of the block on into which the page's start falls */
    struct bin *_Atomic place;    /* the slab's bin; NULL: the page is in no slab */
    uint32_t reciprocal;          /* ceil(2^32 / block_bytes): see kmem__note_entry() */
    uint32_t begin;        /* where the block of `entries` begins: the address's lower half */
    _Atomic uint16_t heap; /* its number; 0: the page is in no slab */
    uint8_t size_class;
    _Atomic uint8_t where; /* how many pages before this one its slab begins, ABROAD and OWN */
    uint32_t reserved;
};

static_assert(sizeof(struct page_note) == 32, "found by a shift");

static_assert(N_SIZE_CLASSES <= UINT8_MAX, "page_note.size_class");

/* In note.where: another thread may have blocks of the slab, free ones. */
#define NOTE_ABROAD UINT8_C(0x80)

/* Likewise: no other process's byte is in the slab. */
#define NOTE_OWN UINT8_C(0x40)

/** kmem__note_first() - the first page of the slab that page `at` is in */
static inline uint32_t kmem__note_first(const struct page_note *note, uint32_t at)
{
    /* Acquire: kmem__heap_give_remote() looks at the note once more. */
    return at - (atomic_load_explicit(&note->where, memory_order_acquire) & (NOTE_OWN - 1U));
}

/** kmem__note_heap() - the number of the heap whose slab the page is in; 0: of none */
static inline uint32_t kmem__note_heap(const struct page_note *note)
{
    /* Relaxed: a thread asks whether it is its own, or tells one that passes it on. */
    return atomic_load_explicit(&note->heap, memory_order_relaxed);
}

/** kmem__note_is_own() - whether the slab that the page is in has no other process's byte */
static inline bool kmem__note_is_own(const struct page_note *note)
{
    /* Relaxed: it stands while the slab is open, and one of its blocks is known. */
    return (atomic_load_explicit(&note->where, memory_order_relaxed) & NOTE_OWN) != 0;
}

/*
 * By page, of the slab that begins there; in private memory. The slab's head has the owner's
 * counts, which it writes all the time.
 *
 *  field   written by                     read by     order
 *  pushed  any thread but the owner       the owner   push: compare-and-swap, release
 *                                                     take the lot: exchange, acquire
 *  next    who made `pushed` from empty   the owner   none; published by the push to heap.visited
 */
struct remote {
    _Alignas(64) _Atomic uint32_t pushed; /* 1 + the block that was pushed last; 0: none */
    _Atomic uint32_t next;                /* the next slab in the heap's stack; 0: the last */
};

static_assert(sizeof(struct remote) == 64, "threads that release into two slabs do not meet");

/*
 * 2048: a heap has a table of its bins up to here, 1 KiB, and what is inline ends here: beyond,
 * blocks take 16 ns and more to clear, and the call is lost in that.
 */
#define BIN_AT_MAX_BYTES 2048

/* Where in the table. 0 is for sizes that can not be had: there is no block in its bin, ever. */
#define BIN_AT(num_bytes) (((num_bytes) + (BLOCK_ALIGN_BYTES - 1)) / BLOCK_ALIGN_BYTES)
#define N_BINS_AT (BIN_AT(BIN_AT_MAX_BYTES) + 1)

/*
 * A place that calls malloc(), by its return address, and its reason: client/malloc/caller.h. The
 * heap's thread alone reads and writes it, but any thread may make `caller` NULL. That it reads
 * plainly: what it was told of is there, whichever way it was told, and more is not asked.
 */
struct call_site {
    const void *caller; /* NULL: none */
    uint64_t word;      /* the entry's word but for num_bytes */
};

/*
 * 256 x 2: 8 KiB of each heap, of which each place that allocates uses a cache line. Programs have
 * some dozen places that do so often, and C++ has one. The first of a set is found without a call,
 * the other with one: with 32 sets every other program had two places in one.
 */
#define CALL_SETS 256
#define CALL_WAYS 2

/*
 * All zero: no thread's heap, which remembers no reason and in whose segment no pointer lies, so
 * that its bins are not asked. Every thread points at one like that until it has its own; in a
 * forked child every heap is one.
 *
 *  field      written by           read by            order
 *  visited    any thread           the owner          push: compare-and-swap, release
 *                                                     take the lot: exchange, acquire
 *  calls,     the owner, but what  the owner; has_    see forget_all()
 *  has_calls, is forgotten: any    calls: any thread
 *  next_known thread
 *  all else   the owner            the owner          none; through heaps.lock when it changes
 */
struct heap {
    unsigned char *base;           /* copies of what the allocator has */
    const _Atomic uint64_t *asked; /* of the ledger: see lease.h */
    struct page_note *notes;
    uintptr_t notes_at; /* where the note of address 0 would be */
    const _Atomic uint32_t *clock;
    uint64_t epoch;          /* see site.h */
    uint64_t num_bytes;      /* of the segment; 0: no pointer lies in it */
    uint32_t id;             /* 0: no allocator's */
    uint32_t budgets;        /* that its reasons were remembered under: struct notice */
    _Atomic bool has_calls;  /* some of `calls` are not NULL, perhaps */
    bool is_known;           /* in the list of heaps that have had calls */
    uint32_t n_replaced;     /* calls, by others */
    struct heap *next_known; /* constant once it is there */
    struct allocator *allocator;
    struct heap *next_abandoned;
    struct ledger_head *heads;
    struct thread_counts *counts; /* this heap's place in the ledger, or own_counts */
    _Atomic uint32_t visited; /* slabs into which other threads released blocks, by first page */
    int64_t untold_bytes;     /* by which bins were settled, and live_bytes was not: see slab.c */
    uint64_t n_cleared;       /* bytes of blocks of CLEAR_LOOP_MIN_BYTES and more, since the
                                  thread began */
    struct thread_counts own_counts;
    _Alignas(64) struct call_site calls[CALL_SETS][CALL_WAYS];
    _Alignas(64) struct remembered remembered[REMEMBERED_MAX];
    _Alignas(64) struct bin bins[N_SIZE_CLASSES];
    struct bin *bin_at[N_BINS_AT]; /* by size: see kmem__heap_bin() */
    struct recent kept;            /* of the large blocks that it released: see lease_cache.h */
};

/** kmem__heap_note() - the note of the page that an address in the segment is in */
static inline struct page_note *kmem__heap_note(const struct heap *heap, const void *at)
{
    const uint64_t page = (uintptr_t)at >> PAGE_SHIFT;
    return (struct page_note *)(heap->notes_at + page * sizeof(struct page_note));
}

/** kmem__bin_put() - one more block, whose entry is retired, is ready: the next to go out */
static inline void kmem__bin_put(struct bin *bin, void *block, struct ledger_entry *entry)
{
    *bin->top++ = (struct free_block){block, entry};
}

/** kmem__bin_n_ready() - how many blocks are ready */
static inline uint32_t kmem__bin_n_ready(const struct bin *bin)
{
    return (uint32_t)(bin->top - bin->magazine);
}

/** kmem__bin_max_ready() - how many can be */
static inline uint32_t kmem__bin_max_ready(const struct bin *bin)
{
    return (uint32_t)(bin->end - bin->magazine);
}

/** kmem__bin_is_full() - whether one must go back before another one is ready */
static inline bool kmem__bin_is_full(const struct bin *bin)
{
    return bin->top >= bin->end;
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
