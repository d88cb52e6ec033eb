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

/* Of the library's inner names these are exported: libkmem-malloc.so has the fast way inline. */
#define KMEM_PRIVATE __attribute__((visibility("default")))

extern _Thread_local struct heap *kmem__heap_mine
    __attribute__((tls_model("initial-exec"), visibility("default")));

/* What malloc() takes blocks from: the same one, or one of zeros, which remembers no call site. */
extern _Thread_local struct heap *kmem__heap_open
    __attribute__((tls_model("initial-exec"), visibility("default")));

/* The text that stands for NULL, so that it is remembered like any other. */
extern const char kmem__heap_no_reason[1] __attribute__((visibility("hidden")));

/* ---------------------------------------------------------------------------- the fast way ---- */

/** kmem__heap_bin() - where blocks of num_bytes are, which is 1 to SMALL_MAX_BYTES */
static inline struct bin *kmem__heap_bin(struct heap *heap, uint32_t num_bytes)
{
    if (KMEM_LIKELY(num_bytes <= BIN_AT_MAX_BYTES)) {
        return heap->bin_at[BIN_AT(num_bytes)];
    }
    return &heap->bins[size_class_of(num_bytes)];
}

/**
 * kmem__heap_has_bin_at() - whether kmem__heap_bin_at() knows a number of bytes
 *
 * It knows 0, and what is next to the largest number, as well: their bin never has a block.
 */
static inline bool kmem__heap_has_bin_at(size_t num_bytes)
{
    return KMEM_LIKELY(BIN_AT(num_bytes) < N_BINS_AT);
}

static inline struct bin *kmem__heap_bin_at(struct heap *heap, size_t num_bytes)
{
    return heap->bin_at[BIN_AT(num_bytes)];
}

/*
 * 384 KiB: what was released before that many bytes were cleared is probably not in the
 * second-level cache any more, for what is cleared is also written and read. When that was is not
 * noted, for every release would have to; it was after the last block of the bin went out, half the
 * way since then on average.
 */
#define WARM_BYTES (UINT64_C(2) * 384 * 1024)

/*
 * Whether the bin's block that goes out was released so lately that its bytes are in a cache: since
 * the last one went out, one has come back. Of classes that are cleared here each block is seen.
 */
static inline bool kmem__heap_is_warm(const struct heap *heap, const struct bin *bin)
{
    return bin->top >= bin->left_top && heap->n_cleared - bin->left_at < WARM_BYTES;
}

/*
 * Enters a ready block that is already out of its bin. Return: whether it is surely this thread's;
 * else the daemon may ask for its slab, or have taken it: see lease.h; or the clock stands still.
 * One sign for both: LEASE_MARK and TICK_STOPPED have it, and a tick only after six years.
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
    return (int32_t)(tick | lease_mark(heap->asked)) >= 0;
}

static inline void *kmem__heap_clear(struct heap *heap, struct bin *bin, unsigned char *block,
                                     size_t num_bytes)
{
    if (num_bytes <= CLEAR_INLINE_BYTES) {
        /* num_bytes - 1 is computed anew: kept from the first comparison on it takes the register
           that would have to be saved otherwise, which costs more. */
        __asm__("" : "+r"(num_bytes));
        kmem__clear_inline(block, num_bytes);
        return block;
    }
    if (num_bytes < CLEAR_LOOP_MIN_BYTES) {
        return memset(block, 0, num_bytes);
    }
    const bool is_warm = kmem__heap_is_warm(heap, bin);
    heap->n_cleared += num_bytes;
    bin->left_at = heap->n_cleared;
    bin->left_top = bin->top;
    return kmem__clear(block, num_bytes, is_warm);
}

/* A call that goes on where the fast way ends; site is NULL if there is none. */
typedef void *(*allocate_function)(size_t num_bytes, const char *reason, struct kmem_site *site);

/**
 * kmem__heap_contest() - the block that was just taken out of its bin, and entered, may be of a
 *                        slab that the daemon asks for, or has taken; or the segment has ended
 * Return: the block, cleared, if it is this thread's; else what otherwise() returns.
 */
KMEM_PRIVATE void *kmem__heap_contest(size_t num_bytes, const char *reason, struct kmem_site *site,
                                      allocate_function otherwise);

enum {
    POP_OK,
    POP_E_NONE,      /* no block is ready */
    POP_E_CONTESTED, /* go on with kmem__heap_contest() */
};

/* A ready block, entered and not cleared. */
__attribute__((always_inline)) static inline int
kmem__heap_pop_ready(struct heap *heap, struct bin *bin, size_t num_bytes, uint64_t word,
                     unsigned char **ret_block)
{
    struct free_block *ready = bin->top - 1;
    unsigned char *block = ready->block;
    if (KMEM_UNLIKELY(block == NULL)) {
        return POP_E_NONE;
    }
    struct ledger_entry *entry = ready->entry; /* before the store, which might change it */
    bin->top = ready;
    *ret_block = block;
    /* Relaxed: a tick. */
    const uint32_t tick = atomic_load_explicit(heap->clock, memory_order_relaxed);
    return KMEM_LIKELY(kmem__heap_enter(heap, entry, num_bytes, word, tick)) ? POP_OK
                                                                             : POP_E_CONTESTED;
}

/* A ready block, entered and cleared; what otherwise() returns if there is none. */
__attribute__((always_inline)) static inline void *
kmem__heap_pop(struct heap *heap, struct bin *bin, size_t num_bytes, const char *reason,
               uint64_t word, struct kmem_site *site, allocate_function otherwise)
{
    unsigned char *block;
    const int r = kmem__heap_pop_ready(heap, bin, num_bytes, word, &block);
    if (KMEM_UNLIKELY(r != POP_OK)) {
        return r == POP_E_NONE ? otherwise(num_bytes, reason, site)
                               : kmem__heap_contest(num_bytes, reason, site, otherwise);
    }
    return kmem__heap_clear(heap, bin, block, num_bytes);
}

/**
 * kmem__heap_pop_uncleared() - kmem__heap_pop() for who needs no zeros, where all slabs are own
 *
 * That is where libkmem-malloc.so is: see kmem__dump_serves_malloc().
 */
__attribute__((always_inline)) static inline void *
kmem__heap_pop_uncleared(struct heap *heap, struct bin *bin, size_t num_bytes, const char *reason,
                         uint64_t word, allocate_function otherwise)
{
    unsigned char *block;
    const int r = kmem__heap_pop_ready(heap, bin, num_bytes, word, &block);
    if (KMEM_UNLIKELY(r != POP_OK)) {
        return r == POP_E_NONE ? otherwise(num_bytes, reason, NULL)
                               : kmem__heap_contest(num_bytes, reason, NULL, otherwise);
    }
    return block;
}

/** kmem__heap_take_more() - kmem__heap_take() for more than BIN_AT_MAX_BYTES */
void *kmem__heap_take_more(size_t num_bytes, const char *reason, allocate_function otherwise)
    __attribute__((visibility("hidden")));

/** kmem__heap_take_more_at() - kmem__heap_take_at(), likewise */
void *kmem__heap_take_more_at(size_t num_bytes, const char *reason, struct kmem_site *site,
                              allocate_function otherwise) __attribute__((visibility("hidden")));

/** kmem__heap_take() - a block whose reason is compared with the one remembered for its pointer */
__attribute__((always_inline)) static inline void *
kmem__heap_take(size_t num_bytes, const char *reason, allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    if (!kmem__heap_has_bin_at(num_bytes)) {
        return kmem__heap_take_more(num_bytes, reason, otherwise);
    }
    reason = reason != NULL ? reason : kmem__heap_no_reason;
    const struct remembered *remembered = kmem__remembered_at(heap->remembered, reason);
    if (KMEM_UNLIKELY(!kmem__remembered_matches(remembered, reason))) {
        return otherwise(num_bytes, reason, NULL);
    }
    return kmem__heap_pop(heap, kmem__heap_bin_at(heap, num_bytes), num_bytes, reason,
                          remembered->word, NULL, otherwise);
}

/** kmem__heap_take_at() - a block whose reason is a literal of this call site */
__attribute__((always_inline)) static inline void *kmem__heap_take_at(size_t num_bytes,
                                                                      const char *reason,
                                                                      struct kmem_site *site,
                                                                      allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    uint64_t word;
    if (!kmem__heap_has_bin_at(num_bytes)) {
        return kmem__heap_take_more_at(num_bytes, reason, site, otherwise);
    }
    if (KMEM_UNLIKELY(!kmem__site_knows(site, reason, heap->epoch, &word))) {
        return otherwise(num_bytes, reason, site);
    }
    return kmem__heap_pop(heap, kmem__heap_bin_at(heap, num_bytes), num_bytes, reason, word, site,
                          otherwise);
}

/* Where a pointer of this thread's heap leads. */
struct spot {
    struct bin *bin;
    struct ledger_entry *entry;
};

/*
 * The entry of the block that begins at an address, from what its page's note says; false: none
 * begins there.
 *
 * Division and remainder are one multiplication by c = ceil(2^32 / block_bytes) (Lemire, Kaser and
 * Kurz, "Faster Remainder by Direct Computation", 2019): the upper half of within * c is the
 * quotient, and the lower half is less than c if nothing remains. That is exact here: the test
 * tries every byte of every class. A block has 16 bytes at least, so c <= 2^28, and where nothing
 * remains the lower half begins with four bits of 0: the quotient times 16, the size of an entry,
 * is one shift.
 */
#define NOTE_ENTRY_SHIFT 28
static_assert(sizeof(struct ledger_entry) == UINT64_C(1) << (32 - NOTE_ENTRY_SHIFT),
              "kmem__note_entry(): the product's upper half, times that");
static_assert(BLOCK_ALIGN_BYTES >= 1 << (32 - NOTE_ENTRY_SHIFT), "c <= 2^NOTE_ENTRY_SHIFT");

__attribute__((always_inline)) static inline bool
kmem__note_entry(struct ledger_entry *entries, uint32_t begin, uint32_t reciprocal,
                 const void *block, struct ledger_entry **ret_entry)
{
    const uint32_t within = (uint32_t)(uintptr_t)block - begin;
    uint64_t product = (uint64_t)within * reciprocal;
    if (KMEM_UNLIKELY((uint32_t)product >= reciprocal)) {
        return false;
    }
    __asm__("" : "+r"(product)); /* shifted where it is, after the comparison */
    *ret_entry =
        (struct ledger_entry *)(void *)((unsigned char *)entries + (product >> NOTE_ENTRY_SHIFT));
    return true;
}

/* Whether a pointer is into one of this heap's slabs: then this thread wrote the page's note. */
__attribute__((always_inline)) static inline bool
kmem__heap_has(const struct heap *heap, const void *block, const struct page_note **ret_note)
{
    if (KMEM_UNLIKELY((uintptr_t)block - (uintptr_t)heap->base >= heap->num_bytes)) {
        return false;
    }
    *ret_note = kmem__heap_note(heap, block);
    return KMEM_LIKELY(kmem__note_heap(*ret_note) == heap->id);
}

/* The block of this thread's heap that begins at a pointer, live or not; false: none does. */
__attribute__((always_inline)) static inline bool
kmem__heap_spot(struct heap *heap, const void *block, struct spot *ret_spot)
{
    const struct page_note *note;
    struct ledger_entry *entry;
    if (!kmem__heap_has(heap, block, &note) ||
        KMEM_UNLIKELY(
            !kmem__note_entry(note->entries, note->begin, note->reciprocal, block, &entry))) {
        return false;
    }
    /* Behind the last block may be a place for one more entry: it is never written. Relaxed: this
       thread wrote it. */
    *ret_spot = (struct spot){atomic_load_explicit(&note->place, memory_order_relaxed), entry};
    return true;
}

/* A block of this thread's that it has released. */
struct given {
    const struct ledger_entry *entry;
    uint64_t word; /* that stood there */
    bool is_noted; /* how long it has lived is: kmem__heap_note_lifetime(), before all else */
};

/** kmem__heap_note_lifetime() - note how long that block has lived. Return: 0. */
KMEM_PRIVATE int kmem__heap_note_lifetime(const struct ledger_entry *entry, uint64_t word)
    __attribute__((noinline));

/**
 * kmem__heap_give_own() - release this thread's block; false: nothing has changed
 * @by_clock:  not if the clock stands still: the segment may have ended
 */
__attribute__((always_inline)) static inline bool
kmem__heap_give_own(struct heap *heap, void *block, bool by_clock, struct given *ret_given)
{
    struct spot spot;
    if (KMEM_UNLIKELY(!kmem__heap_spot(heap, block, &spot))) {
        return false;
    }
    struct bin *bin = spot.bin;
    struct free_block *ready = bin->top;
    /* Relaxed: this thread's own, unless two threads release one block at the same time. */
    const uint64_t word = atomic_load_explicit(&spot.entry->word, memory_order_relaxed);
    if (KMEM_UNLIKELY(!entry_is_private(word)) || KMEM_UNLIKELY(ready >= bin->end) ||
        /* Relaxed: the segment may have ended, or not; the slow way finds out. */
        KMEM_UNLIKELY(by_clock &&
                      atomic_load_explicit(heap->clock, memory_order_relaxed) == TICK_STOPPED)) {
        return false;
    }
    ready->block = block;
    KMEM_CRASH_POINT("client.release.begun");
    /* Before: the block is live. After: it is free, and nobody's until it is taken again. */
    store_commit(&spot.entry->word, 0);
    KMEM_CRASH_POINT("client.release.retired");
    ready->entry = spot.entry;
    bin->top = ready + 1;
    *ret_given = (struct given){spot.entry, word, kmem__counts_release(heap->counts)};
    return true;
}

/**
 * kmem__heap_give_noted() - release this thread's block; false: go on with kmem__heap_release()
 *
 * What is to be noted is the caller's to say in its last call: so the fast way saves no register.
 */
__attribute__((always_inline)) static inline bool kmem__heap_give_noted(void *block,
                                                                        struct given *ret_given)
{
    return kmem__heap_give_own(kmem__heap_mine, block, true, ret_given);
}

/** kmem__heap_give() - both */
static inline bool kmem__heap_give(void *block)
{
    struct given given;
    if (!kmem__heap_give_noted(block, &given)) {
        return false;
    }
    return !given.is_noted || kmem__heap_note_lifetime(given.entry, given.word) == 0;
}

/**
 * kmem__heap_give_remote() - release a block of another thread's heap, or of whole pages
 * Return: false, and nothing is changed: go on with kmem__heap_release(), which finds out more.
 */
KMEM_PRIVATE bool kmem__heap_give_remote(void *block);

/** kmem__heap_give_remote_or() - the same, and then otherwise(): for a caller that does no more */
KMEM_PRIVATE void kmem__heap_give_remote_or(void *block, void (*otherwise)(void *block));

/**
 * kmem__heap_sizeof() - this thread's block's size as asked for; 0: go on with the ledger
 *
 * Such a block's size fits into half of the word.
 */
__attribute__((always_inline)) static inline uint32_t kmem__heap_sizeof(const void *block)
{
    const struct page_note *note;
    struct ledger_entry *entry;
    if (!kmem__heap_has(kmem__heap_mine, block, &note) ||
        KMEM_UNLIKELY(
            !kmem__note_entry(note->entries, note->begin, note->reciprocal, block, &entry))) {
        return 0;
    }
    /* Relaxed: as in kmem__heap_give(). */
    return (uint32_t)atomic_load_explicit(&entry->word, memory_order_relaxed);
}

/*
 * 1,024: below, a block that becomes smaller stays as it is; above, one that becomes less than half
 * as large is worth a copy.
 */
#define RESIZE_STAYS_BYTES 1024

/**
 * kmem__heap_resize() - a live block of this thread's is to have num_bytes, if they fit in
 * Return: whether they do; what is added has bytes that this process left there, or others did.
 */
__attribute__((always_inline)) static inline bool kmem__heap_resize(struct heap *heap, void *block,
                                                                    size_t num_bytes)
{
    struct spot spot;
    if (KMEM_UNLIKELY(!kmem__heap_spot(heap, block, &spot))) {
        return false;
    }
    /* Relaxed: as in kmem__heap_give(). */
    const uint64_t word = atomic_load_explicit(&spot.entry->word, memory_order_relaxed);
    const uint32_t room_bytes = spot.bin->block_bytes;
    if (!entry_is_private(word) || num_bytes - 1 >= room_bytes ||
        (room_bytes > RESIZE_STAYS_BYTES && num_bytes <= room_bytes / 2)) {
        return false;
    }
    /* Before: it is as large as it was. After: as large as it is. */
    store_commit(&spot.entry->word, (word & ~ENTRY_NUM_BYTES(~UINT64_C(0))) | num_bytes);
    return true;
}

/**
 * kmem__heap_leave_page() - a block begins in a page that is no leased one, so that no pointer into
 *                           the page is one of a slab that was there
 *
 * Of a slab that the daemon has taken other threads find out one by one, and enter a block that
 * they have ready before they do: for that moment an entry says that a leased block is live where
 * the new one is.
 */
void kmem__heap_leave_page(const struct allocator *allocator, struct seg_off offset);

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

/**
 * kmem__heap_allocate_uncleared() - a leased block that may have what this process left where it
 *                                   is, and nothing of others
 *
 * From the first small one on every new slab is one without other processes' bytes.
 *
 * Return: as kmem__heap_allocate().
 */
KMEM_MUST_USE void *kmem__heap_allocate_uncleared(struct allocator *allocator, size_t num_bytes,
                                                  const char *reason);

/** kmem__heap_get() - this thread's heap, made if need be. Return: NULL: it can have none. */
struct heap *kmem__heap_get(struct allocator *allocator);

/* In entry.holder of a block that is shared: see shared.h. */
enum { SHARED_HERE, SHARED_AWAY };

/* Where a pointer into the segment leads, for any thread. */
enum {
    HEAP_OK,
    HEAP_E_DIRECT, /* to no page of this process's leases: the daemon knows */
    HEAP_E_WILD,
    HEAP_E_INTERIOR, /* found is the block in which it lies */
    HEAP_E_RELEASED,
    HEAP_E_SHARED, /* the server knows it, and is to be asked first */
};

struct found {
    struct seg_off offset; /* where the block begins */
    uint64_t num_bytes;
    uint32_t reason;
    bool is_shared;
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

/**
 * kmem__heap_come_home() - retire a block of this process's leases that is AWAY, and held nowhere
 * @was_written:  another process held it for writing, or may have
 * Return: false: there is none at the offset.
 */
bool kmem__heap_come_home(struct allocator *allocator, struct seg_off offset, bool was_written);

/**
 * kmem__heap_take_returns() - release what the server says has come home: proto/returns.h
 *
 * What it says is compared with the ledger: an offset of a block that this process holds, or that
 * is not shared, does nothing. Return: whether anything came.
 */
bool kmem__heap_take_returns(struct allocator *allocator);

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
