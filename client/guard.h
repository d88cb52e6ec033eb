/* SPDX-License-Identifier: MIT */
/*
 * guard.h - what of the segment this process can touch: its own blocks and leases, and little else
 *
 * The segment is mapped without any access; what the process leases or is given is opened. A wild
 * pointer then hits its culprit, with SIGSEGV, and not somebody else's bytes. It guards against
 * mistakes, not against malice: whoever has the descriptor can map all of it.
 *
 * Access is opened and closed by granules. On a segment of 2 MiB pages a granule is one of them:
 * smaller ones would split the mapping into 4 KiB pages, which costs 10 us for each that is
 * touched. Otherwise it is a page of the segment. The daemon says which: Welcome.granule_bytes.
 *
 *      a granule is open  <=  a page of it is FREE or USED in the ledger and has been taken,
 *                             or a direct block of this process is in it
 *
 * "<=" and not "<=>": a granule whose pages were revoked stays open until kmem__guard_sweep().
 *
 *  field     written by                        read by           order
 *  open      any thread: sets; sweep: clears   any thread        release / acquire
 *  n_direct  who has the connection            who has it        the connection's lock
 *  all else  kmem__guard_init()                any thread        before the segment is published
 */
#ifndef CLIENT_GUARD_H
#define CLIENT_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/ledger.h"

/** kmem__page_offset() - where a page begins */
static inline struct seg_off kmem__page_offset(uint32_t page)
{
    return (struct seg_off){(uint64_t)page << PAGE_SHIFT};
}

/* All zero: everything is open, and stays so. */
struct guard {
    unsigned char *base;
    uint64_t num_bytes;
    uint32_t granule_shift;
    uint32_t n_granules;
    _Atomic uint64_t *open; /* a bit for each granule; NULL: everything is open */
    uint32_t *n_direct;     /* direct blocks in each granule */
};

/**
 * kmem__guard_init() - begin with everything closed
 * @guard:          all zero
 * @base:           a mapping of num_bytes without access
 * @granule_bytes:  a power of two, PAGE_BYTES at least
 *
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int kmem__guard_init(struct guard *guard, unsigned char *base, uint64_t num_bytes,
                                   uint64_t granule_bytes);

/** kmem__guard_fini() - access stays as it is */
void kmem__guard_fini(struct guard *guard);

/**
 * kmem__guard_open() - let this process touch [offset, offset + num_bytes); any thread
 *
 * If the kernel refuses because the mapping is in too many pieces, everything is opened.
 */
void kmem__guard_open(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/** kmem__guard_add_direct() - a direct block is this process's: open it, and keep it open */
void kmem__guard_add_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/** kmem__guard_drop_direct() - it is not any more; num_bytes 0: unknown, it stays open */
void kmem__guard_drop_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/**
 * kmem__guard_sweep() - close what is open and not this process's any more
 * @states:  of its ledger
 *
 * Called with the connection, before a lease is asked for: no page can become this process's
 * meanwhile, because pages are granted in answer to requests only.
 */
void kmem__guard_sweep(struct guard *guard, const _Atomic uint64_t *states);

/** kmem__guard_keep() - in a forked child: what the parent had open stays open for ever */
void kmem__guard_keep(struct guard *guard);

/** kmem__guard_is_open() - whether the granule of an offset is open */
bool kmem__guard_is_open(const struct guard *guard, struct seg_off offset);

#endif
