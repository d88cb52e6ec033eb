/* SPDX-License-Identifier: MIT */
/*
 * shares.h - which blocks are shared, and who holds them
 *
 * Records in the state file, each made true by one store; chains, counts and the bits of pinned
 * pages are derived from them, and rebuilt at start. What a record means for pages and ledgers is
 * not known here: sharing.h.
 *
 *      a share's n_holds, n_names      == the live holds and the names that lead to it
 *      a hold is on the chain of its share and on that of its client
 *      a share with an owner is on that owner's chain
 *      generations of live shares are all different, and lead to their records
 *      a page is pinned                == it is of the slab of a LEASED share that is LIVE or
 *                                         RETURNING                          : shares_check()
 */
#ifndef DAEMON_CORE_SHARES_H
#define DAEMON_CORE_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/reasons.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"
#include "proto/ledger.h"
#include "proto/share.h"

/* What is derived of a share; 0: none. */
struct share_links {
    uint32_t first_hold;
    uint32_t n_holds;
    uint32_t n_names;
    uint32_t next; /* of its bucket, or of the free ones */
    uint32_t next_of_owner;
    uint32_t prev_of_owner;
    uint32_t next_in_slab;
    uint32_t prev_in_slab;
};

/* What is derived of a hold; 0: none. */
struct hold_links {
    uint32_t next; /* of its bucket, or of the free ones */
    uint32_t next_on_share;
    uint32_t prev_on_share;
    uint32_t next_of_client;
    uint32_t prev_of_client;
};

/* Two for each share: each is looked up at start, and half as many would be longer chains. One for
   four holds: 10,000 of them touch 1 MiB of it; with one for each it would be 4. */
#define SHARES_BUCKETS ((size_t)2 * SHARES_MAX)
#define HOLDS_BUCKETS (HOLDS_MAX / 4)

/* A server that shares nothing never touches what these point to, and it costs nothing. */
struct shares {
    struct state *state;
    struct reasons *reasons;
    struct caps *caps;             /* those of `reasons` */
    struct share_links *links;     /* by share */
    struct hold_links *hold_links; /* by hold */
    uint32_t *by_offset;           /* hash: the first share of a bucket */
    uint32_t *by_holder;           /* hash of share and slot: the first hold of a bucket */
    uint32_t *holds_of_client;     /* by slot: its first hold */
    uint32_t *shares_of_owner;     /* by slot: the first share that it owns */
    uint32_t *shares_of_slab; /* by page: the first pinned share of the slab that begins there */
    uint64_t *pinned;         /* a bit per page of the segment */
    uint32_t free_share;      /* stack through links; 0: none below n_share_records */
    uint32_t free_hold;
    uint32_t n_share_records; /* records below this have been used; the first is 1 */
    uint32_t n_hold_records;
    uint32_t n_shares; /* LIVE or RETURNING */
    uint32_t n_holds;
    uint32_t n_leased; /* of the shares; without one no page is pinned */
    struct state_numbers generations;
};

enum {
    SHARES_OK,
    SHARES_E_FULL,    /* no record is left */
    SHARES_E_USER,    /* the user has as many as one may have */
    SHARES_E_STALE,   /* the handle leads to no share: it is gone, or never was */
    SHARES_E_DENIED,  /* it does, and its tag is another */
    SHARES_E_CORRUPT, /* shares_check(), shares_recover() */
};

/* Where a leased block is, as its owner's ledger said when it was shared. */
struct share_place {
    uint32_t slab_page;  /* the slab's first page, or the large block's */
    uint32_t span_pages; /* 0: the block is direct */
    uint32_t index;      /* the block's number in the slab */
    uint32_t size_class; /* N_SIZE_CLASSES: a large block */
};

/* A block that is to be shared. */
struct share_new {
    struct seg_off off;
    uint64_t num_bytes;
    struct share_place place;
    uint32_t owner; /* slot */
    uint64_t tag;
    const char *reason; /* the block's own */
    size_t n_reason_bytes;
    uint32_t now; /* tick */
};

/* A holder. */
struct hold_new {
    uint32_t slot;
    bool write;
    bool owner; /* it was handed the block, and may do with it what an owner may */
    const char *reason;
    size_t n_reason_bytes;
    uint32_t now;
};

/** shares_init() - an empty table. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int shares_init(struct shares *shares, struct state *state, struct reasons *reasons);

void shares_fini(struct shares *shares);

/* ---------------------------------------------------------------------------------- shares ---- */

/**
 * shares_add() - a block is shared; OWNER_HOLDS
 *
 * No share begins at its offset, and shares_fits() is true of where it is. It counts for its
 * owner's user.
 * Return: 0, SHARES_E_FULL or SHARES_E_USER.
 */
KMEM_MUST_USE int shares_add(struct shares *shares, const struct share_new *fresh,
                             uint32_t *ret_share);

/** shares_remove() - no hold and no name is left, and its block is gone or home: a free record */
void shares_remove(struct shares *shares, uint32_t share);

/** shares_find() - the LIVE share of a handle. Return: 0, SHARES_E_STALE or SHARES_E_DENIED. */
KMEM_MUST_USE int shares_find(const struct shares *shares, const struct share_handle *handle,
                              uint32_t *ret_share);

/** shares_at() - the share, LIVE or RETURNING, of the block that begins at an offset; 0: none */
uint32_t shares_at(const struct shares *shares, struct seg_off off);

/** shares_is_live() - whether a record that was a share's once is in use, and its share LIVE */
bool shares_is_live(const struct shares *shares, uint32_t share);

/** shares_handle() - what leads to a share */
struct share_handle shares_handle(const struct shares *shares, uint32_t share);

/** shares_record() - what is stored of it; n_holds and n_names are derived */
const struct state_share *shares_record(const struct shares *shares, uint32_t share);
uint64_t shares_word(const struct shares *shares, uint32_t share);
uint32_t shares_n_holds(const struct shares *shares, uint32_t share);
uint32_t shares_n_names(const struct shares *shares, uint32_t share);

/** shares_n_holders() - how many clients hold it: by a hold, or as its owner; an offer is none */
uint32_t shares_n_holders(const struct shares *shares, uint32_t share);

/** shares_set() - commit another word for a share: flags, owner, state; chains and pins follow */
void shares_set(struct shares *shares, uint32_t share, uint64_t word);

/** shares_uid() - the user for which a share counts: caps.h. shares_set_uid(): another now */
uint32_t shares_uid(const struct shares *shares, uint32_t share);
void shares_set_uid(struct shares *shares, uint32_t share, uint32_t uid);

/** shares_note_name() - a name leads to it from now on (1), or no longer (-1): for names.c */
void shares_note_name(struct shares *shares, uint32_t share, int change);

/** shares_first_of() - a share that the client of a slot owns; 0: none */
uint32_t shares_first_of(const struct shares *shares, uint32_t slot);

/** shares_next() - the first share in use from a record on; 0: none. For reports. */
uint32_t shares_next(const struct shares *shares, uint32_t share);

/**
 * shares_fits() - whether what a ledger says of a leased block goes with what is pinned
 * Slabs do not overlap: its pages are not pinned at all, or as this very slab. A large block is
 * shared once.
 */
bool shares_fits(const struct shares *shares, const struct share_place *place);

/** shares_first_in_slab() - a pinned share of the slab that begins at a page; 0: none */
uint32_t shares_first_in_slab(const struct shares *shares, uint32_t slab_page);
uint32_t shares_next_in_slab(const struct shares *shares, uint32_t share);

/** shares_is_pinned() - whether a page of a range is of the slab of a shared leased block */
bool shares_is_pinned(const struct shares *shares, uint32_t page, uint32_t n_pages);

/** shares_pinned_stretch() - how many pages from `page` on, at most n_pages, are alike in that */
uint32_t shares_pinned_stretch(const struct shares *shares, uint32_t page, uint32_t n_pages,
                               bool *ret_pinned);

/* ----------------------------------------------------------------------------------- holds ---- */

/** shares_hold() - a client holds a share that it does not. Return: 0, SHARES_E_FULL or _USER. */
KMEM_MUST_USE int shares_hold(struct shares *shares, uint32_t share, const struct hold_new *fresh,
                              uint32_t *ret_hold);

/** shares_hold_write() - a holder may write from now on */
void shares_hold_write(struct shares *shares, uint32_t hold);

/** shares_hold_give() - a holder has offered the block on, or has taken it back */
void shares_hold_give(struct shares *shares, uint32_t hold, bool is_given);

/** shares_let_go() - a hold ends; the share stays, held or not */
void shares_let_go(struct shares *shares, uint32_t hold);

/** shares_hold_of() - by which the client of a slot holds a share; 0: it does not */
uint32_t shares_hold_of(const struct shares *shares, uint32_t share, uint32_t slot);

/** shares_hold_word() - of a hold. shares_hold_record(): what is stored of it */
uint64_t shares_hold_word(const struct shares *shares, uint32_t hold);
const struct state_hold *shares_hold_record(const struct shares *shares, uint32_t hold);

/** shares_holds_first() - a hold on a share; 0: none. shares_holds_next(): the next one */
uint32_t shares_holds_first(const struct shares *shares, uint32_t share);
uint32_t shares_holds_next(const struct shares *shares, uint32_t hold);

/** shares_held_first() - a hold of the client of a slot; 0: none */
uint32_t shares_held_first(const struct shares *shares, uint32_t slot);
uint32_t shares_held_next(const struct shares *shares, uint32_t hold);

/* ------------------------------------------------------------------------- after a restart ---- */

/**
 * shares_recover() - read the records into an empty table
 *
 * Before anything that asks for pinned pages, and before reasons_recovered(). What no order of
 * stores leaves behind, like a hold on no share, or one of no client, is refused.
 * Return: 0; -ENOMEM; or SHARES_E_CORRUPT, and *ret_why says what does not add up.
 */
KMEM_MUST_USE int shares_recover(struct shares *shares, const char **ret_why);

/** shares_recover_holds() - its second half */
KMEM_MUST_USE int shares_recover_holds(struct shares *shares, const char **ret_why);

/** shares_check() - recount everything. Return: 0 or SHARES_E_CORRUPT. */
KMEM_MUST_USE int shares_check(const struct shares *shares);

#endif
