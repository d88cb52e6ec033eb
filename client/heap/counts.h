/* SPDX-License-Identifier: MIT */
/*
 * counts.h - what this process counts of its blocks for those who ask the server: proto/counts.h
 */
#ifndef CLIENT_HEAP_COUNTS_H
#define CLIENT_HEAP_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/counts.h"

/** kmem__counts_note() - one more of what any thread may count */
static inline void kmem__counts_note(_Atomic uint64_t *count)
{
    /* Relaxed: it stands alone. */
    (void)atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

/**
 * kmem__counts_release() - one more release, by the thread whose place it is
 * Return: whether the block's lifetime is to be noted: kmem__heap_note_lifetime().
 */
static inline bool kmem__counts_release(struct thread_counts *counts)
{
    return counts->n_releases++ == counts->noted_at;
}

/** kmem__counts_is_due() - whether the next release's block's lifetime is to be noted */
static inline bool kmem__counts_is_due(const struct thread_counts *counts)
{
    return counts->n_releases == counts->noted_at;
}

/** kmem__counts_release_any() - n releases by threads without a place */
void kmem__counts_release_any(struct ledger_counts *counts, uint64_t n_releases);

/** kmem__counts_grow() - there are num_bytes more of live blocks */
void kmem__counts_grow(struct ledger_counts *counts, uint64_t num_bytes);

/** kmem__counts_shrink() - there are num_bytes less */
void kmem__counts_shrink(struct ledger_counts *counts, uint64_t num_bytes);

#endif
