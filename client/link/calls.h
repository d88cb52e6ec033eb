/* SPDX-License-Identifier: MIT */
/*
 * calls.h - blocks that the daemon carves: one round trip each
 */
#ifndef CLIENT_LINK_CALLS_H
#define CLIENT_LINK_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "client/link/conn.h"
#include "client/map/segment.h"
#include "proto/attributes.h"
#include "proto/lease.h"
#include "proto/ledger.h"

/* A block as the daemon carved it. */
/* Of a request that waits for its turn. */
struct waiting {
    uint64_t ticket;
    uint32_t wait_ms; /* 0: no longer */
};

struct carved {
    struct seg_off offset;
    bool is_zero;        /* else its bytes are what an earlier owner left there */
    bool is_direct_only; /* none with its reason may be carved from a lease */
    bool is_tight;       /* a quota of this process, or of its user, gets used up */
};

/**
 * kmem__calls_settle() - find out what became of a change whose answer did not come in time
 *
 * Every call that changes something begins with it. Return: 0, and nothing is in doubt; or a fault.
 */
KMEM_MUST_USE int kmem__calls_settle(struct conn *conn, struct failure *failure);

/* How a block is asked for. */
enum {
    ALLOCATE_MAY_AGAIN = 1, /* if there is no room, this thread gives back what it keeps and asks
                               once more */
    ALLOCATE_SHAREABLE = 2, /* it is to lie among blocks of that kind alone */
};

/**
 * kmem__calls_allocate() - have a block carved
 * @conn:        the connection
 * @segment:     what the answer is compared with
 * @num_bytes:   1 at least
 * @reason:      clean text, up to REASON_MAX_BYTES; "" for none
 * @how:         ALLOCATE_x
 * @waiting:     NULL: it does not wait
 * @ret_carved:  written on success
 * @failure:     receives the sentence
 *
 * Return: 0, or a negative errno as kmem_try_allocate() documents them.
 */
KMEM_MUST_USE int kmem__calls_allocate(struct conn *conn, const struct segment *segment,
                                       uint64_t num_bytes, const char *reason, unsigned how,
                                       const struct waiting *waiting, struct carved *ret_carved,
                                       struct failure *failure);

/**
 * kmem__calls_release() - give a block back
 * @ret_num_bytes:  written on success: what it had, as asked for; 0 if that is not known
 * Return: 0, or -errno as kmem_try_release().
 */
KMEM_MUST_USE int kmem__calls_release(struct conn *conn, const struct segment *segment,
                                      struct seg_off offset, uint64_t *ret_num_bytes,
                                      struct failure *failure);

/** kmem__calls_size_of() - a block's size as asked for. Return: 0, or -errno as for a release. */
KMEM_MUST_USE int kmem__calls_size_of(struct conn *conn, struct seg_off offset,
                                      uint64_t *ret_num_bytes, struct failure *failure);

/**
 * kmem__calls_lease() - have pages leased to this process
 * @n_pages:     at least that many, consecutive
 * @want_pages:  as many if there is plenty
 * @ret_run:     written on success: its pages are FREE in the ledger
 * @ret_is_tight: written on success: a quota of this process, or of its user, gets used up
 *
 * Return: 0; CONN_E_REFUSED, and failure has the daemon's sentence; or the faults of a connection.
 */
KMEM_MUST_USE int kmem__calls_lease(struct conn *conn, const struct segment *segment,
                                    uint32_t n_pages, uint32_t want_pages, struct run *ret_run,
                                    bool *ret_is_tight, struct failure *failure);

/** kmem__calls_leave() - tell the daemon that this process leaves. Return: 0 or a fault. */
KMEM_MUST_USE int kmem__calls_leave(struct conn *conn, struct failure *failure);

#endif
