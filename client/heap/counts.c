/* SPDX-License-Identifier: MIT */
#include "client/heap/counts.h"

void kmem__counts_release_any(struct ledger_counts *counts, uint64_t n_releases)
{
    /* Relaxed: it stands alone. */
    (void)atomic_fetch_add_explicit(&counts->n_releases, n_releases, memory_order_relaxed);
}

void kmem__counts_grow(struct ledger_counts *counts, uint64_t num_bytes)
{
    /* Relaxed, all of them: two numbers that are shown. */
    const uint64_t live_bytes =
        atomic_fetch_add_explicit(&counts->live_bytes, num_bytes, memory_order_relaxed) + num_bytes;
    uint64_t peak_bytes = atomic_load_explicit(&counts->peak_bytes, memory_order_relaxed);
    while (live_bytes > peak_bytes &&
           !atomic_compare_exchange_weak_explicit(&counts->peak_bytes, &peak_bytes, live_bytes,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void kmem__counts_shrink(struct ledger_counts *counts, uint64_t num_bytes)
{
    /* Relaxed: as above. */
    (void)atomic_fetch_sub_explicit(&counts->live_bytes, num_bytes, memory_order_relaxed);
}
