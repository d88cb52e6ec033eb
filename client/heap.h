/* SPDX-License-Identifier: MIT */
/*
 * heap.h - a thread's own blocks: allocate and release without a lock, an atomic read-modify-write
 *          or a system call
 *
 * What is inline here is the way that nearly every call takes. It ends in NULL or false whenever
 * anything is not as usual, and has then changed nothing: heap.c goes on from there.
 */
#ifndef CLIENT_HEAP_H
#define CLIENT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/clear.h"
#include "client/intern.h"
#include "client/tenant.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

/* A block that is free, and whose entry is retired: the next to be handed out. */
struct ready {
    unsigned char *block;
    struct ledger_entry *entry;
};

/*
 * 64 ready blocks at most, and READY_BYTES of them: a program that releases some hundred small
 * blocks and allocates them again goes to the slabs once in 32 calls. More would keep slabs from
 * becoming empty.
 */
#define READY_MAX 64
#define READY_BYTES (32 * 1024)

/*
 * A thread's blocks of one size class.
 *
 *      head.n_used == entries of the slab with a word + blocks of the slab in `ready`
 *      a slab is in `room` if it has a block to give, else in `full`         : kmem__heap_check()
 */
struct bin {
    uint32_t ready_bytes; /* of `ready`, in use; the last of them was released last */
    uint32_t max_ready_bytes;
    uint32_t block_bytes; /* these two: struct size_class */
    uint32_t reciprocal;
    struct ledger_entry *plane; /* of the class */
    uint32_t plane_page_bytes;  /* how far the entries of neighbouring pages are apart in it */
    uint32_t size_class;
    uint64_t released_at; /* heap.n_cleared when a block was released; see heap_is_warm() */
    uint32_t room;        /* slabs, by first page, through head.next and head.prev; 0 none */
    uint32_t full;
    uint64_t reserved[2]; /* to a whole cache line */
    struct ready ready[READY_MAX];
};

static_assert(offsetof(struct bin, ready) == 64, "what every call needs is one cache line");
static_assert(sizeof(struct bin) % 64 == 0, "bins of other classes are on other cache lines");

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
    unsigned char *base; /* copies of what the tenant has */
    struct ledger_head *heads;
    const _Atomic uint32_t *clock;
    uint32_t n_pages; /* of the segment; 0: no pointer lies in it */
    uint32_t id;      /* 0: no tenant's */
    uint64_t n_cleared; /* bytes of blocks of CLEAR_LOOP_MIN_BYTES and more, since the thread began */
    struct tenant *tenant;
    struct heap *next_abandoned;
    uint64_t n_outside;       /* as header->n_outside was when this heap looked at its slabs */
    _Atomic uint32_t visited; /* slabs into which other threads released blocks, by first page */
    _Alignas(64) struct remembered remembered[REMEMBERED_MAX];
    _Alignas(64) struct bin bins[N_SIZE_CLASSES];
};

extern _Thread_local struct heap *kmem__heap_mine __attribute__((tls_model("initial-exec")));

/* The text that stands for NULL, so that it is remembered like any other. */
extern const char kmem__heap_no_reason[1];

/* ------------------------------------------------------------------------------ the fast way ---- */

/* Counted in bytes: the place of a ready block takes no multiplication then. */
static inline struct ready *kmem__bin_ready(struct bin *bin, uint32_t ready_bytes)
{
    return (struct ready *)(void *)((unsigned char *)bin->ready + ready_bytes);
}

/** kmem__bin_n_ready() - how many blocks are ready */
static inline uint32_t kmem__bin_n_ready(const struct bin *bin)
{
    return bin->ready_bytes / (uint32_t)sizeof(struct ready);
}

/** kmem__bin_entries() - the entries of the slab that begins at `page` */
static inline struct ledger_entry *kmem__bin_entries(const struct bin *bin, uint32_t page)
{
    return (void *)((unsigned char *)bin->plane + (uint64_t)page * bin->plane_page_bytes);
}

/** kmem__heap_bin() - where blocks of num_bytes are, which is 1 to SMALL_MAX_BYTES */
static inline struct bin *kmem__heap_bin(struct heap *heap, uint32_t num_bytes)
{
    /* Where the bin is in the heap, in cache lines, by (num_bytes + 15) / 16 up to 1024 bytes. */
    extern const uint16_t kmem__heap_bin_lines[65];
    if (KMEM_LIKELY(num_bytes <= 1024)) {
        const uint64_t lines = kmem__heap_bin_lines[(num_bytes + 15) >> 4];
        return (struct bin *)(void *)((unsigned char *)heap + lines * 64);
    }
    return &heap->bins[size_class_of(num_bytes)];
}

/** kmem__heap_clear_more() - clears what is longer than CLEAR_INLINE_BYTES. Return: block. */
void *kmem__heap_clear_more(unsigned char *block, size_t num_bytes, struct heap *heap,
                            struct bin *bin);

/* Enters a ready block that is already out of its bin, and clears it. */
static inline void *kmem__heap_enter(struct heap *heap, struct bin *bin, struct ready ready,
                                     size_t num_bytes, uint64_t reason)
{
    /* Relaxed: a tick. */
    store_prepare_u32(&ready.entry->born, atomic_load_explicit(heap->clock, memory_order_relaxed));
    /* Before: the block is free. After: it is live, and when and why is in place. */
    store_commit(&ready.entry->word, num_bytes | reason);
    if (num_bytes > CLEAR_INLINE_BYTES) {
        return kmem__heap_clear_more(ready.block, num_bytes, heap, bin);
    }
    kmem__clear_inline(ready.block, num_bytes);
    return ready.block;
}

/* A call that goes on where the fast way ends. */
typedef void *(*allocate_function)(size_t num_bytes, const char *reason);

/** kmem__heap_take() - a ready block, entered and cleared; what otherwise() returns if that fails */
__attribute__((always_inline)) static inline void *
kmem__heap_take(size_t num_bytes, const char *reason, allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    if (KMEM_UNLIKELY(num_bytes - 1 >= SMALL_MAX_BYTES)) {
        return otherwise(num_bytes, reason);
    }
    reason = reason != NULL ? reason : kmem__heap_no_reason;
    const struct remembered *remembered = kmem__remembered_at(heap->remembered, reason);
    if (KMEM_UNLIKELY(!kmem__remembered_matches(remembered, reason))) {
        return otherwise(num_bytes, reason);
    }
    struct bin *bin = kmem__heap_bin(heap, (uint32_t)num_bytes);
    const uint32_t ready_bytes = bin->ready_bytes;
    if (KMEM_UNLIKELY(ready_bytes == 0)) {
        return otherwise(num_bytes, reason);
    }
    const struct ready *ready = kmem__bin_ready(bin, ready_bytes) - 1;
    bin->ready_bytes = ready_bytes - (uint32_t)sizeof(*ready);
    return kmem__heap_enter(heap, bin, *ready, num_bytes, remembered->word);
}

/* Where a pointer of this thread's heap leads. */
struct spot {
    struct bin *bin; /* NULL: to no block of this heap that begins there */
    struct ledger_entry *entry;
};

/*
 * The block of this thread's heap that begins at a pointer, live or not. Looks at the page where the
 * pointer is only: a block that begins in a further page of its slab is not found.
 */
__attribute__((always_inline)) static inline struct spot kmem__heap_spot(struct heap *heap,
                                                                         const void *block)
{
    const uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)heap->base);
    const uint64_t page = offset >> PAGE_SHIFT;
    if (KMEM_UNLIKELY(page >= heap->n_pages)) {
        return (struct spot){NULL, NULL};
    }
    const struct ledger_head *head = &heap->heads[page];
    /* Relaxed: what this thread wrote itself. Only the first page of an open slab has a heap. */
    if (KMEM_UNLIKELY(atomic_load_explicit(&head->heap, memory_order_relaxed) != heap->id)) {
        return (struct spot){NULL, NULL};
    }
    struct bin *bin = &heap->bins[head->size_class];
    const uint32_t within = (uint32_t)offset & (uint32_t)(PAGE_BYTES - 1);
    const uint64_t index = ((uint64_t)within * bin->reciprocal) >> 35;
    if (KMEM_UNLIKELY((uint32_t)index * bin->block_bytes != within)) {
        return (struct spot){NULL, NULL};
    }
    /* Behind the last block may be a place for one more entry: it is never written. */
    struct ledger_entry *entries =
        (void *)((unsigned char *)bin->plane + page * bin->plane_page_bytes);
    return (struct spot){bin, &entries[index]};
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
    const uint32_t ready_bytes = bin->ready_bytes;
    /* Relaxed: this thread's own, unless two threads release one block at the same time. */
    if (KMEM_UNLIKELY(atomic_load_explicit(&spot.entry->word, memory_order_relaxed) == 0) ||
        KMEM_UNLIKELY(ready_bytes >= bin->max_ready_bytes)) {
        return false;
    }
    struct ready *ready = kmem__bin_ready(bin, ready_bytes);
    ready->block = block;
    /* Before: the block is live. After: it is free, and nobody's until it is taken again. */
    store_commit(&spot.entry->word, 0);
    ready->entry = spot.entry;
    bin->ready_bytes = ready_bytes + (uint32_t)sizeof(*ready);
    bin->released_at = heap->n_cleared;
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

/* ------------------------------------------------------------------------------ the other ways -- */

/**
 * kmem__heap_allocate() - a leased block of any size, if it is to be one
 * @num_bytes:  1 at least, not more than the segment
 * @reason:     as it was passed
 *
 * Return: the block; NULL: let the daemon carve it.
 */
KMEM_MUST_USE void *kmem__heap_allocate(struct tenant *tenant, size_t num_bytes,
                                        const char *reason);

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
KMEM_MUST_USE int kmem__heap_find(struct tenant *tenant, struct seg_off offset,
                                  struct found *ret_found);

/**
 * kmem__heap_release() - release a leased block of any size and any thread of this process
 * Return: as kmem__heap_find().
 */
KMEM_MUST_USE int kmem__heap_release(struct tenant *tenant, struct seg_off offset,
                                     struct found *ret_found);

/** kmem__heap_flush() - put every ready block of this thread back into its slab */
void kmem__heap_flush(struct tenant *tenant);

/** kmem__heap_check() - at rest: recount every heap: the equations at struct bin */
KMEM_MUST_USE bool kmem__heap_check(struct tenant *tenant);

/** kmem__heap_forget() - make a living thread's heap all zero: its tenant ends */
void kmem__heap_forget(struct heap *heap);

/** kmem__heap_free() - unmap a heap that is nobody's */
void kmem__heap_free(struct heap *heap);

#endif
