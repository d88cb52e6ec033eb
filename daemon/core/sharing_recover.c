/* SPDX-License-Identifier: MIT */
/*
 * sharing_recover.c - what was begun is finished; and what must be true at any time
 *
 * What can be left of what a server was about, and what is made of it:
 *
 *      a leased share whose pages are direct      its slab was adopted: it is a direct one
 *      an offer beside a hold that is not GIVEN   it was taken up
 *      a hold that is GIVEN, without an offer     likewise, or its client was being reaped: it goes
 *      a share that nothing keeps                 its block is freed, if it still is there, or goes
 *                                                 home
 *      a block that is charged to who may not     another is charged
 *      pay for it
 *
 * Of the shares of an ended client nothing more is wanted than that: it is reaped.
 */
#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"

enum place { PLACE_LEASED, PLACE_DIRECT, PLACE_LOST };

/* Where the slab of a leased share is. */
static enum place place_of(const struct core *core, uint32_t share)
{
    const struct state_share *record = shares_record(&core->shares, share);
    const uint32_t run = pages_run_of(&core->pages, record->slab_page);
    const uint64_t word = pages_word(&core->pages, run);
    const uint32_t end = run + PAGE_WORD_PAGES(word);
    if (PAGE_WORD_STATE(word) == PAGE_LEASED && end - record->slab_page >= record->span_pages &&
        PAGE_WORD_OWNER(word) == SHARE_OWNER(shares_word(&core->shares, share))) {
        return PLACE_LEASED;
    }
    return PAGE_WORD_STATE(word) == PAGE_DIRECT ? PLACE_DIRECT : PLACE_LOST;
}

static uint64_t flags_of(const struct core *core, uint32_t share)
{
    return shares_word(&core->shares, share);
}

/* A hold on a share that is, or is not, GIVEN; 0: none. */
static uint32_t hold_that_is(const struct core *core, uint32_t share, bool is_given)
{
    uint32_t hold = shares_holds_first(&core->shares, share);
    while (hold != 0 && ((shares_hold_word(&core->shares, hold) & HOLD_GIVEN) != 0) != is_given) {
        hold = shares_holds_next(&core->shares, hold);
    }
    return hold;
}

static void recover_offer(struct core *core, uint32_t share)
{
    const bool is_offered = (flags_of(core, share) & SHARE_OFFERED) != 0;
    const bool is_taken = is_offered && hold_that_is(core, share, false) != 0;
    const bool has_given = hold_that_is(core, share, true) != 0;
    if (is_taken || (!is_offered && has_given)) {
        sharing_end_offer(core, share, flags_of(core, share) & SHARE_OWNER_HOLDS);
    }
}

static int recover_leased(struct core *core, uint32_t share, const char **ret_why)
{
    switch (place_of(core, share)) {
    case PLACE_LEASED:
        return 0;
    case PLACE_DIRECT:
        shares_set(&core->shares, share, settle_disowned(core, share));
        return 0;
    case PLACE_LOST:
        break;
    }
    *ret_why = "a shared block is in no lease of its owner";
    return SHARING_E_CORRUPT;
}

/* The offer is the owner's, or of the one holder, which is GIVEN. */
static bool offer_is_sound(const struct core *core, uint32_t share)
{
    const bool has_given = hold_that_is(core, share, true) != 0;
    if ((flags_of(core, share) & SHARE_OFFERED) == 0) {
        return !has_given && (flags_of(core, share) & SHARE_KEEP) == 0;
    }
    return shares_n_holds(&core->shares, share) == has_given &&
           shares_n_names(&core->shares, share) == 0 &&
           (flags_of(core, share) & SHARE_OWNER_HOLDS) == 0;
}

/* For the user of the client that is charged; when none is, for the last that was. */
static bool counts_for(const struct core *core, uint32_t share, uint32_t payer)
{
    return payer == SLOT_KEPT ||
           shares_uid(&core->shares, share) == clients_get(&core->clients, payer)->identity.uid;
}

/* A direct one that is kept: its block is there, and charged to who may pay. */
static int recover_direct(struct core *core, uint32_t share, const char **ret_why, uint64_t *n_kept)
{
    struct block block;
    if (!settle_block(core, share, &block)) {
        *ret_why = "a shared block is not there";
        return SHARING_E_CORRUPT;
    }
    if (block.reason != shares_record(&core->shares, share)->reason) {
        *ret_why = "a shared block has another reason than its share";
        return SHARING_E_CORRUPT;
    }
    *n_kept += settle_charge(core, share, &block) == SLOT_KEPT;
    return 0;
}

/* *n_kept grows by one if it is a block that is charged to no client. */
static int recover_share(struct core *core, uint32_t share, const char **ret_why, uint64_t *n_kept)
{
    const bool was_leased = (flags_of(core, share) & SHARE_LEASED) != 0;
    const int r = was_leased ? recover_leased(core, share, ret_why) : 0;
    if (r) {
        return r;
    }
    if ((flags_of(core, share) & SHARE_STATE_MASK) == SHARE_RETURNING) {
        returns_recover(&core->returns, share);
        return 0;
    }
    recover_offer(core, share);
    if ((flags_of(core, share) & SHARE_LEASED) == 0) {
        settle_note_kept(core, share);
    }
    if (!settle_is_kept(core, share)) {
        settle(core, share);
        return 0;
    }
    if (!offer_is_sound(core, share)) {
        *ret_why = "a share is offered, and held as well";
        return SHARING_E_CORRUPT;
    }
    const uint64_t word = flags_of(core, share);
    if ((word & SHARE_LEASED) == 0) {
        return recover_direct(core, share, ret_why, n_kept);
    }
    if (!counts_for(core, share, SHARE_OWNER(word))) {
        *ret_why = "a share counts for another user than its owner's";
        return SHARING_E_CORRUPT;
    }
    return 0;
}

int sharing_recover(struct core *core, const char **ret_why)
{
    uint64_t n_kept = 0;
    for (uint32_t share = shares_next(&core->shares, 1); share != 0;
         share = shares_next(&core->shares, share + 1)) {
        const int r = recover_share(core, share, ret_why, &n_kept);
        if (r) {
            return r;
        }
    }
    if (n_kept != core->clients.kept->n_blocks) {
        *ret_why = "a block is charged to no client, and is not shared";
        return SHARING_E_CORRUPT;
    }
    return 0;
}

/* -------------------------------------------------------------------------------- checking ---- */

static bool direct_is_sound(const struct core *core, uint32_t share)
{
    struct block block;
    return settle_block(core, share, &block) && settle_may_pay(core, share, block.slot) &&
           block.reason == shares_record(&core->shares, share)->reason &&
           counts_for(core, share, block.slot);
}

/* Of a leased block: its owner is told, when it comes home. */
static bool writers_are_noted(const struct core *core, uint32_t share)
{
    const struct shares *shares = &core->shares;
    if ((flags_of(core, share) & SHARE_WRITTEN) != 0) {
        return true;
    }
    uint32_t hold = shares_holds_first(shares, share);
    while (hold != 0 && (shares_hold_word(shares, hold) & HOLD_WRITE) == 0) {
        hold = shares_holds_next(shares, hold);
    }
    return hold == 0;
}

static bool share_is_sound(const struct core *core, uint32_t share)
{
    const uint64_t word = flags_of(core, share);
    const bool is_leased = (word & SHARE_LEASED) != 0;
    const uint32_t owner = SHARE_OWNER(word);
    if (owner == SLOT_NONE ? is_leased || (word & SHARE_OWNER_HOLDS) != 0
                           : owner == SLOT_KEPT || !clients_has(&core->clients, owner)) {
        return false;
    }
    if (is_leased && place_of(core, share) != PLACE_LEASED) {
        return false;
    }
    if ((word & SHARE_STATE_MASK) == SHARE_RETURNING) {
        return is_leased;
    }
    return settle_is_kept(core, share) && offer_is_sound(core, share) &&
           (is_leased ? writers_are_noted(core, share) && counts_for(core, share, owner)
                      : direct_is_sound(core, share));
}

/* A direct one that is sound. */
static bool is_charged_to_nobody(const struct core *core, uint32_t share)
{
    struct block block;
    const bool is_there = settle_block(core, share, &block);
    KMEM_ASSERT(is_there);
    return block.slot == SLOT_KEPT;
}

int sharing_check(const struct core *core)
{
    uint64_t n_kept = 0;
    for (uint32_t share = shares_next(&core->shares, 1); share != 0;
         share = shares_next(&core->shares, share + 1)) {
        if (!share_is_sound(core, share)) {
            return SHARING_E_CORRUPT;
        }
        n_kept += (flags_of(core, share) & SHARE_LEASED) == 0 && is_charged_to_nobody(core, share);
    }
    /* What is charged to nobody is shared: else it would be there for ever. */
    const bool adds_up = n_kept == core->clients.kept->n_blocks &&
                         returns_check(&core->returns, &core->clients) == 0;
    return adds_up ? 0 : SHARING_E_CORRUPT;
}
