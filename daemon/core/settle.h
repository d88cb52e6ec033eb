/* SPDX-License-Identifier: MIT */
/*
 * settle.h - what becomes of a share when something that kept it is gone
 *
 * A LIVE share is kept by its owner, an offer, holds and names. While something keeps it, one is
 * charged for a direct block, the first that there is of these:
 *
 *      its owner        as long as that holds it, or has offered it
 *      a holder         any; also one that has offered it on
 *      its publisher    a client that has not let go of its names, the first to have published one
 *      `kept`           only names keep it, or an offer, and who made those has ended
 *
 * So no client has more than its quota by giving what it allocates to names. What is charged to
 * `kept` is charged to the user of the client that was charged last, too: accounts.h. When nothing
 * keeps it, the block is freed, or goes home to its owner's lease.
 *
 * All of this is done again after a restart, so each change is made first where it is recorded, and
 * settled then.
 */
#ifndef DAEMON_CORE_SETTLE_H
#define DAEMON_CORE_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"

/** settle_is_kept() - whether anything keeps a LIVE share */
bool settle_is_kept(const struct core *core, uint32_t share);

/** settle_is_kept_by_others() - whether anything would, if its owner ended now */
bool settle_is_kept_by_others(const struct core *core, uint32_t share);

/** settle_disowned() - a share's word when its owner has ended */
uint64_t settle_disowned(const struct core *core, uint32_t share);

/** settle_may_pay() - whether a slot may be charged for the direct block of a share */
bool settle_may_pay(const struct core *core, uint32_t share, uint32_t slot);

/** settle_heir() - a slot that may, if its owner holds it no more */
uint32_t settle_heir(const struct core *core, uint32_t share);

/** settle_payer() - a slot that may */
uint32_t settle_payer(const struct core *core, uint32_t share);

/** settle_block() - the direct block that begins where a share's does. Return: if there is one. */
bool settle_block(const struct core *core, uint32_t share, struct block *ret_block);

/** settle_note_kept() - the direct block of a share has been counted; it may be `kept` */
void settle_note_kept(struct core *core, uint32_t share);

/**
 * settle_charge() - what settle() does of a share that is kept; the block is settle_block()'s
 * Return: the slot that is charged.
 */
uint32_t settle_charge(struct core *core, uint32_t share, const struct block *block);

/**
 * settle_count() - the share counts for the user of the slot that is charged for its block: caps.h
 * When `kept` is, it stays with the last user that was.
 */
void settle_count(struct core *core, uint32_t share, uint32_t payer);

/** settle() - something that kept a LIVE share is gone, or has come: free its block, or charge */
void settle(struct core *core, uint32_t share);

/**
 * settle_name() - settle() for what a name of an ended client kept
 * The client had let go of the block itself: it is not among what that left unreleased.
 */
void settle_name(struct core *core, uint32_t share);

#endif
