/* SPDX-License-Identifier: MIT */
/*
 * lease_cache.h - the process's leases: runs of pages for its heaps, most of them without a round
 * trip
 */
#ifndef CLIENT_HEAP_LEASE_CACHE_H
#define CLIENT_HEAP_LEASE_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/lease.h"
#include "proto/ledger.h"

/**
 * lend_function - asks for a lease: at least n_pages, consecutive, up to want_pages if there is
 * plenty Return: 0 and a run whose pages are FREE in the ledger; anything else: there is none to be
 * had. Called with no lock held; may wait for a round trip.
 */
typedef int (*lend_function)(void *lender, uint32_t n_pages, uint32_t want_pages,
                             struct run *ret_run);

/*
 * 64: leases lie close together, and what is adjacent is one extent. When there are more, the two
 * with the smallest gap become one; that costs a search some pages that are not ours.
 */
#define EXTENTS_MAX 64

/*
 * 17: runs of 1 to 16 pages, of which a program takes one after the other. Longer ones are looked
 * for where those of 16 may be.
 */
#define FIRSTS 17

/* Where there may be pages of ours. The states of the pages say which, at any moment. */
struct extent {
    uint32_t begin;
    uint32_t end;
    uint32_t first[FIRSTS]; /* by length: no run of so many unused pages begins before it */
    uint32_t too_long;      /* no run of this many pages was there since a page came back */
};

/*
 * 32: the runs that a program gives and takes in turns, of a handful of lengths. A run that is
 * pushed out is still found, by the search.
 */
#define RECENT_MAX 32

/* Runs given back lately, the latest last. */
struct recent {
    struct run runs[RECENT_MAX];
    uint32_t n_runs;
    uint32_t n_untold; /* in a thread's: the latest of them, which the cache was not told of */
};

/*
 *  field       written by                read by              order
 *  clock       the daemon                anybody              relaxed: a tick
 *  has_untold  a thread that keeps runs  a search that fails  release / acquire: the pages are FREE
 *  all else    who holds the lock        who holds it         the lock
 */
struct lease_cache {
    pthread_mutex_t lock;
    struct ledger *ledger;
    const _Atomic uint32_t *clock;
    lend_function lend;
    void *lender;
    struct recent recent;
    _Atomic bool has_untold;            /* a thread has given pages back and not said so */
    struct extent extents[EXTENTS_MAX]; /* by page, disjoint */
    uint32_t n_extents;
    uint32_t want_pages;         /* of the next lease */
    uint32_t leased_at;          /* the tick of the last one */
    uint32_t pause_ticks;        /* how long not to ask after the next refusal */
    uint32_t asked_at;           /* the tick of the last refusal */
    bool is_refused;             /* and none was granted since */
    _Atomic uint32_t spare_tick; /* when it was last counted anew; relaxed, all: hints */
    _Atomic uint32_t spare_told; /* what there was to spare then */
    _Atomic uint64_t spare_base; /* header->n_used_pages then */
    uint32_t refused_pages; /* the least that was refused since; less may be asked for at once */
};

/** kmem__lease_cache_init() - without a lease */
void kmem__lease_cache_init(struct lease_cache *cache, struct ledger *ledger,
                            const _Atomic uint32_t *clock, lend_function lend, void *lender);

enum {
    CACHE_OK,
    CACHE_E_NONE, /* no run, and none to be had now: let the daemon carve the block */
};

/* How a run was when it was taken. */
struct taken {
    uint32_t page;
    bool is_zero;   /* every byte is 0 */
    bool is_warm;   /* it was given back a moment ago */
    uint32_t n_own; /* pages from the first on that have no other process's byte: lease.h */
};

/**
 * kmem__lease_cache_take() - take n_pages consecutive pages into use, from a lease or a new one
 * @ret_taken:  written on success
 * Waiting: for a round trip if no lease has them. Return: 0 or CACHE_E_NONE.
 */
KMEM_MUST_USE int kmem__lease_cache_take(struct lease_cache *cache, uint32_t n_pages,
                                         struct taken *ret_taken);

/**
 * kmem__lease_cache_give() - pages are unused from now on; their head is closed
 * @n_own:  as of struct taken
 */
void kmem__lease_cache_give(struct lease_cache *cache, uint32_t page, uint32_t n_pages,
                            uint32_t n_own);

/**
 * kmem__lease_cache_take_kept() - kmem__lease_cache_take(), first of what this thread has given
 *                                 back lately, without the lock
 * @own:  the thread's
 */
KMEM_MUST_USE int kmem__lease_cache_take_kept(struct lease_cache *cache, struct recent *own,
                                              uint32_t n_pages, struct taken *ret_taken);

/**
 * kmem__lease_cache_keep() - kmem__lease_cache_give(), without the lock nearly always
 *
 * The pages are FREE: the daemon takes them back, and so does another thread that finds no others.
 */
void kmem__lease_cache_keep(struct lease_cache *cache, struct recent *own, uint32_t page,
                            uint32_t n_pages, uint32_t n_own);

/** kmem__lease_cache_tell() - a thread keeps nothing any more; searches find what it had */
void kmem__lease_cache_tell(struct lease_cache *cache, struct recent *own);

/**
 * kmem__lease_cache_give_slab() - the same for a closed slab, which the daemon may have taken
 * @is_own:  no other process's byte is in it
 */
void kmem__lease_cache_give_slab(struct lease_cache *cache, uint32_t page, uint32_t n_pages,
                                 bool is_own);

/**
 * kmem__lease_cache_is_short() - whether memory is short, or would be with n_pages more in use
 *
 * Then everything is to be tight: see daemon/core/shortage.h. A hint.
 */
bool kmem__lease_cache_is_short(struct lease_cache *cache, uint32_t n_pages);

/**
 * kmem__lease_cache_check() - extents are in order and disjoint, and every recent run lies in
 * one
 */
KMEM_MUST_USE bool kmem__lease_cache_check(struct lease_cache *cache);

#endif
