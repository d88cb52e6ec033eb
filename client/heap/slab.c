/* SPDX-License-Identifier: MIT */
/*
 * A bin's slabs stand in two lists, those with a block to give and those without:
 *
 *      bin.magazine <-- refill -- room: slab, slab, ...      full: slab, slab, ...
 *                -- spill --->        |  ^                        |
 *                               cache |  | new      -- put ------'
 *
 * Blocks pass in batches, half a bin at a time, so that a program at the border goes over it
 * seldom. A slab all of whose blocks are back is closed at once and its pages are unused: the
 * daemon may revoke them, and the cache hands them out again, the last first. None is kept for the
 * next allocation; what a thread keeps is in the magazine.
 *
 * A block that another thread had comes by a stack of its slab: see remote.h. The owner takes a
 * slab from heap.visited first and its blocks then. A slab that was adopted meanwhile arrives at
 * the heap that owned it, and is passed on.
 */
#include "client/heap/slab.h"

#include <string.h>

#include "client/heap/allocator.h"
#include "client/heap/counts.h"
#include "client/heap/remote.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

/* 8: enough to find room among threads that ended lately; the rest waits for the next time. */
#define ADOPT_TRIES 8

/*
 * 4: a thread's first slab of a class may stay nearly empty; with many threads and classes such
 * slabs fill a small segment. They get a quarter of it, and what comes then is direct, which is
 * slower and packs the blocks of all threads together. Slabs behind a full one are dense, and not
 * limited.
 */
#define SPARSE_FRACTION 4

/*
 * 16: of the blocks that went out last the sizes of so many are looked at. All of a bin, 64, were a
 * tenth of what a server with blocks of mixed sizes spent on its heap; with 16 a sum of sizes that
 * are spread over a class is off by 2 % or so.
 */
#define SAMPLE_MAX 16

/* ----------------------------------------------------------------------------------- lists ---- */

static void list_push(struct ledger_head *heads, uint32_t *first, uint32_t page)
{
    heads[page].next = *first;
    heads[page].prev = 0;
    if (*first != 0) {
        heads[*first].prev = page;
    }
    *first = page;
}

static void list_remove(struct ledger_head *heads, uint32_t *first, uint32_t page)
{
    const struct ledger_head *head = &heads[page];
    if (head->prev != 0) {
        heads[head->prev].next = head->next;
    } else {
        KMEM_CHECK(*first == page);
        *first = head->next;
    }
    if (head->next != 0) {
        heads[head->next].prev = head->prev;
    }
}

/* -------------------------------------------------------------------------------- counting ---- */

/*
 * The blocks that went out last are those that the bin was filled with: their places in the
 * magazine are as they were. Return: how many of them are live; *ret_num_bytes: as asked for.
 */
static uint32_t bin_sample(const struct bin *bin, uint64_t *ret_num_bytes)
{
    const uint32_t max_ready = kmem__bin_max_ready(bin);
    uint32_t n_live = 0;
    *ret_num_bytes = 0;
    for (uint32_t i = kmem__bin_n_ready(bin);
         i < max_ready && n_live < SAMPLE_MAX && bin->magazine[i].entry != NULL; i++) {
        /* Relaxed: a number that is shown. A place may be of a slab that is closed. */
        const uint64_t num_bytes = ENTRY_NUM_BYTES(
            atomic_load_explicit(&bin->magazine[i].entry->word, memory_order_relaxed));
        if (num_bytes > 0 && num_bytes <= bin->block_bytes) {
            *ret_num_bytes += num_bytes;
            n_live++;
        }
    }
    return n_live;
}

/*
 * What is out of a bin. Where more is than before, it is as large as what went out last; where less
 * is, as large as what the bin had. One size in a class: exact.
 */
static uint64_t bin_live_bytes(const struct bin *bin, uint32_t n_live)
{
    if (n_live <= bin->n_live) {
        return n_live == 0 ? 0 : bin->live_bytes * n_live / bin->n_live;
    }
    uint64_t num_bytes;
    const uint32_t n_sampled = bin_sample(bin, &num_bytes);
    const uint64_t n_more = n_live - bin->n_live;
    return bin->live_bytes +
           (n_sampled == 0 ? n_more * bin->block_bytes : n_more * num_bytes / n_sampled);
}

/* Finds out what is out of a bin, to be told: see proto/counts.h. */
static void bin_settle(struct heap *heap, struct bin *bin)
{
    const uint32_t n_ready = kmem__bin_n_ready(bin);
    /* Of other heaps' slabs, what is ready here counts as live there: half a bin or two. */
    const uint32_t n_live = bin->n_used > n_ready ? bin->n_used - n_ready : 0;
    const uint64_t live_bytes = bin_live_bytes(bin, n_live);
    heap->untold_bytes += (int64_t)(live_bytes - bin->live_bytes);
    bin->n_live = n_live;
    bin->live_bytes = live_bytes;
}

/* Adds what bins were settled by to what all threads write: once for a visit to the slabs. */
static void bins_tell(struct heap *heap)
{
    struct ledger_counts *counts = heap->allocator->ledger.counts;
    if (heap->untold_bytes > 0) {
        kmem__counts_grow(counts, (uint64_t)heap->untold_bytes);
    } else if (heap->untold_bytes < 0) {
        kmem__counts_shrink(counts, (uint64_t)-heap->untold_bytes);
    }
    heap->untold_bytes = 0;
    if (heap->own_counts.n_releases > 0) {
        kmem__counts_release_any(counts, heap->own_counts.n_releases);
        heap->own_counts.noted_at -= heap->own_counts.n_releases;   /* it is never passed */
        heap->own_counts.noted_last -= heap->own_counts.n_releases; /* below 0, in its way */
        heap->own_counts.n_releases = 0;
    }
}

/* ----------------------------------------------------------------------------- giving back ---- */

/* Says whose the slab is from now on, in which bin; NULL: nobody's. Relaxed: struct page_note. */
static void slab_assign(struct heap *heap, struct bin *bin, uint32_t page)
{
    const uint32_t n_pages = heap->heads[page].span_pages;
    for (uint32_t i = 0; i < n_pages; i++) {
        struct page_note *note = &heap->notes[page + i];
        atomic_store_explicit(&note->place, bin, memory_order_relaxed);
        atomic_store_explicit(&note->heap, (uint16_t)(bin != NULL ? heap->id : 0),
                              memory_order_relaxed);
    }
}

/* The list in which a slab stands. */
static uint32_t *slab_list(const struct heap *heap, struct bin *bin, uint32_t page)
{
    return ledger_slab_is_full(&heap->heads[page]) ? &bin->full : &bin->room;
}

static void slab_close(struct heap *heap, struct bin *bin, uint32_t page)
{
    const uint32_t n_pages = heap->heads[page].span_pages;
    list_remove(heap->heads, slab_list(heap, bin, page), page);
    (void)atomic_fetch_sub_explicit(&heap->allocator->n_slab_pages, n_pages, memory_order_relaxed);
    const bool is_own = kmem__note_is_own(&heap->notes[page]);
    slab_assign(heap, NULL, page);
    ledger_slab_close(&heap->allocator->ledger, page);
    KMEM_CRASH_POINT("client.slab.closed");
    kmem__lease_cache_give_slab(&heap->allocator->cache, page, n_pages, is_own);
}

/* A slab that is about to get a block back has room. */
static void slab_have_room(struct heap *heap, struct bin *bin, uint32_t page)
{
    if (ledger_slab_is_full(&heap->heads[page])) {
        list_remove(heap->heads, &bin->full, page);
        list_push(heap->heads, &bin->room, page);
    }
}

/* A block, its entry retired, goes back. Afterwards the slab may be closed. */
static void slab_put(struct heap *heap, struct bin *bin, uint32_t page, uint32_t index)
{
    struct ledger_head *head = &heap->heads[page];
    if ((head->flags & HEAD_LOST) != 0) {
        head->n_used--;
    } else {
        slab_have_room(heap, bin, page);
        entry_put(head, kmem__bin_entries(bin, page), index);
    }
    bin->n_used--;
    if (head->n_used == 0) {
        slab_close(heap, bin, page);
    }
}

void kmem__slab_spill(struct heap *heap, struct bin *bin, uint32_t n_blocks)
{
    struct remote_chain chain = {0, 0, NULL};
    KMEM_CHECK(n_blocks <= kmem__bin_n_ready(bin));
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct ledger_block block = kmem__bin_block(heap, bin, &bin->magazine[i]);
        if (kmem__heap_owns(heap, block.page)) {
            slab_put(heap, bin, block.page, block.index);
            continue;
        }
        if (chain.first != 0 && chain.page != block.page) {
            kmem__remote_push(heap->allocator, &chain);
            chain.first = 0;
        }
        chain.page = block.page;
        kmem__remote_add(&chain, &block);
    }
    if (chain.first != 0) {
        kmem__remote_push(heap->allocator, &chain);
    }
    bin->top -= n_blocks;
    memmove(bin->magazine, bin->magazine + n_blocks,
            kmem__bin_n_ready(bin) * sizeof(struct free_block));
    bin->left_top = bin->magazine; /* those that came back last are still there */
    bin_settle(heap, bin);
    bins_tell(heap);
}

/* --------------------------------------------------------------- released by other threads ---- */

/* Return: whether a block that has come home is to stay ready, half a bin of them at most. */
static bool bin_wants(const struct bin *bin)
{
    return kmem__bin_n_ready(bin) < kmem__bin_max_ready(bin) / 2;
}

/* Puts what is left of a stack back. Afterwards the slab may be closed. */
static void slab_put_stack(struct heap *heap, struct bin *bin, uint32_t page, uint32_t next)
{
    struct ledger_head *head = &heap->heads[page];
    struct ledger_entry *entries = kmem__bin_entries(bin, page);
    const bool is_lost = (head->flags & HEAD_LOST) != 0;
    const uint32_t n_used = head->n_used;
    if (!is_lost && next != 0) {
        slab_have_room(heap, bin, page);
    }
    while (next != 0) {
        const uint32_t index = next - 1;
        next = kmem__remote_next(&entries[index]);
        if (is_lost) {
            head->n_used--;
        } else {
            entry_put(head, entries, index);
        }
    }
    bin->n_used -= n_used - head->n_used;
    if (head->n_used == 0) {
        slab_close(heap, bin, page);
    }
}

/* Keeps what the bin wants of a stack ready. Return: 1 + the first block that it does not; 0. */
static uint32_t slab_ready_stack(const struct heap *heap, struct bin *bin, uint32_t page,
                                 uint32_t next)
{
    struct ledger_entry *entries = kmem__bin_entries(bin, page);
    unsigned char *blocks = heap->base + ((uint64_t)page << PAGE_SHIFT);
    while (next != 0 && bin_wants(bin)) {
        const uint32_t index = next - 1;
        next = kmem__remote_next(&entries[index]);
        kmem__bin_put(bin, blocks + (uint64_t)index * bin->block_bytes, &entries[index]);
    }
    return next;
}

static void slab_collect_remote(struct heap *heap, uint32_t page, bool is_lived_in)
{
    struct bin *bin = &heap->bins[heap->heads[page].size_class];
    uint32_t next = kmem__remote_take(heap->allocator, page);
    KMEM_CRASH_POINT("client.remote.collected");
    if (is_lived_in && (heap->heads[page].flags & HEAD_LOST) == 0) {
        next = slab_ready_stack(heap, bin, page, next);
    }
    slab_put_stack(heap, bin, page, next);
    bin_settle(heap, bin);
}

/*
 * Takes back what other threads released, and does not tell yet.
 * @is_lived_in:  a thread has the heap, which goes on with what comes
 */
static void slabs_collect(struct heap *heap, bool is_lived_in)
{
    struct allocator *allocator = heap->allocator;
    /* Relaxed: a look before the exchange; what comes later is collected later. */
    if (atomic_load_explicit(&heap->visited, memory_order_relaxed) == 0) {
        return;
    }
    /* Acquire: pairs with kmem__remote_visit(). */
    uint32_t page = atomic_exchange_explicit(&heap->visited, 0, memory_order_acquire);
    while (page != 0) {
        const uint32_t next =
            atomic_load_explicit(&allocator->remotes[page].next, memory_order_relaxed);
        if (kmem__heap_owns(heap, page)) {
            slab_collect_remote(heap, page, is_lived_in);
        } else {
            kmem__remote_visit(allocator, page);
        }
        page = next;
    }
}

void kmem__slab_collect(struct heap *heap)
{
    slabs_collect(heap, false);
    bins_tell(heap);
}

/* ------------------------------------------------------------------- taken by the daemon ---- */

/* Takes a slab's blocks out of what is ready. Return: how many there were. */
static uint32_t slab_unready(const struct heap *heap, struct bin *bin, uint32_t page)
{
    const uint32_t n_ready = kmem__bin_n_ready(bin);
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n_ready; i++) {
        if (kmem__bin_block(heap, bin, &bin->magazine[i]).page != page) {
            bin->magazine[n_kept++] = bin->magazine[i];
        }
    }
    bin->top = bin->magazine + n_kept;
    bin->left_top = bin->magazine; /* as in kmem__slab_spill() */
    return n_ready - n_kept;
}

/*
 * Forgets a slab without a live block, whose pages are another's, and a block of it that has just
 * been taken. What other threads have of it is still to come, and goes out no more: the slab looks
 * full until all of that is back.
 */
static void slab_forget(struct heap *heap, struct bin *bin, uint32_t page)
{
    struct ledger_head *head = &heap->heads[page];
    slabs_collect(heap, false);
    const uint32_t n_here = 1 + slab_unready(heap, bin, page);
    list_remove(heap->heads, slab_list(heap, bin, page), page);
    bin->n_used -= n_here;
    head->free = 0;
    head->n_carved = size_classes[bin->size_class].n_blocks;
    head->n_used = (uint16_t)(head->n_used - n_here);
    head->flags |= HEAD_LOST;
    list_push(heap->heads, &bin->full, page);
    if (head->n_used == 0) {
        slab_close(heap, bin, page);
    }
    bin_settle(heap, bin);
    bins_tell(heap);
}

/* A block of another heap's slab, which is lost: its owner is to know that it is here no more. */
static void slab_return(struct heap *heap, const struct ledger_block *block)
{
    struct remote_chain chain = {block->page, 0, NULL};
    kmem__remote_add(&chain, block);
    kmem__remote_push(heap->allocator, &chain);
}

bool kmem__slab_keep(struct heap *heap, struct bin *bin, const struct free_block *ready)
{
    const struct ledger_block block = kmem__bin_block(heap, bin, ready);
    KMEM_CRASH_POINT("client.slab.contested");
    if (lease_keep(heap->allocator->ledger.states, block.page,
                   size_classes[bin->size_class].span_pages)) {
        KMEM_CRASH_POINT("client.slab.kept");
        return true;
    }
    KMEM_CRASH_POINT("client.slab.lost");
    /* Before: an entry of pages that are not this client's, left out by all who read it. */
    store_commit(&ready->entry->word, 0);
    KMEM_CRASH_POINT("client.slab.withdrawn");
    if (kmem__heap_owns(heap, block.page)) {
        slab_forget(heap, bin, block.page);
    } else {
        slab_return(heap, &block);
    }
    KMEM_CRASH_POINT("client.slab.forgotten");
    return false;
}

/* ------------------------------------------------------------------------------- refilling ---- */

/* Moves a slab with room from a heap that is nobody's. heaps.lock is held. */
static bool slab_adopt_from(struct heap *heap, struct bin *bin, struct heap *abandoned)
{
    struct bin *theirs = &abandoned->bins[bin->size_class];
    kmem__slab_collect(abandoned);
    const uint32_t page = theirs->room;
    if (page == 0) {
        return false;
    }
    list_remove(heap->heads, &theirs->room, page);
    /* Who still reads the old number tells the old heap, which passes it on. */
    slab_assign(heap, bin, page);
    list_push(heap->heads, &bin->room, page);
    theirs->n_used -= heap->heads[page].n_used;
    bin_settle(abandoned, theirs);
    bins_tell(abandoned);
    bin->n_used += heap->heads[page].n_used;
    bin_settle(heap, bin);
    bins_tell(heap);
    return true;
}

static bool slab_adopt(struct heap *heap, struct bin *bin)
{
    struct heaps *heaps = &heap->allocator->heaps;
    /* Relaxed: a hint. */
    if (atomic_load_explicit(&heaps->n_abandoned, memory_order_relaxed) == 0) {
        return false;
    }
    bool is_adopted = false;
    (void)pthread_mutex_lock(&heaps->lock);
    struct heap *abandoned = heaps->abandoned;
    for (uint32_t tries = 0; tries < ADOPT_TRIES && abandoned != NULL && !is_adopted; tries++) {
        is_adopted = slab_adopt_from(heap, bin, abandoned);
        abandoned = abandoned->next_abandoned;
    }
    (void)pthread_mutex_unlock(&heaps->lock);
    return is_adopted;
}

/* Whether another slab of the bin would add to those that are nearly empty, and they are many. */
static bool slab_is_sparse(struct allocator *allocator, const struct bin *bin)
{
    /* Relaxed: a limit that need not be exact. */
    return bin->full == 0 &&
           (kmem__allocator_is_tight(allocator) ||
            kmem__lease_cache_is_short(&allocator->cache, 1) ||
            atomic_load_explicit(&allocator->n_slab_pages, memory_order_relaxed) >=
                allocator->ledger.n_pages / SPARSE_FRACTION);
}

/*
 * Whether a new slab has no other process's byte. Where blocks are handed out that are not cleared
 * it has none from now on: then the slab is cleared, once, and none of its blocks.
 */
static bool slab_own(const struct heap *heap, const struct taken *taken, uint32_t n_pages)
{
    if (taken->is_zero || taken->n_own >= n_pages) {
        return true;
    }
    /* Relaxed: a slab that is opened at the same moment may be without. */
    if (!atomic_load_explicit(&heap->allocator->wants_own, memory_order_relaxed)) {
        return false;
    }
    const uint64_t own_bytes = (uint64_t)taken->n_own << PAGE_SHIFT;
    memset(heap->base + ((uint64_t)taken->page << PAGE_SHIFT) + own_bytes, 0,
           ((uint64_t)n_pages << PAGE_SHIFT) - own_bytes);
    return true;
}

/* Notes for each page of a new slab where a release finds what. */
static void slab_note(struct heap *heap, struct bin *bin, uint32_t page, bool is_own)
{
    const uint32_t n_pages = heap->heads[page].span_pages;
    for (uint32_t i = 0; i < n_pages; i++) {
        struct page_note *note = &heap->notes[page + i];
        const uint32_t before_bytes = i << PAGE_SHIFT;
        note->entries = kmem__bin_entries(bin, page) + before_bytes / bin->block_bytes;
        note->reciprocal = UINT32_MAX / bin->block_bytes + 1;
        note->begin = (uint32_t)((uintptr_t)heap->base + ((uint64_t)(page + i) << PAGE_SHIFT)) -
                      before_bytes % bin->block_bytes;
        note->size_class = (uint8_t)bin->size_class;
        /* Relaxed: nobody's until it is assigned. */
        atomic_store_explicit(&note->where, (uint8_t)(i | (is_own ? NOTE_OWN : 0)),
                              memory_order_relaxed);
    }
    slab_assign(heap, bin, page);
}

static bool slab_open(struct heap *heap, struct bin *bin)
{
    struct taken taken;
    struct allocator *allocator = heap->allocator;
    const uint32_t n_pages = size_classes[bin->size_class].span_pages;
    if (slab_is_sparse(allocator, bin) ||
        kmem__lease_cache_take(&allocator->cache, n_pages, &taken) != 0) {
        return false;
    }
    (void)atomic_fetch_add_explicit(&allocator->n_slab_pages, n_pages, memory_order_relaxed);
    kmem__guard_open(allocator->guard, kmem__page_offset(taken.page),
                     (uint64_t)n_pages << PAGE_SHIFT);
    KMEM_CRASH_POINT("client.slab.pages");
    ledger_slab_open(&allocator->ledger, taken.page, bin->size_class);
    KMEM_CRASH_POINT("client.slab.open");
    slab_note(heap, bin, taken.page, slab_own(heap, &taken, n_pages));
    list_push(heap->heads, &bin->room, taken.page);
    lease_open_slab(allocator->ledger.states, taken.page, n_pages);
    return true;
}

static void slab_reserve(struct heap *heap, struct bin *bin, uint32_t page)
{
    struct ledger_head *head = &heap->heads[page];
    struct ledger_entry *entries = kmem__bin_entries(bin, page);
    unsigned char *blocks = heap->base + ((uint64_t)page << PAGE_SHIFT);
    const uint32_t n_room = size_classes[bin->size_class].n_blocks - (uint32_t)head->n_used;
    const uint32_t max_ready = kmem__bin_max_ready(bin);
    const uint32_t n_ready = n_room < (max_ready + 1) / 2 ? n_room : (max_ready + 1) / 2;
    bin->top = bin->magazine + n_ready;
    bin->n_used += n_ready;
    bin->left_top = bin->top; /* none of them has come back */
    /* Backwards: the slab's first block, the warmest, goes out first. */
    for (uint32_t i = n_ready; i-- > 0;) {
        const uint32_t index = entry_reserve(head, entries);
        bin->magazine[i] =
            (struct free_block){blocks + (uint64_t)index * bin->block_bytes, &entries[index]};
    }
    if (ledger_slab_is_full(head)) {
        list_remove(heap->heads, &bin->room, page);
        list_push(heap->heads, &bin->full, page);
    }
}

/* Ten times a second at most: a look at the states of 4 GiB takes some 10 us. */
static void slabs_hush(const struct heap *heap)
{
    struct allocator *allocator = heap->allocator;
    /* Relaxed, both: a hint; the thread that is faster looks. */
    const uint32_t tick = atomic_load_explicit(heap->clock, memory_order_relaxed);
    if (lease_is_announced(heap->asked) &&
        atomic_exchange_explicit(&allocator->hush_tick, tick, memory_order_relaxed) != tick) {
        (void)lease_hush(allocator->ledger.states, allocator->ledger.n_pages); /* or later */
    }
}

bool kmem__slab_refill(struct heap *heap, struct bin *bin)
{
    KMEM_ASSERT(bin->top == bin->magazine);
    slabs_hush(heap);
    slabs_collect(heap, true);
    bin_settle(heap, bin);
    bins_tell(heap);
    if (bin->top > bin->magazine) {
        return true; /* blocks have come home */
    }
    const bool has_room = bin->room != 0 || slab_adopt(heap, bin) || slab_open(heap, bin);
    /* Else they have by what was settled before the lease was asked for. */
    if (has_room && bin->top == bin->magazine) {
        slab_reserve(heap, bin, bin->room);
    }
    return bin->top > bin->magazine;
}
