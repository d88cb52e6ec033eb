/* SPDX-License-Identifier: MIT */
#include "client/heap/hot.h"

#include <stdatomic.h>

/* In place of a size. */
#define HOT UINT64_MAX
/* Beside the size that was wanted last: another of the class was wanted before. */
#define HOT_SECOND (UINT64_C(1) << 63)

static uint32_t hot_class_of(uint64_t num_bytes)
{
    if (num_bytes <= SMALL_MAX_BYTES) {
        return size_class_of((uint32_t)num_bytes);
    }
    const uint32_t log2 = 63 - (uint32_t)__builtin_clzll(num_bytes - 1);
    return N_SIZE_CLASSES + log2 - 16;
}

bool kmem__hot_ask(struct hot *hot, uint64_t num_bytes)
{
    if (hot->is_eager && num_bytes <= HOT_EAGER_BYTES) {
        return true;
    }
    const uint32_t hot_class = hot_class_of(num_bytes);
    KMEM_ASSERT(hot_class < N_HOT_CLASSES);
    _Atomic uint64_t *wanted = &hot->wanted[hot_class];
    /* Relaxed, all: what is seen a little late makes one block more direct. */
    const uint64_t before = atomic_load_explicit(wanted, memory_order_relaxed);
    if (KMEM_LIKELY(before == HOT)) {
        return true;
    }
    const bool is_hot = before == num_bytes || (before & HOT_SECOND) != 0;
    const uint64_t after = is_hot ? HOT : before == 0 ? num_bytes : num_bytes | HOT_SECOND;
    atomic_store_explicit(wanted, after, memory_order_relaxed);
    return is_hot;
}

void kmem__hot_note(struct hot *hot, uint64_t num_bytes)
{
    const bool was_hot = kmem__hot_ask(hot, num_bytes);
    (void)was_hot; /* it is all the same now */
}
