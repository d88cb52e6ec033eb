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
 * A block released by another thread goes to head.remote, a stack linked through the entries. Who
 * makes that stack from empty puts the slab into the owner's stack of visited slabs, linked through
 * allocator.remote_next. The owner takes a slab from there first and its blocks then:
 *
 *      the slab is in a visited stack, or about to be pushed   <=>   head.remote is not empty
 *
 * so a slab is never in two stacks, and is not closed while a thread is about to push it (its block
 * counts as used until it is collected). A slab that was adopted meanwhile arrives at the heap that
 * owned it, and is passed on.
 */
#include "client/heap/slab.h"

#include <string.h>
#include <unistd.h>

#include "client/heap/allocator.h"
#include "client/heap/counts.h"
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
    const uint32_t max_ready = bin->max_magazine_bytes / (uint32_t)sizeof(struct free_block);
    uint32_t n_live = 0;
    *ret_num_bytes = 0;
    for (uint32_t i = kmem__bin_n_ready(bin); i < max_ready && bin->magazine[i].entry != NULL;
         i++) {
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

/* Tells what is out of a bin: see proto/counts.h. */
static void bin_settle(struct heap *heap, struct bin *bin)
{
    struct ledger_counts *counts = heap->allocator->ledger.counts;
    const uint32_t n_live = bin->n_used - kmem__bin_n_ready(bin);
    const uint64_t live_bytes = bin_live_bytes(bin, n_live);
    if (live_bytes > bin->live_bytes) {
        kmem__counts_grow(counts, live_bytes - bin->live_bytes);
    } else if (live_bytes < bin->live_bytes) {
        kmem__counts_shrink(counts, bin->live_bytes - live_bytes);
    }
    bin->n_live = n_live;
    bin->live_bytes = live_bytes;
    if (heap->own_counts.n_releases > 0) {
        kmem__counts_release_any(counts, heap->own_counts.n_releases);
        heap->own_counts.noted_at -= heap->own_counts.n_releases;   /* it is never passed */
        heap->own_counts.noted_last -= heap->own_counts.n_releases; /* below 0, in its way */
        heap->own_counts.n_releases = 0;
    }
}

/* ----------------------------------------------------------------------------- giving back ---- */

/* Says whose the slab is from now on, and in which of this heap's bins; NULL: nobody's. */
static void slab_assign(struct heap *heap, struct bin *bin, uint32_t page)
{
    const uint32_t n_pages = heap->heads[page].span_pages;
    for (uint32_t i = 0; i < n_pages; i++) {
        struct page_note *note = &heap->notes[page + i];
        /* Relaxed, all: see struct page_note. */
        const uint64_t place = atomic_load_explicit(&note->place, memory_order_relaxed);
        atomic_store_explicit(&note->place, NOTE_PLACE(bin, NOTE_LEAD_BYTES(place)),
                              memory_order_relaxed);
        atomic_store_explicit(&note->heap, (uint16_t)(bin != NULL ? heap->id : 0),
                              memory_order_relaxed);
    }
}

static void slab_close(struct heap *heap, struct bin *bin, uint32_t page)
{
    const uint32_t n_pages = heap->heads[page].span_pages;
    list_remove(heap->heads, &bin->room, page);
    (void)atomic_fetch_sub_explicit(&heap->allocator->n_slab_pages, n_pages, memory_order_relaxed);
    slab_assign(heap, NULL, page);
    ledger_slab_close(&heap->allocator->ledger, page);
    KMEM_CRASH_POINT("client.slab.closed");
    kmem__lease_cache_give_slab(&heap->allocator->cache, page, n_pages);
}

/* A block, its entry retired, goes back. Afterwards the slab may be closed. */
static void slab_put(struct heap *heap, struct bin *bin, uint32_t page, uint32_t index)
{
    struct ledger_head *head = &heap->heads[page];
    struct ledger_entry *entries = kmem__bin_entries(bin, page);
    if (ledger_slab_is_full(head)) {
        list_remove(heap->heads, &bin->full, page);
        list_push(heap->heads, &bin->room, page);
    }
    entry_put(head, entries, index);
    bin->n_used--;
    if (head->n_used == 0) {
        slab_close(heap, bin, page);
    }
}

void kmem__slab_spill(struct heap *heap, struct bin *bin, uint32_t n_blocks)
{
    KMEM_CHECK(n_blocks <= kmem__bin_n_ready(bin));
    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint64_t offset = (uint64_t)(bin->magazine[i].block - heap->base);
        uint32_t page = (uint32_t)(offset >> PAGE_SHIFT);
        page -= heap->heads[page].back;
        const uint32_t within = (uint32_t)(offset - ((uint64_t)page << PAGE_SHIFT));
        slab_put(heap, bin, page, size_class_index(&size_classes[bin->size_class], within));
    }
    bin->magazine_bytes -= n_blocks * (uint32_t)sizeof(struct free_block);
    memmove(bin->magazine, bin->magazine + n_blocks, bin->magazine_bytes);
    bin->left_magazine_bytes = 0; /* those that came back last are still there */
    bin_settle(heap, bin);
}

/* --------------------------------------------------------------- released by other threads ---- */

/* Puts a slab whose remote stack has just become non-empty before its owner. */
static void slab_visit(struct allocator *allocator, uint32_t page)
{
    struct heap *heap = kmem__allocator_heap(allocator, kmem__note_heap(&allocator->notes[page]));
    uint32_t next = atomic_load_explicit(&heap->visited, memory_order_relaxed);
    do {
        /* Relaxed: published by the exchange below. */
        atomic_store_explicit(&allocator->remote_next[page], next, memory_order_relaxed);
        /* Release: pairs with kmem__slab_collect(). */
    } while (!atomic_compare_exchange_weak_explicit(&heap->visited, &next, page,
                                                    memory_order_release, memory_order_relaxed));
}

/*
 * What stands in a block's entry while this thread pushes it: a number that no other living thread
 * has, so that the thread finds out whether it is still its own block when it has pushed it.
 */
static uint64_t push_token(const struct allocator *allocator, uint32_t id)
{
    /* Of a thread without a heap, one that only releases say: 22 bits are in its number. It is
       found once: a forked child's first thread has another, and another epoch. */
    static _Thread_local uint64_t epoch __attribute__((tls_model("initial-exec")));
    static _Thread_local uint32_t number __attribute__((tls_model("initial-exec")));
    if (id == 0 && epoch != allocator->epoch) {
        number = UINT32_C(1) << 22 | (uint32_t)gettid();
        epoch = allocator->epoch;
    }
    return ENTRY_PUSHED_BY(id != 0 ? id : number);
}

/* Of two threads that release the block, one retires it, and has all its bytes. */
static bool push_retire(struct ledger_entry *entry, uint64_t token)
{
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    do {
        if (ENTRY_NUM_BYTES(word) == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&entry->word, &word, token,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

bool kmem__slab_push(struct allocator *allocator, uint32_t id, const struct ledger_block *block)
{
    struct ledger_head *head = &allocator->ledger.heads[block->page];
    uint64_t token = push_token(allocator, id);
    if (!push_retire(block->entry, token)) {
        return false;
    }
    KMEM_CRASH_POINT("client.remote.retired");
    uint32_t remote = atomic_load_explicit(&head->remote, memory_order_relaxed);
    uint32_t pushed;
    do {
        pushed = (REMOTE_COUNT(remote) + 1) << REMOTE_COUNT_SHIFT | (block->index + 1);
        /* Relaxed: published by the exchange below. */
        atomic_store_explicit(&block->entry->holder, remote, memory_order_relaxed);
        /* Release: pairs with slab_collect_remote(); the block's bytes are done with. */
    } while (!atomic_compare_exchange_weak_explicit(&head->remote, &remote, pushed,
                                                    memory_order_release, memory_order_relaxed));
    KMEM_CRASH_POINT("client.remote.pushed");
    if (remote == 0) {
        slab_visit(allocator, block->page);
    }
    /* This thread is done with the slab, which the daemon may take now. Not if it is the owner's
       again already. Release: pairs with the daemon's reading. */
    (void)atomic_compare_exchange_strong_explicit(&block->entry->word, &token, ENTRY_PUSHED,
                                                  memory_order_release, memory_order_relaxed);
    return true;
}

static void slab_collect_remote(struct heap *heap, uint32_t page)
{
    struct ledger_head *head = &heap->heads[page];
    struct bin *bin = &heap->bins[head->size_class];
    struct ledger_entry *entries = kmem__bin_entries(bin, page);
    /* Acquire: pairs with kmem__slab_push(). */
    uint32_t next = atomic_exchange_explicit(&head->remote, 0, memory_order_acquire);
    while (next != 0) {
        const uint32_t index = REMOTE_INDEX(next) - 1;
        next = atomic_load_explicit(&entries[index].holder, memory_order_relaxed);
        KMEM_CRASH_POINT("client.remote.collected");
        store_commit(&entries[index].word, 0);
        slab_put(heap, bin, page, index);
    }
    bin_settle(heap, bin);
}

void kmem__slab_collect(struct heap *heap)
{
    struct allocator *allocator = heap->allocator;
    /* Relaxed: a look before the exchange; what comes later is collected later. */
    if (atomic_load_explicit(&heap->visited, memory_order_relaxed) == 0) {
        return;
    }
    /* Acquire: pairs with slab_visit(). */
    uint32_t page = atomic_exchange_explicit(&heap->visited, 0, memory_order_acquire);
    while (page != 0) {
        const uint32_t next =
            atomic_load_explicit(&allocator->remote_next[page], memory_order_relaxed);
        if (kmem__note_heap(&heap->notes[page]) == heap->id) {
            slab_collect_remote(heap, page);
        } else {
            slab_visit(allocator, page);
        }
        page = next;
    }
}

/* ------------------------------------------------------------------- taken by the daemon ---- */

/* Takes a slab's blocks out of what is ready. */
static void slab_unready(const struct heap *heap, struct bin *bin, uint32_t page)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < kmem__bin_n_ready(bin); i++) {
        const uint32_t at =
            (uint32_t)((uint64_t)(bin->magazine[i].block - heap->base) >> PAGE_SHIFT);
        if (at - heap->heads[at].back != page) {
            bin->magazine[n_kept++] = bin->magazine[i];
        }
    }
    bin->magazine_bytes = n_kept * (uint32_t)sizeof(struct free_block);
    bin->left_magazine_bytes = 0; /* as in kmem__slab_spill() */
}

/*
 * Forgets a slab without a live block, whose pages are another's. A slab that is just being passed
 * on by the thread that had it before has blocks to be collected: it looks full until they come.
 */
static void slab_forget(struct heap *heap, struct bin *bin, uint32_t page)
{
    struct ledger_head *head = &heap->heads[page];
    kmem__slab_collect(heap);
    slab_unready(heap, bin, page);
    /* Relaxed: no block is live, so that no thread is about to push one. */
    const uint32_t n_remote =
        REMOTE_COUNT(atomic_load_explicit(&head->remote, memory_order_relaxed));
    list_remove(heap->heads, ledger_slab_is_full(head) ? &bin->full : &bin->room, page);
    bin->n_used -= head->n_used - n_remote;
    head->free = 0;
    head->n_carved = size_classes[bin->size_class].n_blocks;
    head->n_used = (uint16_t)n_remote;
    list_push(heap->heads, n_remote > 0 ? &bin->full : &bin->room, page);
    if (n_remote == 0) {
        slab_close(heap, bin, page);
    }
    bin_settle(heap, bin);
}

bool kmem__slab_keep(struct heap *heap, struct bin *bin, const struct free_block *ready)
{
    const uint32_t at = (uint32_t)((uint64_t)(ready->block - heap->base) >> PAGE_SHIFT);
    const uint32_t page = at - heap->heads[at].back;
    KMEM_CRASH_POINT("client.slab.contested");
    if (lease_keep(heap->allocator->ledger.states, page, heap->heads[page].span_pages)) {
        KMEM_CRASH_POINT("client.slab.kept");
        return true;
    }
    KMEM_CRASH_POINT("client.slab.lost");
    /* Before: an entry of pages that are not this client's, left out by all who read it. */
    store_commit(&ready->entry->word, 0);
    KMEM_CRASH_POINT("client.slab.withdrawn");
    slab_forget(heap, bin, page);
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
    bin->n_used += heap->heads[page].n_used;
    bin_settle(heap, bin);
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
           (kmem__lease_cache_is_short(&allocator->cache, 1) ||
            atomic_load_explicit(&allocator->n_slab_pages, memory_order_relaxed) >=
                allocator->ledger.n_pages / SPARSE_FRACTION);
}

/* Notes for each page of a new slab where a release finds what. */
static void slab_note(struct heap *heap, struct bin *bin, uint32_t page)
{
    const uint32_t n_pages = heap->heads[page].span_pages;
    KMEM_ASSERT(NOTE_BIN(NOTE_PLACE(bin, 0)) == bin); /* addresses have 48 bits */
    for (uint32_t i = 0; i < n_pages; i++) {
        struct page_note *note = &heap->notes[page + i];
        const uint32_t before_bytes = i << PAGE_SHIFT;
        note->entries = kmem__bin_entries(bin, page) + before_bytes / bin->block_bytes;
        note->reciprocal = UINT64_MAX / bin->block_bytes + 1;
        /* Relaxed: nobody's until it is assigned. */
        atomic_store_explicit(&note->place, NOTE_PLACE(NULL, before_bytes % bin->block_bytes),
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
    slab_note(heap, bin, taken.page);
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
    const uint32_t max_ready = bin->max_magazine_bytes / (uint32_t)sizeof(struct free_block);
    const uint32_t n_ready = n_room < (max_ready + 1) / 2 ? n_room : (max_ready + 1) / 2;
    bin->magazine_bytes = n_ready * (uint32_t)sizeof(struct free_block);
    bin->n_used += n_ready;
    bin->left_magazine_bytes = bin->magazine_bytes; /* none of them has come back */
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
    KMEM_ASSERT(bin->magazine_bytes == 0);
    slabs_hush(heap);
    kmem__slab_collect(heap);
    bin_settle(heap, bin);
    const bool has_room = bin->room != 0 || slab_adopt(heap, bin) || slab_open(heap, bin);
    /* Else blocks have come home, by what was settled before the lease was asked for. */
    if (has_room && bin->magazine_bytes == 0) {
        slab_reserve(heap, bin, bin->room);
    }
    return bin->magazine_bytes > 0;
}

/* -------------------------------------------------------------------------------- checking ---- */

static uint32_t bin_count_ready(const struct heap *heap, const struct bin *bin, uint32_t page)
{
    uint32_t n_ready = 0;
    for (uint32_t i = 0; i < kmem__bin_n_ready(bin); i++) {
        const uint64_t offset = (uint64_t)(bin->magazine[i].block - heap->base);
        const uint32_t at = (uint32_t)(offset >> PAGE_SHIFT);
        n_ready += at - heap->heads[at].back == page;
    }
    return n_ready;
}

static bool slab_adds_up(const struct heap *heap, const struct bin *bin, uint32_t page,
                         bool has_room)
{
    const struct ledger_head *head = &heap->heads[page];
    const struct ledger_entry *entries = kmem__bin_entries(bin, page);
    uint32_t n_live = 0;
    for (uint32_t i = 0; i < head->n_carved; i++) {
        const uint64_t word = atomic_load_explicit(&entries[i].word, memory_order_relaxed);
        n_live += ENTRY_NUM_BYTES(word) != 0;
    }
    uint32_t n_remote = 0;
    uint32_t next = atomic_load_explicit(&head->remote, memory_order_acquire);
    for (; next != 0 && n_remote <= head->n_carved; n_remote++) {
        next = atomic_load_explicit(&entries[REMOTE_INDEX(next) - 1].holder, memory_order_relaxed);
    }
    return head->n_used == n_live + n_remote + bin_count_ready(heap, bin, page) &&
           ledger_slab_is_full(head) == !has_room &&
           kmem__note_heap(&heap->notes[page]) == heap->id;
}

bool kmem__slab_check(const struct heap *heap, const struct bin *bin)
{
    uint32_t n_used = 0;
    for (uint32_t page = bin->room; page != 0; page = heap->heads[page].next) {
        if (!slab_adds_up(heap, bin, page, true)) {
            return false;
        }
        n_used += heap->heads[page].n_used;
    }
    for (uint32_t page = bin->full; page != 0; page = heap->heads[page].next) {
        if (!slab_adds_up(heap, bin, page, false)) {
            return false;
        }
        n_used += heap->heads[page].n_used;
    }
    return n_used == bin->n_used;
}
