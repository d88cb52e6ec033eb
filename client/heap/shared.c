/* SPDX-License-Identifier: MIT */
#include "client/heap/shared.h"

#include "proto/crash_point.h"

int kmem__shared_mark(struct allocator *allocator, struct seg_off offset, struct found *ret_found,
                      bool *ret_was)
{
    const int r = kmem__heap_find(allocator, offset, ret_found);
    if (r != HEAP_OK) {
        return r;
    }
    struct ledger_entry *entry = ret_found->block.entry;
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    *ret_was = entry_is_shared(word);
    if (*ret_was) {
        return HEAP_OK;
    }
    store_prepare_u32(&entry->holder, SHARED_HERE);
    /* Before: a release is this process's own business. After: the server is asked. A thread that
       releases the block meanwhile has released what is being shared: it was first. */
    do {
        if (!entry_is_private(word)) {
            return HEAP_E_RELEASED;
        }
    } while (!atomic_compare_exchange_weak_explicit(&entry->word, &word, word | ENTRY_SHARED,
                                                    memory_order_acq_rel, memory_order_relaxed));
    KMEM_CRASH_POINT("client.share.marked");
    return HEAP_OK;
}

void kmem__shared_unmark(const struct found *found)
{
    /* Relaxed: as kmem__heap_find(); no other thread has the block. */
    (void)atomic_fetch_and_explicit(&found->block.entry->word, ~ENTRY_SHARED, memory_order_relaxed);
}

bool kmem__shared_set(struct allocator *allocator, struct seg_off offset, uint32_t where)
{
    struct found found;
    if (kmem__heap_find(allocator, offset, &found) != HEAP_OK || !found.is_shared) {
        return false;
    }
    atomic_store_explicit(&found.block.entry->holder, where, memory_order_release);
    return true;
}
