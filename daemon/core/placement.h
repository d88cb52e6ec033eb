/* SPDX-License-Identifier: MIT */
/*
 * placement.h - finding room for what a client asks for
 *
 * In this order: what is free; what clients leave unused of their leases; what the dead had; and
 * slabs in which no block is live. A client that would have more than its quota, or its user's or
 * unit's, loses what it leaves unused, and its own idle slabs, and so do those others, before it is
 * refused. What is reserved for others stays free: of the rest, as much is looked for. What takes
 * long is taken back in steps between which others are served. Only when that is done, too, there
 * is no room: no client is refused for the sake of a process that is gone, or of memory that is not
 * in use.
 */
#ifndef DAEMON_CORE_PLACEMENT_H
#define DAEMON_CORE_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"

/* What is asked for; a copy, because it may have to wait. */
struct placement_request {
    uint64_t num_bytes;   /* of a direct block; of a lease: of the pages that are needed */
    uint32_t n_pages;     /* of a lease; 0: it is a direct block */
    uint32_t want_pages;  /* of a lease, at most */
    uint64_t sequence;    /* the request's sequence number; 0: it has none */
    bool waits;           /* for what the dead had, or for what is being cleared */
    bool may_again;       /* of a direct block: who is refused asks once more */
    bool shareable;       /* likewise: as of struct direct_request */
    uint64_t ticket;      /* these two: of a request that waits for its turn: queue.h; 0: none */
    bool may_wait;        /* else it is refused for good */
    bool reclaims;        /* waits for the pass over idle slabs: reclaim.h */
    uint64_t n_returns;   /* how often either has come back, when it was looked for last */
    uint64_t until;       /* what reclaim.n_passes must be when there is no room */
    uint64_t n_reclaimed; /* reclaim.n_pages, when it was looked for last */
    int why;              /* PLACEMENT_E_FULL, _RESERVED or _QUOTA, then */
    struct bar bar;       /* of PLACEMENT_E_QUOTA: which */
    uint32_t budgets;     /* the caller's: those that the reason falls under; a bit for each */
    uint32_t budget;      /* of PLACEMENT_E_BUDGET: which */
    size_t n_reason_bytes;
    char reason[REASON_MAX_BYTES];
};

/* Where it is. */
struct placement {
    struct seg_off off; /* of a direct block */
    bool is_zero;       /* it is known to be, every byte */
    uint32_t page;      /* of a lease */
    uint32_t n_pages;
};

enum {
    PLACEMENT_OK,
    PLACEMENT_E_WAIT, /* ask again when reap() was called */
    PLACEMENT_E_FULL,
    PLACEMENT_E_RESERVED, /* what there is, is reserved for others */
    PLACEMENT_E_QUOTA,    /* the client, its user or its unit would have more than it may */
    PLACEMENT_E_BUDGET,   /* all blocks with such reasons would have more than they may */
    PLACEMENT_E_STALE,    /* of a lease: the client can not use what there is; a direct block it can
                          have */
};

/** placement_init_block() - for a direct block; the reason has been checked */
void placement_init_block(struct placement_request *request, uint64_t num_bytes, const void *reason,
                          size_t n_reason_bytes);

/** placement_init_lease() - for a lease of at least n_pages and at most want_pages */
void placement_init_lease(struct placement_request *request, uint32_t n_pages, uint32_t want_pages);

/**
 * placement_find() - carve the block, or grant the lease
 *
 * While it waits it looks again only if something came back since. Return: 0 or PLACEMENT_E_x.
 */
KMEM_MUST_USE int placement_find(struct core *core, struct client *client,
                                 struct placement_request *request, struct now now,
                                 struct placement *ret_found);

/** placement_leave() - it is not waited for any more: it was answered, or its client has gone */
void placement_leave(struct core *core, struct placement_request *request);

#endif
