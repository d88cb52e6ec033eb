/* SPDX-License-Identifier: MIT */
/*
 * reasons.h - the reasons of the daemon's own blocks, each stored once
 *
 *      totals of a reason == sum over the blocks that name it          : direct_check()
 *      an id is named by blocks or records, or free, or for ever
 *      the words of a named id lead to it; n_live ids have blocks      : reasons_check()
 *
 * Ids 0 and 1 are for ever: "no reason given" and "other reasons", which stands for what comes
 * after the table is full, or after a user has as many reasons as one may have. Any other id is
 * given out again when nothing names it any more; its generation tells the tenants apart. What
 * names it besides blocks, the records of shares and holds, is counted apart: it has no bytes of
 * its own.
 */
#ifndef DAEMON_CORE_REASONS_H
#define DAEMON_CORE_REASONS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/reason_users.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"

struct reason;

struct reasons {
    struct state *state;
    struct reason **table;  /* by id; NULL: nothing names it */
    uint32_t *generations;  /* by id */
    struct reason *by_text; /* hash */
    struct reason *anchor;  /* in it, for ever */
    uint32_t *free_ids;     /* stack */
    uint32_t n_free_ids;
    uint32_t n_ids;  /* ids below this have been used */
    uint32_t n_live; /* reasons that blocks name now */
    struct reason_users users;
};

enum {
    REASONS_OK,
    REASONS_E_CORRUPT, /* reasons_check() */
};

struct reason_totals {
    uint64_t n_blocks;
    uint64_t num_bytes;
};

/** reasons_init() - an empty table. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int reasons_init(struct reasons *reasons, struct state *state, struct caps *caps);

void reasons_fini(struct reasons *reasons);

/**
 * reasons_ref() - count one more block of num_bytes with this reason
 * @uid:   of the client that holds it, as in all of these
 * @text:  n_bytes of UTF-8, at most REASON_MAX_BYTES; empty: no reason given
 * Return: the reason's id.
 */
uint32_t reasons_ref(struct reasons *reasons, uint32_t uid, const char *text, size_t n_bytes,
                     uint64_t num_bytes);

/**
 * reasons_recover() - count one more block of num_bytes that the state file says has this reason
 * Return: 0; -ENOMEM; REASONS_E_CORRUPT if the id has no words.
 */
KMEM_MUST_USE int reasons_recover(struct reasons *reasons, uint32_t uid, uint32_t id,
                                  uint64_t num_bytes);

/** reasons_recovered() - all blocks have been counted: what has none is free */
void reasons_recovered(struct reasons *reasons);

/** reasons_unref() - count one block less */
void reasons_unref(struct reasons *reasons, uint32_t uid, uint32_t id, uint64_t num_bytes);

/** reasons_move() - a block or a record is another user's from now on */
void reasons_move(struct reasons *reasons, uint32_t id, uint32_t from_uid, uint32_t to_uid);

/** reasons_hold() - a record, that is no block, has this reason. As reasons_ref() else. */
uint32_t reasons_hold(struct reasons *reasons, uint32_t uid, const char *text, size_t n_bytes);

/** reasons_recover_hold() - reasons_recover() for such a record */
KMEM_MUST_USE int reasons_recover_hold(struct reasons *reasons, uint32_t uid, uint32_t id);

/** reasons_drop() - such a record is gone */
void reasons_drop(struct reasons *reasons, uint32_t uid, uint32_t id);

/** reasons_text() - a reason's words, not terminated; valid until nothing names it any more */
const char *reasons_text(const struct reasons *reasons, uint32_t id, size_t *ret_n_bytes);

/** reasons_generation() - another number for every reason that has had the id */
uint32_t reasons_generation(const struct reasons *reasons, uint32_t id);

struct reason_totals reasons_totals(const struct reasons *reasons, uint32_t id);

/** reasons_check() - look up every reason and recount. Return: 0 or REASONS_E_CORRUPT. */
KMEM_MUST_USE int reasons_check(const struct reasons *reasons);

#endif
