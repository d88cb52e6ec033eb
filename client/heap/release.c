/* SPDX-License-Identifier: MIT */
/*
 * What a release does that is not as usual: the block is of another thread's heap, or of whole
 * pages, or shared, or there is none.
 *
 * A block of another heap's slab is retired by a compare-and-swap and becomes ready here, like its
 * own ones: see remote.h. So a release leaves the other thread's lines alone, but for the entry's,
 * and waits for that once: it is asked for as one that will be written, before it is read.
 */
#include "client/heap/heap.h"
#include "client/heap/large.h"
#include "client/heap/remote.h"
#include "client/heap/slab.h"
#include "client/tsan.h"
#include "proto/crash_point.h"
#include "proto/lease.h"
#include "proto/notice.h"

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
    if (kmem__bin_is_full(bin)) {
        kmem__slab_spill(heap, bin, (kmem__bin_n_ready(bin) + 1) / 2);
    }
    store_commit(&found->block.entry->word, 0);
    kmem__bin_put(bin, heap->base + found->offset.bytes, found->block.entry);
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

/* The daemon is to look at the slab's entries, however many blocks its owner says are used. */
__attribute__((noinline)) static void slab_go_abroad(struct ledger_head *heads, uint32_t page,
                                                     struct page_note *note)
{
    /* Relaxed, both: a hint. The block is not released yet, so the slab is open; unless another
       thread releases it just now, too. Then the note may be another slab's, and tells where that
       one begins: the bit is added to what stands there. */
    atomic_store_explicit(&heads[page].remote, REMOTE_SOME, memory_order_relaxed);
    (void)atomic_fetch_or_explicit(&note->where, NOTE_ABROAD, memory_order_relaxed);
}

static inline void slab_note_abroad(struct ledger_head *heads, uint32_t page,
                                    struct page_note *note)
{
    /* Relaxed: a hint. */
    if (KMEM_UNLIKELY((atomic_load_explicit(&note->where, memory_order_relaxed) & NOTE_ABROAD) ==
                      0)) {
        slab_go_abroad(heads, page, note);
    }
}

/*
 * A block of another heap's slab: this thread's from now on, in its magazine.
 * @word:  what stands in its entry, or stood there just now
 * Return: false: another thread has just released it.
 */
static bool heap_give_others(struct heap *mine, unsigned char *at, struct ledger_entry *entry,
                             uint64_t word)
{
    const uint32_t page = (uint32_t)((uint64_t)(at - mine->base) >> PAGE_SHIFT);
    struct page_note *note = &mine->notes[page];
    struct bin *bin = &mine->bins[note->size_class];
    const uint32_t born = atomic_load_explicit(&entry->born, memory_order_relaxed);
    slab_note_abroad(mine->heads, kmem__note_first(note, page), note);
    if (!kmem__remote_retire(entry, word)) {
        return false;
    }
    if (kmem__bin_is_full(bin)) {
        kmem__slab_spill(mine, bin, (kmem__bin_n_ready(bin) + 1) / 2);
    }
    kmem__bin_put(bin, at, entry);
    if (kmem__counts_release(mine->counts)) {
        heap_note(mine, ENTRY_REASON(word), born);
    }
    return true;
}

/* The same in a thread that has no heap: it keeps nothing. */
static bool heap_push_others(struct allocator *allocator, const struct ledger_block *block,
                             uint64_t word)
{
    struct remote_chain chain = {block->page, 0, NULL};
    slab_note_abroad(allocator->ledger.heads, block->page, &allocator->notes[block->page]);
    if (!kmem__remote_retire(block->entry, word)) {
        return false;
    }
    kmem__remote_add(&chain, block);
    kmem__remote_push(allocator, &chain);
    kmem__counts_release_any(allocator->ledger.counts, 1);
    return true;
}

/* The heap that a thread releases with: of one that only releases, a heap of nobody at first. */
static struct heap *heap_to_release(struct allocator *allocator)
{
    static _Thread_local uint32_t n_loose __attribute__((tls_model("initial-exec")));
    struct heap *mine = kmem__heap_mine;
    if (mine->id != 0 || n_loose++ < LOOSE_MAX) {
        return mine;
    }
    n_loose = 0; /* for the next allocator, or the child of a fork */
    struct heap *made = kmem__heap_get(allocator);
    return made != NULL ? made : mine;
}

/*
 * A live block that is this process's alone. Return: HEAP_OK or HEAP_E_RELEASED.
 * @is_own:  no other has held it for writing
 */
static int heap_release_found(struct allocator *allocator, const struct found *found, bool is_own)
{
    struct heap *mine = heap_to_release(allocator);
    const struct ledger_block *block = &found->block;
    if (kmem__tsan_watches()) {
        kmem__tsan_given(allocator->base + found->offset.bytes, found->num_bytes);
    }
    /* Relaxed, both: a live block's slab is open, and the entry stands. */
    const uint32_t kind =
        atomic_load_explicit(&allocator->ledger.heads[block->page].kind, memory_order_relaxed);
    const uint32_t born = atomic_load_explicit(&block->entry->born, memory_order_relaxed);
    if (kind == HEAD_LARGE) {
        if (!kmem__large_give(allocator, mine->id != 0 ? &mine->kept : NULL, block->page, is_own)) {
            return HEAP_E_RELEASED;
        }
        heap_count_release(mine, allocator, found->reason, born);
        return HEAP_OK;
    }
    if (mine->id != 0 && mine->id == kmem__note_heap(&allocator->notes[block->page])) {
        heap_give_own(mine, found);
        return HEAP_OK;
    }
    const uint64_t word = ENTRY_WORD(found->num_bytes, found->reason);
    const bool is_given =
        mine->id != 0
            ? heap_give_others(mine, allocator->base + found->offset.bytes, block->entry, word)
            : heap_push_others(allocator, block, word);
    return is_given ? HEAP_OK : HEAP_E_RELEASED;
}

/*
 * A block of a slab that is another heap's, live or not, found without a look at the head, which is
 * the other thread's to write. Return: its page's note; NULL: not that, or not surely.
 */
__attribute__((always_inline)) static inline const struct page_note *
heap_spot_remote(const struct heap *mine, const void *block, struct ledger_entry **ret_entry)
{
    if ((uintptr_t)block - (uintptr_t)mine->base >= mine->num_bytes) {
        return NULL;
    }
    const struct page_note *note = kmem__heap_note(mine, block);
    /* Acquire, all but the last two: a live block's note stands, and a wild pointer's may be
       another's meanwhile, half written; then `place` is another in the end, or `begin`. */
    struct bin *place = atomic_load_explicit(&note->place, memory_order_acquire);
    const uint32_t begin = __atomic_load_n(&note->begin, __ATOMIC_ACQUIRE);
    const uint32_t reciprocal = __atomic_load_n(&note->reciprocal, __ATOMIC_ACQUIRE);
    struct ledger_entry *entries = __atomic_load_n(&note->entries, __ATOMIC_ACQUIRE);
    /* A bin of this heap's: what is its own goes another way. */
    if (place == NULL || (uintptr_t)place - (uintptr_t)mine < sizeof(*mine) ||
        !kmem__note_entry(entries, begin, reciprocal, block, ret_entry)) {
        return NULL;
    }
    return atomic_load_explicit(&note->place, memory_order_relaxed) == place &&
                   __atomic_load_n(&note->begin, __ATOMIC_RELAXED) == begin
               ? note
               : NULL;
}

/* A live block of this thread's own heap, where none more can be ready. False: not that. */
static bool heap_give_full(struct heap *mine, void *block)
{
    struct spot spot;
    if (!kmem__heap_spot(mine, block, &spot) || !kmem__bin_is_full(spot.bin)) {
        return false;
    }
    /* Relaxed, both: as in kmem__heap_give_own(). */
    const uint64_t word = atomic_load_explicit(&spot.entry->word, memory_order_relaxed);
    if (!entry_is_private(word) ||
        atomic_load_explicit(mine->clock, memory_order_relaxed) == TICK_STOPPED) {
        return false;
    }
    kmem__slab_spill(mine, spot.bin, (kmem__bin_n_ready(spot.bin) + 1) / 2);
    struct given given;
    return kmem__heap_give_own(mine, block, true, &given) &&
           (!given.is_noted || kmem__heap_note_lifetime(given.entry, given.word) == 0);
}

/*
 * A live block of whole pages, found by its head as ledger_find() does, and without the look at the
 * time that a call makes which is not as usual. Return: false: not that, or not surely.
 */
static bool heap_give_large(struct heap *mine, const void *block)
{
    struct allocator *allocator = mine->allocator;
    const uint64_t offset = (uintptr_t)block - (uintptr_t)mine->base;
    const uint32_t page = (uint32_t)(offset >> PAGE_SHIFT);
    /* Relaxed, all: a live block's head is open, and a closed one says so. */
    if (offset >= mine->num_bytes || offset % PAGE_BYTES != 0 ||
        atomic_load_explicit(&mine->heads[page].kind, memory_order_relaxed) != HEAD_LARGE ||
        atomic_load_explicit(mine->clock, memory_order_relaxed) == TICK_STOPPED) {
        return false;
    }
    const struct ledger_entry *entry = ledger_entries(&allocator->ledger, page);
    const uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    const uint32_t born = atomic_load_explicit(&entry->born, memory_order_relaxed);
    if (!entry_is_private(word) || !kmem__large_give(allocator, &mine->kept, page, true)) {
        return false;
    }
    heap_count_release(mine, allocator, ENTRY_REASON(word), born);
    return true;
}

/* How far the usual way of a block of another heap's slab came. */
enum {
    REMOTE_GIVEN,
    REMOTE_UNKNOWN, /* go on with kmem__heap_release() */
    REMOTE_SELDOM,  /* with heap_give_seldom() */
};

/* @ret_entry, @ret_word:  written for REMOTE_SELDOM; an entry of NULL is no other heap's block */
__attribute__((always_inline)) static inline int heap_give_usual(struct heap *mine, void *pointer,
                                                                 struct ledger_entry **ret_entry,
                                                                 uint64_t *ret_word)
{
    struct ledger_entry *entry = NULL;
    const struct page_note *note = heap_spot_remote(mine, pointer, &entry);
    if (note == NULL) {
        *ret_entry = NULL;
        return REMOTE_SELDOM;
    }
    kmem__prefetch_to_write(entry);
    struct bin *bin = &mine->bins[note->size_class];
    const uint32_t where = atomic_load_explicit(&note->where, memory_order_relaxed);
    /* Relaxed, all: as in kmem__heap_give_noted(). */
    const uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    if (!entry_is_private(word) ||
        atomic_load_explicit(mine->clock, memory_order_relaxed) == TICK_STOPPED) {
        return REMOTE_UNKNOWN;
    }
    if (KMEM_UNLIKELY((where & NOTE_ABROAD) == 0) || KMEM_UNLIKELY(kmem__bin_is_full(bin)) ||
        KMEM_UNLIKELY(kmem__counts_is_due(mine->counts))) {
        *ret_entry = entry;
        *ret_word = word;
        return REMOTE_SELDOM;
    }
    if (!kmem__remote_retire(entry, word)) {
        return REMOTE_UNKNOWN;
    }
    kmem__bin_put(bin, pointer, entry);
    mine->counts->n_releases++;
    return REMOTE_GIVEN;
}

/* What is seldom calls another function, which it calls last: the usual way saves no register. */
__attribute__((noinline)) static bool heap_give_seldom(struct heap *mine, void *pointer,
                                                       struct ledger_entry *entry, uint64_t word)
{
    return entry != NULL ? heap_give_others(mine, pointer, entry, word)
                         : heap_give_full(mine, pointer) || heap_give_large(mine, pointer);
}

__attribute__((noinline)) static void heap_give_seldom_or(struct heap *mine, void *pointer,
                                                          struct ledger_entry *entry, uint64_t word,
                                                          void (*otherwise)(void *block))
{
    if (!heap_give_seldom(mine, pointer, entry, word)) {
        otherwise(pointer);
    }
}

KMEM_LINE bool kmem__heap_give_remote(void *pointer)
{
    struct heap *mine = kmem__heap_mine;
    struct ledger_entry *entry;
    uint64_t word = 0;
    const int r = heap_give_usual(mine, pointer, &entry, &word);
    return r == REMOTE_SELDOM ? heap_give_seldom(mine, pointer, entry, word) : r == REMOTE_GIVEN;
}

KMEM_LINE void kmem__heap_give_remote_or(void *pointer, void (*otherwise)(void *block))
{
    struct heap *mine = kmem__heap_mine;
    struct ledger_entry *entry;
    uint64_t word = 0;
    const int r = heap_give_usual(mine, pointer, &entry, &word);
    if (KMEM_UNLIKELY(r == REMOTE_SELDOM)) {
        heap_give_seldom_or(mine, pointer, entry, word, otherwise);
    } else if (KMEM_UNLIKELY(r != REMOTE_GIVEN)) {
        otherwise(pointer);
    }
}

void kmem__heap_leave_page(const struct allocator *allocator, struct seg_off offset)
{
    struct page_note *note = &allocator->notes[offset.bytes >> PAGE_SHIFT];
    if (kmem__note_heap(note) != 0) { /* its owner has not found out */
        /* No block begins in the page: nothing is less than 0. Relaxed: who is handed the new
           block's pointer sees it; and the note is written anew with the next slab. */
        __atomic_store_n(&note->reciprocal, 0, __ATOMIC_RELAXED);
    }
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

/* A slab stays without other processes' bytes when a block of it is back that another wrote. */
static void heap_clear_foreign(const struct allocator *allocator, const struct found *found)
{
    const uint32_t size_class = allocator->ledger.heads[found->block.page].size_class;
    memset(allocator->base + found->offset.bytes, 0, size_classes[size_class].block_bytes);
}

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
    if (was_written && kmem__note_heap(&allocator->notes[found.block.page]) != 0) {
        heap_clear_foreign(allocator, &found);
    }
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
