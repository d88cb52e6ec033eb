/* SPDX-License-Identifier: MIT */
/*
 * allocator.h - what a process holds by lease, and everything that carves it up
 */
#ifndef CLIENT_HEAP_ALLOCATOR_H
#define CLIENT_HEAP_ALLOCATOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "client/heap/hot.h"
#include "client/heap/intern.h"
#include "client/heap/lease_cache.h"
#include "client/heap/lifetimes.h"
#include "client/link/notice.h"
#include "client/link/welcome.h"
#include "client/map/holds.h"
#include "client/map/segment.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

struct heap;
struct page_note;
struct remote;

/*
 * Heaps are numbered from 1; the number stands in 16 bits of each slab's head. 65,535 threads at a
 * time; those beyond have direct blocks.
 */
#define HEAPS_MAX UINT32_C(65536)

/* The heaps of a process. A heap is one thread's, or nobody's and then in `abandoned`. */
struct heaps {
    pthread_mutex_t lock;
    _Atomic(struct heap *) *by_id; /* HEAPS_MAX of them; written once each, under the lock */
    uint32_t n_ids;                /* heaps have the numbers 1 to n_ids */
    struct heap *abandoned;        /* through heap.next_abandoned */
    _Atomic uint32_t n_abandoned;  /* written under the lock; read without it as a hint */
};

/*
 * All zero: there is none. It lives in memory that is wiped in a forked child, who holds nothing by
 * lease until it joins. What it points at is not mapped in the child.
 */
struct allocator {
    unsigned char *base; /* the segment */
    struct guard *guard; /* the segment's */
    uint64_t num_bytes;  /* of its mapping: what it may have */
    struct ledger ledger;
    void *ledger_at; /* the mappings of the ledger and the clock; NULL: somebody else's */
    uint64_t ledger_bytes;
    void *clock_at;
    const _Atomic uint32_t *clock; /* first in a struct notice */
    struct notice_file notice;
    struct lease_cache cache;
    struct intern intern;
    struct lifetime_notes lifetimes;
    struct hot hot;
    struct heaps heaps;
    struct holds holds;            /* of shared blocks, leased or not */
    struct holds directs;          /* direct blocks, if a child is to have them: see inherit.h */
    uint64_t epoch;                /* another number for each membership: see site.h */
    struct page_note *notes;       /* by page: see bins.h */
    struct remote *remotes;        /* by page: see bins.h */
    _Atomic uint32_t hush_tick;    /* when lease_hush() was tried last; relaxed */
    _Atomic uint32_t n_slab_pages; /* of open slabs; relaxed: see slab_is_sparse() */
    _Atomic bool wants_own;        /* slabs are to have no other process's byte; relaxed */
    _Atomic bool is_taking;        /* a thread takes what has come home; acquire / release */
    _Atomic bool was_refused;      /* the last direct block, for want of room; relaxed */
    _Atomic bool is_tight;         /* a quota gets used up; relaxed: a hint */
};

/**
 * kmem__allocator_init() - begin to carve leases
 * @allocator:   all zero
 * @segment:  its mapping
 * @ledger:   attached; nothing is in it
 * @clock:    the daemon's tick
 * @lend:     asks for a lease
 *
 * Return: 0 or -ENOMEM; then kmem__allocator_fini() is still due.
 */
KMEM_MUST_USE int kmem__allocator_init(struct allocator *allocator, const struct segment *segment,
                                       const struct ledger *ledger, const _Atomic uint32_t *clock,
                                       lend_function lend, void *lender);

/**
 * kmem__allocator_open() - kmem__allocator_init() with the ledger and the clock that a daemon
 * handed over
 * @welcome:  its descriptors stay the caller's, but that of the clock if there is a allocator then
 * @segment:  its mapping
 * @failure:  receives the sentence
 *
 * Return: 0; -EPROTO if a descriptor is not what it should be; another negative errno if it can not
 * be mapped. Then allocator is all zero again.
 */
KMEM_MUST_USE int kmem__allocator_open(struct allocator *allocator, struct welcome *welcome,
                                       const struct segment *segment, lend_function lend,
                                       void *lender, struct failure *failure);

/**
 * kmem__allocator_fini() - forget every lease and every heap; no thread is in a call of the library
 *
 * The heaps of threads that go on stay where they are, empty, for the threads point at them.
 */
void kmem__allocator_fini(struct allocator *allocator);

/** kmem__allocator_heap() - a heap by its number, which some slab's head has */
static inline struct heap *kmem__allocator_heap(const struct allocator *allocator, uint32_t id)
{
    /* Acquire: pairs with the registration; the heap is complete. */
    return atomic_load_explicit(&allocator->heaps.by_id[id], memory_order_acquire);
}

/** kmem__allocator_is_fenced() - whether the daemon takes back slabs of this process by itself */
static inline bool kmem__allocator_is_fenced(const struct allocator *allocator)
{
    /* Relaxed: written once, before the first block. */
    return atomic_load_explicit(&allocator->ledger.header->is_fenced, memory_order_relaxed) == 1;
}

/** kmem__allocator_is_tight() - whether a quota gets used up, by the last answer */
static inline bool kmem__allocator_is_tight(const struct allocator *allocator)
{
    return atomic_load_explicit(&allocator->is_tight, memory_order_relaxed); /* Relaxed: a hint. */
}

static inline void kmem__allocator_set_tight(struct allocator *allocator, bool is_tight)
{
    atomic_store_explicit(&allocator->is_tight, is_tight, memory_order_relaxed); /* As above. */
}

/** kmem__allocator_size() - what the segment has now, of the num_bytes that are mapped */
uint64_t kmem__allocator_size(const struct allocator *allocator);

/** kmem__allocator_tick() - the daemon's clock */
static inline uint32_t kmem__allocator_tick(const struct allocator *allocator)
{
    return notice_tick(allocator->clock);
}

#endif
