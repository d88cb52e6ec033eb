/* SPDX-License-Identifier: MIT */
/*
 * Each thread has a heap: for each size class a bin of blocks that are ready to be handed out, and
 * behind it the slabs that they come from (slab.c).
 *
 *      allocate:  bin.magazine, last one -> entry written -> block cleared
 *      release:   page -> note: my slab? -> entry: live? -> entry retired -> bin.magazine
 *
 * A ready block's place is known together with its entry's, so an allocation finds both with two
 * loads, and the one released last, whose bytes and entry are warm, goes out first, whatever slab
 * it is from. Rejected: taking blocks from the slab's free list each time. That list names blocks
 * by number, and a release can only name its block after a multiplication; through the list the
 * next allocation had to wait for it, 31 cycles for each pair.
 *
 * A release believes nothing but the ledger: the page's note says whether it is a slab of this
 * heap, the reciprocal whether the pointer is a block's start, the entry whether the block is live.
 * Each is a load and a compare; whatever does not fit goes to kmem__heap_release(), which finds the
 * reason.
 *
 * What a fork leaves: a heap is in memory that the kernel hands to a child as zeros, and a heap of
 * zeros has no ready block and no segment, so the child's first call takes the slow way. There the
 * heap is found to be nobody's, and becomes the child's own, of its own allocator. kmem_close()
 * makes the heaps zero in the same way.
 *
 * A thread that ends puts its ready blocks back and leaves the heap, with what slabs still have
 * live blocks, to the process. The next new thread takes a whole heap; a thread that needs a slab
 * looks there before it asks for pages. Heaps are unmapped at the end only, so who holds a heap's
 * number may always push a block to it.
 */
#include "client/heap/heap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "client/heap/large.h"
#include "client/heap/slab.h"
#include "client/tsan.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

/* What threads without a heap point at; and those that have left theirs, for they end. */
static struct heap heap_of_nobody;
static struct heap heap_of_the_ended;

_Thread_local struct heap *kmem__heap_mine __attribute__((tls_model("initial-exec"))) =
    &heap_of_nobody;

const char kmem__heap_no_reason[1] = "";

/* --------------------------------------------------------------------- a thread's own heap ---- */

static pthread_key_t heap_key;
static pthread_once_t heap_key_once = PTHREAD_ONCE_INIT;
static bool heap_has_key;

static void heap_abandon(struct heap *heap)
{
    struct heaps *heaps = &heap->allocator->heaps;
    kmem__slab_collect(heap);
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        kmem__slab_spill(heap, &heap->bins[i], kmem__bin_n_ready(&heap->bins[i]));
    }
    memset(heap->remembered, 0, sizeof(heap->remembered));
    (void)pthread_mutex_lock(&heaps->lock);
    heap->next_abandoned = heaps->abandoned;
    heaps->abandoned = heap;
    atomic_fetch_add_explicit(&heaps->n_abandoned, 1, memory_order_relaxed); /* Relaxed: a hint. */
    (void)pthread_mutex_unlock(&heaps->lock);
}

/*
 * At a thread's end. A destructor that runs later and allocates gets direct blocks: whether this
 * one would be called for another heap is not certain, and a heap that is left to a dead thread
 * keeps its pages for ever.
 */
static void heap_on_thread_end(void *of_thread)
{
    struct heap *heap = of_thread;
    kmem__heap_mine = &heap_of_the_ended;
    if (heap->id == 0) {
        kmem__bins_unmap(heap);
    } else {
        heap_abandon(heap);
    }
}

static void heap_make_key(void)
{
    heap_has_key = pthread_key_create(&heap_key, heap_on_thread_end) == 0;
}

/* How many blocks of a size may be ready in a segment of num_bytes. */
static uint32_t magazine_limit(uint32_t block_bytes, uint64_t num_bytes)
{
    const uint32_t fitting = MAGAZINE_BYTES / block_bytes;
    const uint32_t wanted = fitting > MAGAZINE_MAX   ? MAGAZINE_MAX
                            : fitting < MAGAZINE_MIN ? MAGAZINE_MIN
                                                     : fitting;
    const uint64_t share = num_bytes / MAGAZINE_FRACTION / block_bytes;
    return share >= wanted ? wanted : share < 2 ? 2 : (uint32_t)share;
}

static void bin_init(struct bin *bin, struct allocator *allocator, uint32_t size_class)
{
    const struct size_class *of = &size_classes[size_class];
    bin->max_magazine_bytes =
        magazine_limit(of->block_bytes, allocator->num_bytes) * (uint32_t)sizeof(struct free_block);
    bin->block_bytes = of->block_bytes;
    bin->size_class = size_class;
    bin->plane_page_bytes = (uint32_t)sizeof(struct ledger_entry) << PLANE_SHIFT(of->plane);
    bin->plane = allocator->ledger.planes[of->plane];
}

static void heap_init(struct heap *heap, struct allocator *allocator, uint32_t id)
{
    heap->base = allocator->base;
    heap->num_bytes = kmem__tsan_watches() ? 0 : allocator->num_bytes;
    heap->notes = allocator->notes;
    heap->heads = allocator->ledger.heads;
    heap->asked = allocator->ledger.asked;
    heap->epoch = allocator->epoch;
    heap->clock = allocator->clock;
    heap->counts = &heap->own_counts;
    heap->own_counts.noted_at = lifetimes_next(id);
    heap->allocator = allocator;
    heap->n_cleared = WARM_BYTES; /* so that left_at 0 is long ago */
    heap->id = id;
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        bin_init(&heap->bins[i], allocator, i);
    }
    for (uint32_t i = 0; i < BIN_AT_MAX_BYTES / BLOCK_ALIGN_BYTES; i++) {
        const uint32_t size_class = size_class_of((i + 1) * BLOCK_ALIGN_BYTES);
        heap->bin_at[i] = (uint32_t)(offsetof(struct heap, bins) + size_class * sizeof(struct bin));
    }
}

/* Return: an abandoned heap, the thread's from now on; NULL if there is none. */
static struct heap *heap_inherit(struct heaps *heaps)
{
    (void)pthread_mutex_lock(&heaps->lock);
    struct heap *heap = heaps->abandoned;
    if (heap != NULL) {
        heaps->abandoned = heap->next_abandoned;
        heap->next_abandoned = NULL;
        atomic_fetch_sub_explicit(&heaps->n_abandoned, 1, memory_order_relaxed); /* A hint. */
    }
    (void)pthread_mutex_unlock(&heaps->lock);
    return heap;
}

/* Gives a heap a place where it counts, if there is one left. heaps.lock is held. */
static void heap_count(struct heap *heap, struct ledger_counts *counts)
{
    if (heap->id <= COUNTS_THREADS) {
        heap->counts = &counts->threads[COUNTS_THREADS - heap->id];
        heap->counts->noted_at = lifetimes_next(heap->id);
        /* Relaxed: it stands alone. */
        atomic_store_explicit(&counts->n_threads, heap->id, memory_order_relaxed);
    }
}

/* Gives a heap of zeros a number. Return: false: there is none left. */
static bool heap_register(struct heap *heap, struct allocator *allocator)
{
    struct heaps *heaps = &allocator->heaps;
    (void)pthread_mutex_lock(&heaps->lock);
    const bool has_room = heaps->n_ids + 1 < HEAPS_MAX;
    if (has_room) {
        heap_init(heap, allocator, ++heaps->n_ids);
        heap_count(heap, allocator->ledger.counts);
        /* Release: pairs with kmem__allocator_heap(). */
        atomic_store_explicit(&heaps->by_id[heap->id], heap, memory_order_release);
    }
    (void)pthread_mutex_unlock(&heaps->lock);
    return has_room;
}

/* Makes a heap for this thread, in the place of one of zeros if it has one. */
static struct heap *heap_make(struct allocator *allocator)
{
    struct heap *mine = kmem__heap_mine;
    struct heap *heap = mine != &heap_of_nobody ? mine : kmem__bins_map();
    if (heap == NULL) {
        return NULL;
    }
    if (!heap_register(heap, allocator)) {
        if (heap != mine) {
            kmem__bins_unmap(heap);
        }
        return NULL;
    }
    return heap;
}

/* This thread's heap, made if need be. Return: NULL: it can have none. */
static struct heap *heap_get(struct allocator *allocator)
{
    struct heap *mine = kmem__heap_mine;
    if (KMEM_LIKELY(mine->id != 0)) {
        return mine;
    }
    if (mine == &heap_of_the_ended) {
        return NULL;
    }
    (void)pthread_once(&heap_key_once, heap_make_key);
    if (!heap_has_key) {
        return NULL;
    }
    struct heap *heap = heap_inherit(&allocator->heaps);
    if (heap == NULL) {
        heap = heap_make(allocator);
    } else if (mine != &heap_of_nobody) {
        kmem__bins_unmap(mine);
    }
    if (heap != NULL) {
        kmem__heap_mine = heap;
        (void)pthread_setspecific(heap_key, heap); /* else the heap is not adopted: no harm */
    }
    return heap;
}

/* ------------------------------------------------------------------------------ allocating ---- */

static uint64_t heap_reason(struct heap *heap, const char *reason, struct kmem_site *site)
{
    reason = reason != NULL ? reason : kmem__heap_no_reason;
    const struct remembered *remembered = kmem__remembered_at(heap->remembered, reason);
    const uint64_t word =
        kmem__remembered_matches(remembered, reason)
            ? remembered->word
            : kmem__intern_remember(&heap->allocator->intern, heap->remembered, reason);
    if (kmem__tsan_watches()) {
        kmem__remembered_at(heap->remembered, reason)->reason = NULL;
    } else if (site != NULL) {
        kmem__site_learn(site, reason, word, heap->epoch);
    }
    return word;
}

/*
 * 64: a block of more than a 64th of the segment is direct. Carved from a lease it leaves a
 * free extent there that small blocks get into, and soon nothing is free that is as long, in a
 * segment two thirds of which are. Up to 1 MiB a round trip would cost more than clearing does.
 */
#define HUGE_FRACTION 64
#define HUGE_MIN_BYTES (UINT64_C(1) << 20)

static bool block_is_huge(const struct allocator *allocator, size_t num_bytes)
{
    return num_bytes > HUGE_MIN_BYTES &&
           num_bytes > (uint64_t)allocator->ledger.n_pages * (PAGE_BYTES / HUGE_FRACTION);
}

static void *heap_allocate_large(struct heap *heap, size_t num_bytes, const char *reason,
                                 struct kmem_site *site, bool clears)
{
    struct allocator *allocator = heap->allocator;
    (void)kmem__heap_take_returns(allocator); /* a frame that was lent, perhaps */
    /* Relaxed: a hint. After a refusal the daemon is asked for the block at once, not for a lease
       that it would have to refuse before. */
    if (atomic_load_explicit(&allocator->was_refused, memory_order_relaxed) ||
        block_is_huge(allocator, num_bytes) || !kmem__hot_count(&allocator->hot, num_bytes) ||
        kmem__lease_cache_is_short(&allocator->cache,
                                   (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT))) {
        return NULL;
    }
    return kmem__large_take(allocator, num_bytes, heap_reason(heap, reason, site), clears);
}

void *kmem__heap_contest(size_t num_bytes, const char *reason, struct kmem_site *site,
                         allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    struct bin *bin = kmem__heap_bin(heap, (uint32_t)num_bytes);
    const struct free_block ready =
        *kmem__bin_magazine(bin, bin->magazine_bytes); /* where it just was */
    /* Relaxed: a tick; who finds it stopped loads it again. */
    const uint32_t tick = atomic_load_explicit(heap->clock, memory_order_relaxed);
    if (tick == TICK_STOPPED) {
        /* Before: an entry of a block that no caller has. After: the block is ready again. */
        store_commit(&ready.entry->word, 0);
        bin->magazine_bytes += (uint32_t)sizeof(ready);
        return otherwise(num_bytes, reason, site);
    }
    if (!kmem__slab_keep(heap, bin, &ready)) {
        return otherwise(num_bytes, reason, site);
    }
    store_prepare_u32(&ready.entry->born, tick); /* the clock may have stood still until now */
    return kmem__heap_clear(heap, bin, ready.block, num_bytes);
}

/* Whether a size is one of those that the inline way leaves to the functions below. */
static inline bool is_more(size_t num_bytes)
{
    return num_bytes > BIN_AT_MAX_BYTES && num_bytes <= SMALL_MAX_BYTES;
}

void *kmem__heap_take_more(size_t num_bytes, const char *reason, allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    reason = reason != NULL ? reason : kmem__heap_no_reason;
    const struct remembered *remembered = kmem__remembered_at(heap->remembered, reason);
    return is_more(num_bytes) && kmem__remembered_matches(remembered, reason)
               ? kmem__heap_pop(heap, num_bytes, reason, remembered->word, NULL, otherwise)
               : otherwise(num_bytes, reason, NULL);
}

void *kmem__heap_take_more_at(size_t num_bytes, const char *reason, struct kmem_site *site,
                              allocate_function otherwise)
{
    struct heap *heap = kmem__heap_mine;
    uint64_t word;
    return is_more(num_bytes) && kmem__site_knows(site, reason, heap->epoch, &word)
               ? kmem__heap_pop(heap, num_bytes, reason, word, site, otherwise)
               : otherwise(num_bytes, reason, site);
}

static void *heap_allocate_small(struct heap *heap, size_t num_bytes, const char *reason,
                                 struct kmem_site *site)
{
    struct bin *bin = kmem__heap_bin(heap, (uint32_t)num_bytes);
    struct free_block ready;
    if (bin->magazine_bytes == 0) {
        (void)kmem__heap_take_returns(heap->allocator); /* into the magazine, perhaps */
    }
    do { /* A turn more for each slab that the daemon has taken. */
        if (bin->magazine_bytes == 0 &&
            (!kmem__hot_count(&heap->allocator->hot, num_bytes) || !kmem__slab_refill(heap, bin))) {
            return NULL;
        }
        const uint64_t word = heap_reason(heap, reason, site);
        bin->magazine_bytes -= (uint32_t)sizeof(ready);
        ready = *kmem__bin_magazine(bin, bin->magazine_bytes);
        if (kmem__heap_enter(heap, ready.entry, num_bytes, word, notice_tick(heap->clock)) ||
            kmem__slab_keep(heap, bin, &ready)) {
            if (kmem__tsan_watches()) {
                kmem__tsan_taken(ready.block, num_bytes);
            }
            return kmem__heap_clear(heap, bin, ready.block, num_bytes);
        }
    } while (true);
}

void *kmem__heap_allocate(struct allocator *allocator, size_t num_bytes, const char *reason,
                          struct kmem_site *site)
{
    struct heap *heap = heap_get(allocator);
    if (heap == NULL) {
        return NULL;
    }
    if (num_bytes > SMALL_MAX_BYTES) {
        return heap_allocate_large(heap, num_bytes, reason, site, true);
    }
    return heap_allocate_small(heap, num_bytes, reason, site);
}

void *kmem__heap_allocate_uncleared(struct allocator *allocator, size_t num_bytes,
                                    const char *reason)
{
    KMEM_ASSERT(num_bytes > SMALL_MAX_BYTES);
    struct heap *heap = heap_get(allocator);
    return heap != NULL ? heap_allocate_large(heap, num_bytes, reason, NULL, false) : NULL;
}

/* ------------------------------------------------------------------------------- releasing ---- */

int kmem__heap_find(struct allocator *allocator, struct seg_off offset, struct found *ret_found)
{
    struct ledger_block block;
    const uint32_t page = (uint32_t)(offset.bytes >> PAGE_SHIFT);
    /* A page that was revoked may be anybody's again, a direct block of this process's say. */
    if (page >= allocator->ledger.n_pages || !lease_has_any(allocator->ledger.states, page, 1)) {
        return HEAP_E_DIRECT;
    }
    const int r = ledger_find(&allocator->ledger, offset, &block);
    if (r != 0 && r != LEDGER_E_INTERIOR) {
        return r == LEDGER_E_RELEASED ? HEAP_E_RELEASED : HEAP_E_WILD;
    }
    /* Relaxed: the block is live, or a thread is just releasing it. */
    const uint64_t word = atomic_load_explicit(&block.entry->word, memory_order_relaxed);
    if (ENTRY_NUM_BYTES(word) == 0) {
        return r == 0 ? HEAP_E_RELEASED : HEAP_E_WILD;
    }
    *ret_found =
        (struct found){.offset = ledger_offset(&allocator->ledger, block.page, block.index),
                       .num_bytes = ENTRY_NUM_BYTES(word),
                       .reason = ENTRY_REASON(word),
                       .is_shared = entry_is_shared(word),
                       .block = block};
    return r == 0 ? HEAP_OK : HEAP_E_INTERIOR;
}

static void heap_note(struct heap *heap, uint32_t reason, uint32_t born)
{
    struct allocator *allocator = heap->allocator;
    const uint32_t now = notice_tick(allocator->clock);
    struct thread_counts *counts = heap->counts;
    const uint64_t n_releases = counts->n_releases - counts->noted_last;
    counts->noted_last = counts->n_releases;
    counts->noted_at = lifetimes_next(counts->n_releases);
    if (now != TICK_STOPPED && now >= born) {
        kmem__lifetimes_note(&allocator->lifetimes, &allocator->intern, reason, now - born,
                             (uint32_t)n_releases);
    }
}

int kmem__heap_note_lifetime(const struct ledger_entry *entry, uint64_t word)
{
    /* Relaxed: it stands until the block goes out again, which is this thread's to do. */
    heap_note(kmem__heap_mine, ENTRY_REASON(word),
              atomic_load_explicit(&entry->born, memory_order_relaxed));
    return 0;
}

/* A live block of this thread's own heap, whose bin is full. */
static void heap_give_own(struct heap *heap, const struct found *found)
{
    struct bin *bin = &heap->bins[heap->heads[found->block.page].size_class];
    if (bin->magazine_bytes == bin->max_magazine_bytes) {
        kmem__slab_spill(heap, bin, (kmem__bin_n_ready(bin) + 1) / 2);
    }
    store_commit(&found->block.entry->word, 0);
    *kmem__bin_magazine(bin, bin->magazine_bytes) =
        (struct free_block){heap->base + found->offset.bytes, found->block.entry};
    bin->magazine_bytes += (uint32_t)sizeof(struct free_block);
    if (kmem__counts_release(heap->counts)) {
        (void)kmem__heap_note_lifetime(found->block.entry,
                                       (uint64_t)found->reason << ENTRY_REASON_SHIFT);
    }
}

/* A block that is no heap's, or another's, has been released. */
static void heap_count_release(struct heap *mine, struct allocator *allocator, uint32_t reason,
                               uint32_t born)
{
    if (mine->id != 0) {
        if (kmem__counts_release(mine->counts)) {
            heap_note(mine, reason, born);
        }
    } else {
        kmem__counts_release_any(allocator->ledger.counts, 1);
    }
}

/*
 * A live block that is this process's alone. Return: HEAP_OK or HEAP_E_RELEASED.
 * @is_own:  no other has held it for writing
 */
static int heap_release_found(struct allocator *allocator, const struct found *found, bool is_own)
{
    struct heap *mine = kmem__heap_mine;
    const struct ledger_block *block = &found->block;
    if (kmem__tsan_watches()) {
        kmem__tsan_given(allocator->base + found->offset.bytes, found->num_bytes);
    }
    /* Relaxed, both: a live block's slab is open, and the entry stands. */
    const uint32_t kind =
        atomic_load_explicit(&allocator->ledger.heads[block->page].kind, memory_order_relaxed);
    const uint32_t born = atomic_load_explicit(&block->entry->born, memory_order_relaxed);
    if (kind != HEAD_LARGE && mine->id != 0 &&
        mine->id == kmem__note_heap(&allocator->notes[block->page])) {
        heap_give_own(mine, found);
        return HEAP_OK;
    }
    if (kind == HEAD_LARGE ? !kmem__large_give(allocator, block->page, is_own)
                           : !kmem__slab_push(allocator, mine->id, block)) {
        return HEAP_E_RELEASED;
    }
    heap_count_release(mine, allocator, found->reason, born);
    return HEAP_OK;
}

int kmem__heap_release(struct allocator *allocator, struct seg_off offset, struct found *ret_found)
{
    const int r = kmem__heap_find(allocator, offset, ret_found);
    if (r != HEAP_OK || ret_found->is_shared) {
        return r != HEAP_OK ? r : HEAP_E_SHARED;
    }
    return heap_release_found(allocator, ret_found, true);
}

/* --------------------------------------------------------------------- what was lent comes home */

bool kmem__heap_come_home(struct allocator *allocator, struct seg_off offset, bool was_written)
{
    struct found found;
    if (kmem__heap_find(allocator, offset, &found) != HEAP_OK || !found.is_shared ||
        atomic_load_explicit(&found.block.entry->holder, memory_order_acquire) != SHARED_AWAY) {
        return false;
    }
    /* Before: it is shared. After: it is as if it had never been. */
    (void)atomic_fetch_and_explicit(&found.block.entry->word, ~ENTRY_SHARED, memory_order_acq_rel);
    KMEM_CRASH_POINT("client.share.home");
    return heap_release_found(allocator, &found, !was_written) == HEAP_OK;
}

static bool returns_take(struct allocator *allocator, struct ledger_returns *returns)
{
    bool has_any = false;
    /* Relaxed: written by the thread that takes. */
    uint64_t n_taken = atomic_load_explicit(&returns->n_taken, memory_order_relaxed);
    /* Acquire: pairs with the server's write; the offsets are there. */
    const uint64_t n_put = atomic_load_explicit(&returns->n_put, memory_order_acquire);
    if (n_put - n_taken > RETURNS_MAX) {
        n_taken = n_put; /* not what a server of ours writes */
    }
    for (; n_taken != n_put; n_taken++) {
        const uint64_t said =
            atomic_load_explicit(&returns->offsets[n_taken % RETURNS_MAX], memory_order_relaxed);
        const struct seg_off offset = {said & ~RETURNS_WRITTEN};
        has_any = kmem__heap_come_home(allocator, offset, (said & RETURNS_WRITTEN) != 0) || has_any;
        /* Release: pairs with the server's read; the place may be written again. */
        atomic_store_explicit(&returns->n_taken, n_taken + 1, memory_order_release);
    }
    atomic_store_explicit(&returns->n_taken, n_taken, memory_order_release);
    return has_any;
}

bool kmem__heap_take_returns(struct allocator *allocator)
{
    struct ledger_returns *returns = allocator->ledger.returns;
    /* Relaxed, both: a look before the exchange; what comes later is taken later. */
    if (atomic_load_explicit(&returns->n_put, memory_order_relaxed) ==
            atomic_load_explicit(&returns->n_taken, memory_order_relaxed) ||
        atomic_exchange_explicit(&allocator->is_taking, true, memory_order_acquire)) {
        return false;
    }
    const bool has_any = returns_take(allocator, returns);
    atomic_store_explicit(&allocator->is_taking, false, memory_order_release);
    return has_any;
}

/* ------------------------------------------------------------------------- flush and check ---- */

bool kmem__heap_flush(const struct allocator *allocator)
{
    struct heap *heap = kmem__heap_mine;
    uint32_t n_blocks = 0;
    if (heap->id == 0 || heap->allocator != allocator) {
        return false;
    }
    kmem__slab_collect(heap);
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        n_blocks += kmem__bin_n_ready(&heap->bins[i]);
        kmem__slab_spill(heap, &heap->bins[i], kmem__bin_n_ready(&heap->bins[i]));
    }
    return n_blocks > 0;
}

static bool heap_adds_up(const struct heap *heap)
{
    bool is_sound = true;
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        is_sound = is_sound && heap->bins[i].magazine_bytes <= heap->bins[i].max_magazine_bytes &&
                   kmem__slab_check(heap, &heap->bins[i]);
    }
    return is_sound;
}

bool kmem__heap_check(struct allocator *allocator)
{
    bool is_sound = true;
    for (uint32_t id = 1; id <= allocator->heaps.n_ids; id++) {
        is_sound = is_sound && heap_adds_up(kmem__allocator_heap(allocator, id));
    }
    return is_sound;
}
