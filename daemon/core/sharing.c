/* SPDX-License-Identifier: MIT */
/*
 * sharing.c - share, attach, let go, hand over; the order of stores
 *
 *      share       the record                           before: nobody but the owner knows of it
 *      attach      WRITTEN, if it is to write; the      a share that says so, and is not
 *                  hold; then the charge                sharing_recover() charges who may pay
 *      pick up     the hold that says OWNER; the offer  a hold beside an offer has taken it up
 *                  goes; the giver's hold goes          one that is GIVEN without an offer goes
 *      let go      the hold, or OWNER_HOLDS; then what  a share that nothing keeps is ended
 *                  follows: settle.h
 *      hand over   the offer; then the hold is GIVEN    taken up by the giver itself: it asks again
 *
 * A leased block that its owner alone holds is one store, its record's end: the owner is told that
 * it may take it home, and must not hear so from the returns as well.
 */
#include "daemon/core/sharing.h"

#include "daemon/core/block_iter.h"
#include "daemon/core/settle.h"
#include "proto/crash_point.h"

/* ------------------------------------------------------------------ the block of an offset ---- */

/* A shared block, for who asks. */
static struct block share_describe(const struct core *core, uint32_t share)
{
    const struct state_share *record = shares_record(&core->shares, share);
    const uint64_t word = shares_word(&core->shares, share);
    return (struct block){
        .off = {record->offset},
        .num_bytes = record->num_bytes,
        .reason = record->reason,
        .born = record->born,
        .slot = (word & SHARE_LEASED) != 0 ? SHARE_OWNER(word) : settle_payer(core, share),
    };
}

/* What of a share is a client's. */
struct part {
    bool owns;     /* as its owner, which holds it */
    uint32_t hold; /* by which it holds it; 0: none */
    bool may_give; /* it may do what an owner may */
};

static struct part part_of(const struct sharing *of, uint32_t share)
{
    const struct shares *shares = &of->core->shares;
    const uint64_t word = shares_word(shares, share);
    const uint32_t hold = shares_hold_of(shares, share, of->client->slot);
    const uint64_t hold_word = hold != 0 ? shares_hold_word(shares, hold) : 0;
    const bool owns = SHARE_OWNER(word) == of->client->slot && (word & SHARE_OWNER_HOLDS) != 0;
    return (struct part){
        .owns = owns,
        .hold = (hold_word & HOLD_GIVEN) != 0 ? 0 : hold,
        .may_give = owns || ((hold_word & HOLD_OWNER) != 0 && (hold_word & HOLD_GIVEN) == 0),
    };
}

static bool part_is_none(const struct part *part)
{
    return !part->owns && part->hold == 0;
}

/* Where in its slab a leased block is, as its owner's ledger said. The only block of its slab is as
   good as a large one. */
static struct share_place place_of(const struct block *block, const struct slab *slab)
{
    const uint64_t within_bytes = block->off.bytes - ((uint64_t)slab->page << PAGE_SHIFT);
    const bool is_large = slab->block_bytes == (uint64_t)slab->span_pages << PAGE_SHIFT;
    return (struct share_place){
        .slab_page = slab->page,
        .span_pages = slab->span_pages,
        .index = (uint32_t)(within_bytes / slab->block_bytes),
        .size_class = is_large ? N_SIZE_CLASSES : size_class_of((uint32_t)slab->block_bytes),
    };
}

/* The block, which is in a lease; its ledger is read here, once. */
static int find_leased(const struct sharing *of, struct seg_off off, uint32_t slot,
                       struct block *ret_block, struct share_place *ret_place)
{
    struct block block;
    struct slab slab;
    if (!block_find_leased(of->core, off, &block, &slab)) {
        return DIRECT_E_WILD;
    }
    *ret_block = block;
    if (block.off.bytes != off.bytes) {
        return DIRECT_E_INTERIOR;
    }
    if (slot != of->client->slot) {
        return DIRECT_E_FOREIGN;
    }
    *ret_place = place_of(&block, &slab);
    return shares_fits(&of->core->shares, ret_place) ? 0 : DIRECT_E_WILD;
}

/* A block that is not shared, and is the client's alone. */
static int find_own(const struct sharing *of, struct seg_off off, struct block *ret_block,
                    struct share_place *ret_place)
{
    const struct pages *pages = &of->core->pages;
    const uint64_t page = off.bytes >> PAGE_SHIFT;
    if (page == 0 || page >= pages->state->n_pages) {
        return DIRECT_E_WILD;
    }
    const uint64_t word = pages_word(pages, pages_run_of(pages, (uint32_t)page));
    *ret_place = (struct share_place){.span_pages = 0};
    return PAGE_WORD_STATE(word) == PAGE_LEASED
               ? find_leased(of, off, PAGE_WORD_OWNER(word), ret_block, ret_place)
               : direct_find(&of->core->direct, of->client, off, ret_block);
}

/* ----------------------------------------------------------------------------------- share ---- */

bool sharing_is_shared(const struct core *core, struct seg_off off)
{
    return shares_at(&core->shares, off) != 0;
}

static int share_add(const struct sharing *of, struct seg_off off, uint32_t *ret_share,
                     struct block *ret_block)
{
    struct core *core = of->core;
    struct share_place place;
    char text[REASON_MAX_BYTES];
    const int r = find_own(of, off, ret_block, &place);
    if (r) {
        return r;
    }
    const struct share_new fresh = {
        .off = off,
        .num_bytes = ret_block->num_bytes,
        .place = place,
        .owner = of->client->slot,
        .tag = core->config.random(core->config.random_user),
        .reason = text,
        .n_reason_bytes = block_reason(core, ret_block, text),
        .now = of->now,
    };
    const int full = shares_add(&core->shares, &fresh, ret_share);
    if (full) {
        return full == SHARES_E_USER ? SHARING_E_USER_SHARES : SHARING_E_FULL;
    }
    KMEM_CRASH_POINT("server.share.made");
    return 0;
}

/* The share of an offset, made if the block is the client's alone, and what of it is its own. */
static int share_of(const struct sharing *of, struct seg_off off, uint32_t *ret_share,
                    struct part *ret_part, struct block *ret_block)
{
    uint32_t share = shares_at(&of->core->shares, off);
    if (share == 0) {
        const int r = share_add(of, off, &share, ret_block);
        if (r) {
            return r;
        }
    }
    *ret_block = share_describe(of->core, share);
    *ret_part = part_of(of, share);
    *ret_share = share;
    return part_is_none(ret_part) ? DIRECT_E_FOREIGN : 0;
}

int sharing_find_held(const struct sharing *of, struct seg_off off, uint32_t *ret_share,
                      struct block *ret_block)
{
    struct part part;
    return share_of(of, off, ret_share, &part, ret_block);
}

int sharing_share(const struct sharing *of, struct seg_off off, bool read_only,
                  struct share_handle *ret_handle, struct block *ret_block)
{
    struct shares *shares = &of->core->shares;
    uint32_t share;
    struct part part;
    const int r = share_of(of, off, &share, &part, ret_block);
    if (r || !part.may_give) {
        return r ? r : DIRECT_E_FOREIGN;
    }
    const uint64_t word = shares_word(shares, share);
    if (((word & SHARE_READ_ONLY) != 0) != read_only) {
        shares_set(shares, share, word ^ SHARE_READ_ONLY);
    }
    *ret_handle = shares_handle(shares, share);
    return 0;
}

/* ---------------------------------------------------------------------------------- attach ---- */

void sharing_end_offer(struct core *core, uint32_t share, uint64_t flags)
{
    struct shares *shares = &core->shares;
    uint64_t word = shares_word(shares, share) & ~(SHARE_OFFERED | SHARE_KEEP);
    if ((word & SHARE_LEASED) == 0 && flags == 0) {
        word |= (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT;
    }
    shares_set(shares, share, word | flags);
    KMEM_CRASH_POINT("server.offer.ended");
    uint32_t next;
    for (uint32_t hold = shares_holds_first(shares, share); hold != 0; hold = next) {
        next = shares_holds_next(shares, hold);
        if (shares_hold_word(shares, hold) & HOLD_GIVEN) {
            shares_let_go(shares, hold);
        }
    }
}

/* Before the hold that is to write is true; it is never taken away, for the owner is told. */
static void note_written(struct core *core, uint32_t share)
{
    const uint64_t word = shares_word(&core->shares, share);
    if ((word & SHARE_WRITTEN) == 0) {
        /* Before: no other has held it for writing. After: one may have. */
        shares_set(&core->shares, share, word | SHARE_WRITTEN);
        KMEM_CRASH_POINT("server.attach.written");
    }
}

static int hold_add(const struct sharing *of, uint32_t share, bool write, bool owner,
                    struct sharing_reason reason)
{
    const struct hold_new fresh = {
        .slot = of->client->slot,
        .write = write,
        .owner = owner,
        .reason = reason.text,
        .n_reason_bytes = reason.n_bytes,
        .now = of->now,
    };
    uint32_t hold;
    if (write) {
        note_written(of->core, share);
    }
    const int r = shares_hold(&of->core->shares, share, &fresh, &hold);
    KMEM_CRASH_POINT("server.attach.held");
    return r == SHARES_E_USER ? SHARING_E_USER_HOLDS : r ? SHARING_E_FULL : 0;
}

/* The first to attach what is offered. */
static int attach_offered(const struct sharing *of, uint32_t share, struct sharing_reason reason)
{
    struct shares *shares = &of->core->shares;
    const uint32_t given = shares_hold_of(shares, share, of->client->slot);
    int r = 0;
    if (given != 0) {
        shares_hold_give(shares, given, false); /* it takes it back itself */
    } else {
        r = hold_add(of, share, true, true, reason);
    }
    if (r == 0) {
        sharing_end_offer(of->core, share, 0);
    }
    return r;
}

static int attach_as_holder(const struct sharing *of, uint32_t share, bool write,
                            struct sharing_reason reason)
{
    struct shares *shares = &of->core->shares;
    const uint32_t hold = shares_hold_of(shares, share, of->client->slot);
    const uint64_t hold_word = hold != 0 ? shares_hold_word(shares, hold) : 0;
    if (write && (hold_word & HOLD_OWNER) == 0 &&
        (shares_word(shares, share) & SHARE_READ_ONLY) != 0) {
        return SHARING_E_DENIED;
    }
    if (hold == 0) {
        return hold_add(of, share, write, false, reason);
    }
    if (write && (hold_word & HOLD_WRITE) == 0) {
        note_written(of->core, share);
        shares_hold_write(shares, hold);
    }
    return 0;
}

static int attach_share(const struct sharing *of, uint32_t share, bool write,
                        struct sharing_reason reason, struct attached *ret_attached)
{
    struct shares *shares = &of->core->shares;
    const uint64_t word = shares_word(shares, share);
    const bool is_own = SHARE_OWNER(word) == of->client->slot;
    int r = 0;
    if (of->client->identity.is_reader && (write || (word & SHARE_OFFERED) != 0)) {
        return SHARING_E_DENIED; /* it owns nothing, and writes nowhere */
    }
    if (is_own && (word & SHARE_OWNER_HOLDS) == 0) {
        sharing_end_offer(of->core, share, SHARE_OWNER_HOLDS);
    } else if (!is_own && (word & SHARE_OFFERED) != 0) {
        r = attach_offered(of, share, reason);
    } else if (!is_own) {
        r = attach_as_holder(of, share, write, reason);
    }
    if (r) {
        return r;
    }
    settle(of->core, share);
    const uint32_t hold = is_own ? 0 : shares_hold_of(shares, share, of->client->slot);
    *ret_attached = (struct attached){
        .handle = shares_handle(shares, share),
        .is_own = is_own,
        .is_writable = is_own || (shares_hold_word(shares, hold) & HOLD_WRITE) != 0,
    };
    return 0;
}

int sharing_attach(const struct sharing *of, const struct share_handle *handle, bool write,
                   struct sharing_reason reason, struct attached *ret_attached)
{
    uint32_t share;
    const int r = shares_find(&of->core->shares, handle, &share);
    if (r) {
        return r == SHARES_E_DENIED ? SHARING_E_DENIED : SHARING_E_STALE;
    }
    return attach_share(of, share, write, reason, ret_attached);
}

/* ---------------------------------------------------------------------------------- let go ---- */

/* Whether a client's part is all that keeps a share. */
static bool part_is_last(const struct core *core, uint32_t share, const struct part *part)
{
    const struct shares *shares = &core->shares;
    if (part->owns) {
        return !settle_is_kept_by_others(core, share);
    }
    return shares_n_holds(shares, share) == 1 && shares_n_names(shares, share) == 0 &&
           (shares_word(shares, share) & (SHARE_OWNER_HOLDS | SHARE_OFFERED)) == 0;
}

static void part_let_go(struct core *core, uint32_t share, const struct part *part, bool is_last)
{
    struct shares *shares = &core->shares;
    const uint64_t word = shares_word(shares, share);
    if (part->owns && is_last && (word & SHARE_LEASED) != 0) {
        shares_remove(shares, share); /* it is the owner's, who takes it home */
        return;
    }
    if (part->owns) {
        shares_set(shares, share, word & ~SHARE_OWNER_HOLDS);
    } else {
        shares_let_go(shares, part->hold);
    }
    KMEM_CRASH_POINT("server.share.left");
    settle(core, share);
}

/* As sharing_look(), and the share, with what of it is the client's. */
static int share_look(const struct sharing *of, struct seg_off off, uint32_t *ret_share,
                      struct part *ret_part, enum let_go *ret_let_go, struct block *ret_block)
{
    const uint32_t share = shares_at(&of->core->shares, off);
    KMEM_ASSERT(share != 0);
    *ret_share = share;
    *ret_part = part_of(of, share);
    *ret_block = share_describe(of->core, share);
    if (part_is_none(ret_part)) {
        return DIRECT_E_FOREIGN;
    }
    *ret_let_go = part_is_last(of->core, share, ret_part) ? LET_GO_FREED : LET_GO_KEPT;
    return 0;
}

int sharing_look(const struct sharing *of, struct seg_off off, enum let_go *ret_let_go,
                 struct block *ret_block)
{
    uint32_t share;
    struct part part;
    return share_look(of, off, &share, &part, ret_let_go, ret_block);
}

int sharing_release(const struct sharing *of, struct seg_off off, enum let_go *ret_let_go,
                    struct block *ret_block)
{
    struct core *core = of->core;
    uint32_t share;
    struct part part;
    enum let_go let_go;
    const int r = share_look(of, off, &share, &part, &let_go, ret_block);
    if (r) {
        return r;
    }
    const struct intent intent = {
        .kind = INTENT_RELEASE, .n_pages = SHARING_INTENT(let_go), .at = off.bytes};
    clients_intend(&core->clients, of->client->slot, of->sequence, &intent);
    KMEM_CRASH_POINT("server.release.intended");
    part_let_go(core, share, &part, let_go == LET_GO_FREED);
    *ret_let_go = let_go;
    return 0;
}

/* ------------------------------------------------------------------------------- hand over ---- */

int sharing_transfer(const struct sharing *of, struct seg_off off, bool keep,
                     struct share_handle *ret_handle, struct block *ret_block)
{
    struct shares *shares = &of->core->shares;
    uint32_t share;
    struct part part;
    const int r = share_of(of, off, &share, &part, ret_block);
    if (r || !part.may_give) {
        return r ? r : DIRECT_E_FOREIGN;
    }
    if (!part_is_last(of->core, share, &part)) {
        return SHARING_E_HELD;
    }
    const uint64_t word = shares_word(shares, share) & ~SHARE_OWNER_HOLDS;
    shares_set(shares, share, word | SHARE_OFFERED | (keep ? SHARE_KEEP : 0));
    KMEM_CRASH_POINT("server.share.offered");
    if (part.hold != 0) {
        shares_hold_give(shares, part.hold, true);
    }
    *ret_handle = shares_handle(shares, share);
    return 0;
}

void sharing_deliver(struct core *core, struct client *client)
{
    returns_deliver(&core->returns, client);
}
