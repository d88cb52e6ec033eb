/* SPDX-License-Identifier: MIT */
/*
 * A large block is a run of pages with one entry, the first of its first page in plane 0. It
 * belongs to no heap: any thread releases it, by exchanging the entry's word for 0. Whoever finds
 * the word was not 0 has released it and puts the pages back; a second finds 0. The lock of the
 * cache and that exchange cost some 60 ns, where clearing the smallest large block takes 400.
 *
 * Order: pages USED, head open, entry written; entry retired, head closed, pages FREE.
 */
#include "client/heap/large.h"

#include "client/heap/allocator.h"
#include "client/heap/clear.h"
#include "client/heap/counts.h"
#include "client/tsan.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

void *kmem__large_take(struct allocator *allocator, uint64_t num_bytes, uint64_t reason)
{
    struct ledger *ledger = &allocator->ledger;
    struct taken taken;
    const uint32_t n_pages = (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
    if (kmem__lease_cache_take(&allocator->cache, n_pages, &taken) != 0) {
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
    if (!taken.is_zero) {
        (void)kmem__clear(block, num_bytes, taken.is_warm);
    }
    return block;
}

/* A large block whose entry is retired: closes it and puts its pages back. */
static void large_close(struct allocator *allocator, uint32_t page)
{
    struct ledger *ledger = &allocator->ledger;
    struct ledger_head *head = &ledger->heads[page];
    const uint32_t n_pages = head->span_pages;
    KMEM_CRASH_POINT("client.large.retired");
    entry_put(head, ledger_entries(ledger, page), 0);
    ledger_slab_close(ledger, page);
    KMEM_CRASH_POINT("client.large.closed");
    kmem__lease_cache_give(&allocator->cache, page, n_pages);
}

/* Acquire and release: of two that release the block, one gets its word, and all its bytes. */
static bool large_retire(struct ledger *ledger, uint32_t page)
{
    struct ledger_entry *entry = ledger_entries(ledger, page);
    const uint64_t word = atomic_exchange_explicit(&entry->word, 0, memory_order_acq_rel);
    kmem__counts_shrink(ledger->counts, ENTRY_NUM_BYTES(word));
    return word != 0;
}

bool kmem__large_give(struct allocator *allocator, uint32_t page)
{
    if (!large_retire(&allocator->ledger, page)) {
        return false;
    }
    large_close(allocator, page);
    return true;
}
