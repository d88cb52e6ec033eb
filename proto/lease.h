/* SPDX-License-Identifier: MIT */
/*
 * lease.h - the states of leased pages: what client and daemon do to each other without speaking
 *
 *              grant (daemon)            take (client, CAS)
 *      NONE ------------------> FREE -----------------------> USED
 *        ^                     |    ^                           |
 *        |   revoke            |    |   give (client)           |
 *        |   (daemon, CAS)     v    +---------------------------+
 *        +------------------ REVOKED
 *            forget (daemon)
 *
 * A client takes a page out of its lease by changing FREE to USED, and the daemon takes one back by
 * changing FREE to REVOKED. Both change whole words by compare-and-swap, so one of them gets each
 * page, whether the other is awake, stopped or dead. Neither waits for the other. The daemon's own
 * table, not this, says who has been given a page; a client that writes nonsense here can only
 * spoil its own leases: the daemon takes back what it finds FREE and nothing else.
 *
 *  state    written by                       who may use the page
 *  NONE     daemon: forget                   nobody in this client
 *  FREE     daemon: grant; client: give      nobody; either side may take it
 *  USED     client: take                     the client
 *  REVOKED  daemon: revoke                   nobody; on its way back to the daemon's table
 *
 * With FREE may stand LEASE_ZERO: every byte of the page is 0. The client loses that by taking it.
 *
 * Or LEASE_OWN: the client gave the page back, and every byte of it is what this client left there,
 * or 0. It is lost by taking the page, and by any grant, so that a page that was another's
 * meanwhile does not have it, whichever thread finds it first.
 *
 * SLABS WITHOUT A LIVE BLOCK. Pages in use may hold nothing but blocks that a sleeping thread keeps
 * ready. The daemon takes such a slab back too, by what stands in its entries, and the client finds
 * out when it hands out one of these blocks:
 *
 *      client, allocating             daemon, short of memory
 *      ------------------             -----------------------
 *      entry.word = size, reason      USED|SLAB -> USED|SLAB|ASKED    every page of the slab
 *      (compiler barrier)             asked |= LEASE_MARK
 *      asked & LEASE_MARK?            membarrier()                    in every running client
 *        no:  the block is live       every entry free?
 *        yes: kmem__slab_keep()         yes: first page -> REVOKED|STALE by compare-and-swap
 *                                       no:  ASKED is taken away again
 *
 * Either the client's load sees `asked` or the daemon's read sees the entry: membarrier() is the
 * store barrier that the client leaves out. A client that sees it looks at the page. If that is
 * ASKED the client takes ASKED away from the slab's first page by compare-and-swap and keeps its
 * block, so it waits for nothing; the daemon's compare-and-swap of that page decides, for all pages
 * of the slab. A client that finds its slab REVOKED withdraws the entry and forgets the slab. A
 * server that is killed between two pages of a slab leaves the rest of them ASKED. The next one
 * takes them: INTERIOR pages behind one that is REVOKED|STALE are of the same slab.
 *
 * STALE is what keeps the two apart afterwards: the pages are others' now, and may come back to
 * this client by another lease, while one of its threads still has blocks of the slab on its
 * lists. A page with STALE is not taken by this client, and the daemon does not grant it to this
 * client. The thread that has forgotten the slab removes it.
 *
 * `asked` is one word of the ledger, so that an allocation looks at one place, whatever it hands
 * out: all bits of its lower half are set if a page may be ASKED or STALE, and none else; the upper
 * half counts how often the daemon has set them. The client clears the lower half by
 * compare-and-swap when it has seen that no page is: lease_hush(). All bits, so that an allocation
 * looks at mark and clock in one comparison.
 *
 * `given` counts how often the client has made pages FREE, so that the daemon, when it finds no
 * room, looks only at clients that have given something back since it looked last.
 *
 * Eight pages share a 64-bit word, so that a block of 8 MiB is taken with 64 compare-and-swaps
 * (about 0.4 us where clearing it takes 60 to 250) and not with 512.
 */
#ifndef PROTO_LEASE_H
#define PROTO_LEASE_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

enum lease_state {
    LEASE_NONE = 0,
    LEASE_FREE = 1,
    LEASE_USED = 2,
    LEASE_REVOKED = 3,
    LEASE_STATE_MASK = 3,
    LEASE_ZERO = 4,   /* with FREE: the page is all zero */
    LEASE_SLAB = 8,   /* with USED: the page is of an open slab, whose entries say what is live */
    LEASE_ASKED = 16, /* with USED and SLAB: the daemon is about to read the entries */
    LEASE_STALE = 32, /* a thread of the client still has blocks of a slab that was here */
    LEASE_INTERIOR = 64, /* with USED and SLAB: not the first page of its slab */
    LEASE_OWN = 128,     /* with FREE: no other client's byte is in the page */
};

/* Part of the layout: another number for other states, or another meaning of one or of `asked`. */
#define LEASE_PROTOCOL 4

/* A page of an open slab, which the daemon has not asked for. */
#define LEASE_OPEN ((uint32_t)LEASE_USED | (uint32_t)LEASE_SLAB)
/* A page of a slab that the daemon has taken. */
#define LEASE_TAKEN ((uint32_t)LEASE_REVOKED | (uint32_t)LEASE_STALE)

/* The lower half of `asked`, when it is set. */
#define LEASE_MARK UINT32_MAX

#define LEASE_PAGES_PER_WORD 8

/* `asked` stands in the cache line before the states, `given` in the one before that: it is written
   by threads that give pages back, and the other is read by every allocation. */
#define LEASE_ASKED_BEFORE_BYTES 64
#define LEASE_GIVEN_BEFORE_BYTES 128

/* Consecutive pages of a lease. */
struct run {
    uint32_t page;
    uint32_t n_pages; /* 0: no run */
};

/** lease_state_of() - one page's state; the other side may change it at any time */
static inline uint32_t lease_state_of(const _Atomic uint64_t *states, uint32_t page)
{
    /* Relaxed: a hint, or followed by a compare-and-swap. */
    const uint64_t word =
        atomic_load_explicit(&states[page / LEASE_PAGES_PER_WORD], memory_order_relaxed);
    return (uint32_t)(word >> (page % LEASE_PAGES_PER_WORD * 8)) & 7;
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a page's state is a byte of its word");

/** lease_flags_of() - one page's state with everything that stands beside it */
static inline uint32_t lease_flags_of(const _Atomic uint64_t *states, uint32_t page)
{
    /* Relaxed: as above; the fast path of an allocation has a reason of its own. */
    return atomic_load_explicit((const _Atomic uint8_t *)(const void *)states + page,
                                memory_order_relaxed);
}

/* --------------------------------------------------------------------------------- daemon ---- */

/** lease_grant() - n_pages that the daemon's table gives to this client may be taken */
void lease_grant(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, bool zero);

/**
 * lease_revoke() - take back the first unused pages in a range of a client's lease
 * @page, @end:   the range; on return *page is the first page that was revoked
 * Return: how many consecutive pages were changed from FREE to REVOKED, at most a word's eight;
 * 0: none is FREE.
 */
KMEM_MUST_USE uint32_t lease_revoke(_Atomic uint64_t *states, uint32_t *page, uint32_t end);

/** lease_forget() - pages that were revoked are in the daemon's table as free: NONE */
void lease_forget(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_ask() - say that the daemon is about to look whether the slab of n_pages has a live block
 * Return: false, and nothing is changed, if these are not pages of an open slab.
 */
KMEM_MUST_USE bool lease_ask(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_announce() - the daemon has asked: from now on allocations look at their page
 *
 * After lease_ask() and before membarrier(): the client may have gone back to silence meanwhile.
 */
void lease_announce(_Atomic uint64_t *states);

/** lease_unask() - it has one, or can not be looked at */
void lease_unask(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_seize() - it has none: take its pages, which were asked for
 * Return: how many from `page` on are REVOKED now; 0: the client has kept the slab.
 */
KMEM_MUST_USE uint32_t lease_seize(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_settle() - after a restart: end what the server before was about in a range of pages
 *
 * A slab whose first page it had taken is taken whole; no other is asked for any more.
 */
void lease_settle(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/** lease_has_stale() - whether a page of a range has STALE, so that the client can not take it */
KMEM_MUST_USE bool lease_has_stale(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_find_fresh() - the first n_pages consecutive pages in a range without STALE
 * Return: false: there are none.
 */
KMEM_MUST_USE bool lease_find_fresh(const _Atomic uint64_t *states, uint32_t begin, uint32_t end,
                                    uint32_t n_pages, uint32_t *ret_page);

/** lease_count_free() - how many pages of a range are unused now */
uint32_t lease_count_free(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_n_given() - how often the client has made pages FREE
 *
 * While that does not change there are no other FREE pages than before: the daemon need not look
 * for some. A client that does not count hides pages from it, which it could as well use.
 */
uint64_t lease_n_given(const _Atomic uint64_t *states);

/**
 * lease_stretch() - how many pages from `page` on, at most n_pages, are unused, or are not
 * @ret_unused:  whether they are FREE
 */
uint32_t lease_stretch(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages,
                       bool *ret_unused);

/** lease_all_used() - whether the client says that all pages of a range are in use */
bool lease_all_used(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/* --------------------------------------------------------------------------------- client ---- */

/** lease_has_any() - whether a page of a range is the client's, in use or not */
bool lease_has_any(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_mask() - which of up to 64 pages are the client's, in use or not: a bit for each
 * @page:  a multiple of 8
 */
uint64_t lease_mask(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_take() - use n_pages from `page` on, all or none
 * @ret_zero:  whether every byte of them is 0
 * Return: false if one of them was not FREE: revoked, in use, or never granted.
 */
KMEM_MUST_USE bool lease_take(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages,
                              bool *ret_zero);

/**
 * lease_take_own() - lease_take() for who can use what the client itself left in the pages
 * @ret_n_own:  how many of them, from `page` on, had LEASE_OWN
 */
KMEM_MUST_USE bool lease_take_own(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages,
                                  bool *ret_zero, uint32_t *ret_n_own);

/** lease_open_slab() - n_pages in use are a slab, whose entries say what is live */
void lease_open_slab(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/** lease_mark() - LEASE_MARK if a page may be ASKED or STALE, else 0 */
static inline uint32_t lease_mark(const _Atomic uint64_t *asked)
{
    /* Relaxed: pairs with lease_announce(), before membarrier(). The lower half is all of it. */
    return atomic_load_explicit((const _Atomic uint32_t *)(const void *)asked,
                                memory_order_relaxed);
}

/** lease_is_announced() - whether a page may be ASKED or STALE */
static inline bool lease_is_announced(const _Atomic uint64_t *asked)
{
    return lease_mark(asked) != 0;
}

/**
 * lease_hush() - if no page is ASKED or STALE, say so: allocations need not look any more
 *
 * From any thread. A question that comes meanwhile is not lost: it changes the count.
 */
bool lease_hush(_Atomic uint64_t *states, uint32_t n_pages);

/**
 * lease_keep() - a block of the slab is live: the daemon may not take it
 * Return: false: it has taken it.
 */
KMEM_MUST_USE bool lease_keep(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_close_slab() - the slab is on no list of any thread: its pages are unused from now on
 *
 * Those that the daemon has taken before lose STALE instead, and can be leased again.
 * Return: whether all pages are unused, and this client's.
 */
bool lease_close_slab(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/** lease_close_own_slab() - the same; no other client's byte is in a page of the slab */
bool lease_close_own_slab(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/** lease_give() - n_pages in use are unused from now on; everything done to them is done before */
void lease_give(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/** lease_give_own() - lease_give(); the first n_own of them have no other client's byte */
void lease_give_own(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, uint32_t n_own);

/**
 * lease_find() - the first n_pages consecutive FREE pages in a range
 * Return: false: there are none. A hint: lease_take() decides.
 */
KMEM_MUST_USE bool lease_find(const _Atomic uint64_t *states, uint32_t begin, uint32_t end,
                              uint32_t n_pages, uint32_t *ret_page);

#endif
