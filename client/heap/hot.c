/* SPDX-License-Identifier: MIT */
#include "client/heap/hot.h"

#include <stdatomic.h>

static uint32_t hot_class_of(uint64_t num_bytes)
{
    if (num_bytes <= SMALL_MAX_BYTES) {
        return size_class_of((uint32_t)num_bytes);
    }
    const uint32_t log2 = 63 - (uint32_t)__builtin_clzll(num_bytes - 1);
    return N_SIZE_CLASSES + log2 - 16;
}

bool kmem__hot_count(struct hot *hot, uint64_t num_bytes)
{
    const uint32_t hot_class = hot_class_of(num_bytes);
    const uint32_t enough = hot_class < N_SIZE_CLASSES ? HOT_AFTER : HOT_AFTER_LARGE;
    KMEM_ASSERT(hot_class < N_HOT_CLASSES);
    _Atomic uint32_t *n_wanted = &hot->n_wanted[hot_class];
    /* Relaxed: a count that is a little late makes one block more direct. It stops at `enough`. */
    if (atomic_load_explicit(n_wanted, memory_order_relaxed) >= enough) {
        return true;
    }
    (void)atomic_fetch_add_explicit(n_wanted, 1, memory_order_relaxed);
    return false;
}
