/* SPDX-License-Identifier: MIT */
#include "client/heap/remote.h"

#include "client/heap/allocator.h"
#include "client/heap/bins.h"
#include "proto/crash_point.h"

void kmem__remote_visit(struct allocator *allocator, uint32_t page)
{
    struct heap *heap = kmem__allocator_heap(allocator, kmem__note_heap(&allocator->notes[page]));
    uint32_t next = atomic_load_explicit(&heap->visited, memory_order_relaxed);
    do {
        /* Relaxed: published by the exchange below. */
        atomic_store_explicit(&allocator->remotes[page].next, next, memory_order_relaxed);
        /* Release: pairs with kmem__slab_collect(). */
    } while (!atomic_compare_exchange_weak_explicit(&heap->visited, &next, page,
                                                    memory_order_release, memory_order_relaxed));
}

void kmem__remote_push(struct allocator *allocator, const struct remote_chain *chain)
{
    struct remote *remote = &allocator->remotes[chain->page];
    uint32_t before = atomic_load_explicit(&remote->pushed, memory_order_relaxed);
    do {
        /* Relaxed: published by the exchange below. */
        atomic_store_explicit(&chain->last->holder, before, memory_order_relaxed);
        /* Release: pairs with kmem__remote_take(); the blocks' bytes are done with. */
    } while (!atomic_compare_exchange_weak_explicit(&remote->pushed, &before, chain->first,
                                                    memory_order_release, memory_order_relaxed));
    KMEM_CRASH_POINT("client.remote.pushed");
    if (before == 0) {
        kmem__remote_visit(allocator, chain->page);
    }
}

uint32_t kmem__remote_take(struct allocator *allocator, uint32_t page)
{
    /* Acquire: pairs with kmem__remote_push(). */
    return atomic_exchange_explicit(&allocator->remotes[page].pushed, 0, memory_order_acquire);
}
