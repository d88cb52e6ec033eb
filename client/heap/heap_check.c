/* SPDX-License-Identifier: MIT */
/*
 * What is done with all bins of a heap at once: put back what is ready, and count everything anew.
 */
#include "client/heap/heap.h"
#include "client/heap/remote.h"
#include "client/heap/slab.h"

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
    kmem__lease_cache_tell(&heap->allocator->cache, &heap->kept);
    return n_blocks > 0;
}

static uint32_t bin_count_ready(const struct heap *heap, const struct bin *bin, uint32_t page)
{
    uint32_t n_ready = 0;
    for (uint32_t i = 0; i < kmem__bin_n_ready(bin); i++) {
        n_ready += kmem__bin_block(heap, bin, &bin->magazine[i]).page == page;
    }
    return n_ready;
}

/* In the magazines of all heaps. */
static uint32_t slab_count_ready(const struct allocator *allocator, uint32_t size_class,
                                 uint32_t page)
{
    uint32_t n_ready = 0;
    for (uint32_t id = 1; id <= allocator->heaps.n_ids; id++) {
        const struct heap *heap = kmem__allocator_heap(allocator, id);
        n_ready += bin_count_ready(heap, &heap->bins[size_class], page);
    }
    return n_ready;
}

static bool slab_adds_up(const struct heap *heap, const struct bin *bin, uint32_t page,
                         bool has_room)
{
    const struct allocator *allocator = heap->allocator;
    const struct ledger_head *head = &heap->heads[page];
    const struct ledger_entry *entries = kmem__bin_entries(bin, page);
    uint32_t n_used = slab_count_ready(allocator, bin->size_class, page);
    for (uint32_t i = 0; i < head->n_carved; i++) {
        n_used += entry_is_live(atomic_load_explicit(&entries[i].word, memory_order_relaxed));
    }
    uint32_t next = atomic_load_explicit(&allocator->remotes[page].pushed, memory_order_acquire);
    for (; next != 0 && n_used <= head->n_carved; n_used++) {
        next = kmem__remote_next(&entries[next - 1]);
    }
    return head->n_used == n_used && ledger_slab_is_full(head) == !has_room &&
           kmem__heap_owns(heap, page);
}

/* Whether the equations at struct bin hold, all counted anew. */
static bool bin_adds_up(const struct heap *heap, const struct bin *bin)
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

static bool heap_adds_up(const struct heap *heap)
{
    bool is_sound = true;
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        is_sound =
            is_sound && heap->bins[i].top <= heap->bins[i].end && bin_adds_up(heap, &heap->bins[i]);
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
