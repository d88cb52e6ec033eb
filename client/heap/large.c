/* SPDX-License-Identifier: MIT */
/*
 * A large block is a run of pages with one entry, the first of its first page in plane 0. It
 * belongs to no heap: any thread releases it, by exchanging the entry's word for 0. Whoever finds
 * the word was not 0 has released it and puts the pages back; a second finds 0. The thread that
 * released it keeps the run in mind for its next block of that length: lease_cache.h.
 *
 * Order: pages USED, head open, entry written; entry retired, head closed, pages FREE.
 *
 * WHAT IS NOT CLEARED. A block may be asked for that has what this process left in it. Which pages
 * those are their states say, LEASE_OWN, and that is true of a page when all of it was the block's:
 * the bytes behind the end of a block are whoever's they were. So the last page of a block is
 * cleared, but where blocks end at a page's end. A block that another process held for writing, and
 * pages that were slabs, have none.
 */
#include "client/heap/large.h"

#include <string.h>

#include "client/heap/allocator.h"
#include "client/heap/clear.h"
#include "client/heap/counts.h"
#include "client/heap/lease_cache.h"
#include "client/tsan.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

/* The bytes of a block that are neither zero nor this process's own, or all that are not zero. */
static void large_clear(unsigned char *block, uint64_t num_bytes, const struct taken *taken,
                        bool clears)
{
    const uint64_t own_bytes = clears ? 0 : (uint64_t)taken->n_own << PAGE_SHIFT;
    if (taken->is_zero || own_bytes >= num_bytes) {
        return;
    }
    if (num_bytes - own_bytes < CLEAR_LOOP_MIN_BYTES) {
        memset(block + own_bytes, 0, num_bytes - own_bytes);
    } else {
        (void)kmem__clear(block + own_bytes, num_bytes - own_bytes, taken->is_warm);
    }
}

void *kmem__large_take(struct allocator *allocator, struct recent *own, uint64_t num_bytes,
                       uint64_t reason, bool clears)
{
    struct ledger *ledger = &allocator->ledger;
    struct taken taken;
    const uint32_t n_pages = (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
    if (kmem__lease_cache_take_kept(&allocator->cache, own, n_pages, &taken) != 0) {
        return NULL;
    }
    kmem__guard_open(allocator->guard, kmem__page_offset(taken.page),
                     (uint64_t)n_pages << PAGE_SHIFT);
    KMEM_CRASH_POINT("client.large.pages");
    ledger_large_open(ledger, taken.page, n_pages);
    KMEM_CRASH_POINT("client.large.open");
    struct ledger_entry *entry = ledger_entries(ledger, taken.page);
    (void)entry_take(&ledger->heads[taken.page], entry, num_bytes | reason,
                     kmem__allocator_tick(allocator), 0);
    KMEM_CRASH_POINT("client.large.entered");
    kmem__counts_grow(ledger->counts, num_bytes);
    unsigned char *block = allocator->base + ((uint64_t)taken.page << PAGE_SHIFT);
    if (kmem__tsan_watches()) {
        kmem__tsan_taken(block, num_bytes);
    }
    large_clear(block, num_bytes, &taken, clears);
    return block;
}

/* A large block whose entry is retired: closes it and puts its pages back. */
static void large_close(struct allocator *allocator, struct recent *own, uint32_t page,
                        uint32_t n_own)
{
    struct ledger *ledger = &allocator->ledger;
    struct ledger_head *head = &ledger->heads[page];
    const uint32_t n_pages = head->span_pages;
    KMEM_CRASH_POINT("client.large.retired");
    entry_put(head, ledger_entries(ledger, page), 0);
    ledger_slab_close(ledger, page);
    KMEM_CRASH_POINT("client.large.closed");
    if (own != NULL) {
        kmem__lease_cache_keep(&allocator->cache, own, page, n_pages, n_own);
    } else {
        kmem__lease_cache_give(&allocator->cache, page, n_pages, n_own);
    }
}

/* Acquire and release: of two that release the block, one gets its word, and all its bytes; of one
   that releases and one that shares it, the first has it. Return: 0: another thread was first. */
static uint64_t large_retire(struct ledger *ledger, uint32_t page)
{
    struct ledger_entry *entry = ledger_entries(ledger, page);
    /* Relaxed: the exchange decides. */
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    if (!entry_is_private(word) ||
        !atomic_compare_exchange_strong_explicit(&entry->word, &word, 0, memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        return 0;
    }
    kmem__counts_shrink(ledger->counts, ENTRY_NUM_BYTES(word));
    return word;
}

bool kmem__large_give(struct allocator *allocator, struct recent *own, uint32_t page, bool is_own)
{
    const uint64_t word = large_retire(&allocator->ledger, page);
    if (word == 0) {
        return false;
    }
    large_close(allocator, own, page, is_own ? (uint32_t)(ENTRY_NUM_BYTES(word) >> PAGE_SHIFT) : 0);
    return true;
}
