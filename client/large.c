/* SPDX-License-Identifier: MIT */
/*
 * A large block is a run of pages with one entry, the first of its first page in plane 0. It
 * belongs to no heap: any thread releases it, by exchanging the entry's word for 0. Whoever finds
 * the word was not 0 has released it and puts the pages back; a second finds 0. The lock of the
 * cache and that exchange cost some 60 ns, where clearing the smallest large block takes 400.
 *
 * Order: pages USED, head open, entry written; entry retired, head closed, pages FREE.
 */
#include "client/large.h"

#include "client/clear.h"
#include "client/counts.h"
#include "client/tsan.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

void *kmem__large_take(struct tenant *tenant, uint64_t num_bytes, uint64_t reason)
{
    struct ledger *ledger = &tenant->ledger;
    struct taken taken;
    const uint32_t n_pages = (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
    if (kmem__cache_take(&tenant->cache, n_pages, &taken) != 0) {
        return NULL;
    }
    kmem__guard_open(tenant->guard, kmem__page_offset(taken.page), (uint64_t)n_pages << PAGE_SHIFT);
    KMEM_CRASH_POINT("client.large.pages");
    ledger_large_open(ledger, taken.page, n_pages);
    KMEM_CRASH_POINT("client.large.open");
    struct ledger_entry *entry = ledger_entries(ledger, taken.page);
    (void)entry_take(&ledger->heads[taken.page], entry, num_bytes | reason,
                     kmem__tenant_tick(tenant), 0);
    KMEM_CRASH_POINT("client.large.entered");
    kmem__counts_grow(ledger->counts, num_bytes);
    unsigned char *block = tenant->base + ((uint64_t)taken.page << PAGE_SHIFT);
    if (kmem__tsan_watches()) {
        kmem__tsan_taken(block, num_bytes);
    }
    if (!taken.is_zero) {
        kmem__clear(block, num_bytes, taken.is_warm);
    }
    return block;
}

/* A large block whose entry is retired: closes it and puts its pages back. */
static void large_close(struct tenant *tenant, uint32_t page)
{
    struct ledger *ledger = &tenant->ledger;
    struct ledger_head *head = &ledger->heads[page];
    const uint32_t n_pages = head->span_pages;
    KMEM_CRASH_POINT("client.large.retired");
    entry_put(head, ledger_entries(ledger, page), 0);
    ledger_slab_close(ledger, page);
    KMEM_CRASH_POINT("client.large.closed");
    kmem__cache_give(&tenant->cache, page, n_pages);
}

/* Acquire and release: of two that release the block, one gets its word, and all its bytes. */
static bool large_retire(struct ledger *ledger, uint32_t page)
{
    struct ledger_entry *entry = ledger_entries(ledger, page);
    const uint64_t word = atomic_exchange_explicit(&entry->word, 0, memory_order_acq_rel);
    kmem__counts_shrink(ledger->counts, ENTRY_NUM_BYTES(word));
    return word != 0;
}

bool kmem__large_give(struct tenant *tenant, uint32_t page)
{
    if (!large_retire(&tenant->ledger, page)) {
        return false;
    }
    large_close(tenant, page);
    return true;
}

/* One page, whose large block another process may have released: there is only the first bit. */
static void large_collect_at(struct tenant *tenant, uint32_t page)
{
    struct ledger *ledger = &tenant->ledger;
    _Atomic uint64_t *bits = &ledger->outside[(uint64_t)page * OUTSIDE_WORDS];
    const uint32_t kind = atomic_load_explicit(&ledger->heads[page].kind, memory_order_acquire);
    /* Acquire: pairs with the daemon's or. */
    if (kind != HEAD_LARGE || (atomic_load_explicit(bits, memory_order_acquire) & 1) == 0) {
        return;
    }
    const bool is_ours = large_retire(ledger, page); /* else its owner was faster */
    /* Release: behind the word, as in slab.c. */
    (void)atomic_fetch_and_explicit(bits, ~UINT64_C(1), memory_order_release);
    if (is_ours) {
        kmem__counts_release_any(ledger->counts, 1);
        large_close(tenant, page);
    }
}

void kmem__large_collect(struct tenant *tenant)
{
    struct run extents[EXTENTS_MAX];
    /* Acquire: pairs with the release below. One thread at a time; the others need not wait. */
    if (atomic_exchange_explicit(&tenant->is_collecting, true, memory_order_acquire)) {
        return;
    }
    (void)pthread_mutex_lock(&tenant->cache.lock);
    const uint32_t n_extents = tenant->cache.n_extents;
    for (uint32_t i = 0; i < n_extents; i++) {
        const struct extent *extent = &tenant->cache.extents[i];
        extents[i] = (struct run){extent->begin, extent->end - extent->begin};
    }
    (void)pthread_mutex_unlock(&tenant->cache.lock);
    for (uint32_t i = 0; i < n_extents; i++) {
        const uint32_t end = extents[i].page + extents[i].n_pages;
        for (uint32_t page = extents[i].page; page < end; page++) {
            large_collect_at(tenant, page);
        }
    }
    /* Release: pairs with the acquire above. */
    atomic_store_explicit(&tenant->is_collecting, false, memory_order_release);
}
