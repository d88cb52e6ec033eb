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
 * Eight pages share a 64-bit word, so that a block of 8 MiB is taken with 64 compare-and-swaps
 * (about 0.4 us where clearing it takes 60 to 250) and not with 512.
 */
#ifndef PROTO_LEASE_H
#define PROTO_LEASE_H

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
    LEASE_ZERO = 4, /* with FREE: the page is all zero */
};

#define LEASE_PAGES_PER_WORD 8

/** lease_state_of() - one page's state; the other side may change it at any time */
static inline uint32_t lease_state_of(const _Atomic uint64_t *states, uint32_t page)
{
    /* Relaxed: a hint, or followed by a compare-and-swap. */
    const uint64_t word =
        atomic_load_explicit(&states[page / LEASE_PAGES_PER_WORD], memory_order_relaxed);
    return (uint32_t)(word >> (page % LEASE_PAGES_PER_WORD * 8)) & 7;
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

/** lease_count_free() - how many pages of a range are unused now */
uint32_t lease_count_free(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

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

/** lease_give() - n_pages in use are unused from now on; everything done to them is done before */
void lease_give(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages);

/**
 * lease_find() - the first n_pages consecutive FREE pages in a range
 * Return: false: there are none. A hint: lease_take() decides.
 */
KMEM_MUST_USE bool lease_find(const _Atomic uint64_t *states, uint32_t begin, uint32_t end,
                              uint32_t n_pages, uint32_t *ret_page);

#endif
