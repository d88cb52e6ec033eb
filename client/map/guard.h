/* SPDX-License-Identifier: MIT */
/*
 * guard.h - what of the segment this process can touch: its own blocks and leases, and little else
 *
 * The segment is mapped without any access; what the process leases or is given is opened. A wild
 * pointer then hits its culprit, with SIGSEGV, and not another's bytes. It guards against
 * mistakes, not against malice: a process that has the descriptor can map all of it.
 *
 * Access is opened and closed by granules. On a segment of 2 MiB pages a granule is one of them:
 * smaller ones would split the mapping into 4 KiB pages, which costs 10 us for each that is
 * touched. Otherwise it is a page of the segment. The daemon says which: Welcome.granule_bytes.
 *
 *      a granule is open      <=  a page of it is FREE or USED in the ledger and has been taken,
 *                                 or a direct block of this process is in it, or one that it has
 *                                 attached for writing
 *      a granule is readable  <=  it is not open, and a block is in it that this process has
 *                                 attached for reading
 *
 * "<=" and not "<=>": a granule whose pages were revoked stays open until a sweep closes it, and
 * what lies between two pieces is opened with them when there are too many.
 *
 *      piece      granules that are open, consecutive, with a closed one or none on either side
 *      mappings   at most 2 * n_pieces + 1 of the process's, of which the kernel allows 65,530,
 *                 and two more for each stretch that is readable
 *
 *      n_pieces <= max_pieces <= GUARD_PIECES_MAX        between two calls: kmem__guard_check()
 *      n_stretches <= GUARD_STRETCHES_MAX                of readable granules; more are opened
 *
 *  field       written by                        read by          order
 *  open        the lock's holder                 any thread       release / acquire
 *  readable, n_stretches, n_pieces, max_pieces, swept
 *              the lock's holder                 likewise         the lock
 *  n_direct, n_reads, n_closable
 *              the connection's holder           likewise         the connection's lock
 *  all else    kmem__guard_init()                any thread       before the segment is published
 */
#ifndef CLIENT_MAP_GUARD_H
#define CLIENT_MAP_GUARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/ledger.h"

/*
 * 511: 1,023 mappings, 1.6 % of what Linux allows by default; the rest stays the program's. Fewer
 * would open what lies between the leases of programs that merely have many; more would protect a
 * little more exactly where pages are scattered, and cost the kernel a longer tree.
 */
#define GUARD_PIECES_MAX 511

/*
 * 16: a sweep takes 30 us at most, as long as the round trip of the lease that it comes before.
 * Fewer let what was revoked stay open for longer; no lease can be revoked in more pieces than it
 * has pages, so what was revoked is caught up with.
 */
#define GUARD_SWEEP_CALLS_MAX 16

/*
 * 65,536 pages, 1 GiB: eight are looked at in one step, so that this takes 15 us; a larger segment
 * takes several sweeps. Of stretches that could be closed a sweep looks at no more than 256, for
 * where there are pieces enough most may not be.
 */
#define GUARD_SWEEP_PAGES 65536
#define GUARD_SWEEP_STRETCHES_MAX 256

/* 255: as GUARD_PIECES_MAX, for a process that reads what others have scattered. */
#define GUARD_STRETCHES_MAX 255

/* 64: a sweep for each 64 blocks that were let go of, by a process that asks for no leases. */
#define GUARD_CLOSABLE_MAX 64

/** kmem__page_offset() - where a page begins */
static inline struct seg_off kmem__page_offset(uint32_t page)
{
    return (struct seg_off){(uint64_t)page << PAGE_SHIFT};
}

/* All zero: everything is open, and stays so. */
struct guard {
    bool reads_only; /* the file can not be written: what is open is open for reading */
    bool is_off;     /* access stays as it is; that something is open is only noted */
    bool dumps_open; /* what is open for writing is in cores; what is not has been left out */
    unsigned char *base;
    uint64_t num_bytes;
    uint32_t granule_shift;
    uint32_t n_granules;
    _Atomic uint64_t *open;     /* a bit for each granule; NULL: everything is open */
    uint32_t *n_direct;         /* in each granule: direct blocks, and those attached for writing */
    _Atomic uint64_t *readable; /* a bit for each granule: it can be read, and not written */
    uint32_t *n_reads;          /* in each granule: blocks attached for reading */
    uint32_t n_stretches;       /* of readable granules */
    uint32_t n_closable;        /* so many blocks were let go of since the last sweep */
    pthread_mutex_t lock;
    uint32_t n_pieces;
    uint32_t max_pieces; /* halved each time that the kernel refuses to split the mapping */
    uint32_t swept;      /* the granule at which the next sweep begins */
};

/**
 * kmem__guard_init() - begin with everything closed
 * @guard:          all zero
 * @base:           a mapping of num_bytes without access
 * @granule_bytes:  a power of two, PAGE_BYTES at least
 * @reads_only:     it can not be made writable: "open" means readable
 *
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int kmem__guard_init(struct guard *guard, unsigned char *base, uint64_t num_bytes,
                                   uint64_t granule_bytes, bool reads_only);

/** kmem__guard_fini() - access stays as it is */
void kmem__guard_fini(struct guard *guard);

/**
 * kmem__guard_open() - let this process touch [offset, offset + num_bytes); any thread
 *
 * At most two calls of mprotect(): if there are more pieces than max_pieces then, the narrowest gap
 * between two of them is opened as well. If the kernel refuses, because the process has no mapping
 * left, everything is opened and max_pieces is halved.
 */
void kmem__guard_open(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/** kmem__guard_add_direct() - a direct block is this process's: open it, and keep it open */
void kmem__guard_add_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/** kmem__guard_drop_direct() - it is not any more; num_bytes 0: unknown, it stays open */
void kmem__guard_drop_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/**
 * kmem__guard_add_reader() - a block is attached for reading: let this process read it
 * @states:  of its ledger
 *
 * With the connection. What is open, and nothing of this process is in it, can not be written
 * any more. Return: whether all of the block can be read and not written.
 */
bool kmem__guard_add_reader(struct guard *guard, struct seg_off offset, uint64_t num_bytes,
                            const _Atomic uint64_t *states);

/** kmem__guard_drop_reader() - it is let go of; it can be read until a sweep */
void kmem__guard_drop_reader(struct guard *guard, struct seg_off offset, uint64_t num_bytes);

/** kmem__guard_wants_sweep() - whether so much was let go of that a sweep is due */
bool kmem__guard_wants_sweep(const struct guard *guard);

/**
 * kmem__guard_sweep() - close what is open and not this process's any more
 * @states:  of its ledger
 *
 * Called with the connection, before a lease is asked for: no page can become this process's
 * meanwhile, because pages are granted in answer to requests only. Goes on where the last sweep
 * ended, looks at GUARD_SWEEP_PAGES and closes at most GUARD_SWEEP_CALLS_MAX stretches; never one
 * that would make a piece too many.
 */
void kmem__guard_sweep(struct guard *guard, const _Atomic uint64_t *states);

/** kmem__guard_keep() - in a forked child: what the parent had open stays open for ever */
void kmem__guard_keep(struct guard *guard);

/** kmem__guard_next_open() - the first page from `page` on that may be open, if any */
uint32_t kmem__guard_next_open(const struct guard *guard, uint32_t page);

/** kmem__guard_hold() - nothing is closed until kmem__guard_let_go(), by the same thread */
void kmem__guard_hold(struct guard *guard);

/** kmem__guard_let_go() - it may be, again */
void kmem__guard_let_go(struct guard *guard);

/** kmem__guard_is_open() - whether the granule of an offset is open */
bool kmem__guard_is_open(const struct guard *guard, struct seg_off offset);

/** kmem__guard_check() - n_pieces is what `open` says, and no more than max_pieces */
KMEM_MUST_USE bool kmem__guard_check(const struct guard *guard);

#endif
