/* SPDX-License-Identifier: MIT */
#include "daemon/core/settle.h"

#include "proto/crash_point.h"

bool settle_is_kept(const struct core *core, uint32_t share)
{
    return (shares_word(&core->shares, share) & (SHARE_OWNER_HOLDS | SHARE_OFFERED)) != 0 ||
           shares_n_holds(&core->shares, share) > 0 || shares_n_names(&core->shares, share) > 0;
}

/* An offer that is not of the owner is of a holder: that has its hold still. */
bool settle_is_kept_by_others(const struct core *core, uint32_t share)
{
    const uint64_t word = shares_word(&core->shares, share);
    return ((word & SHARE_OFFERED) != 0 && (word & SHARE_KEEP) != 0) ||
           shares_n_holds(&core->shares, share) > 0 || shares_n_names(&core->shares, share) > 0;
}

uint64_t settle_disowned(const struct core *core, uint32_t share)
{
    const uint64_t word = shares_word(&core->shares, share);
    const bool stays_offered =
        (word & SHARE_OFFERED) != 0 &&
        ((word & SHARE_KEEP) != 0 || shares_n_holds(&core->shares, share) > 0);
    return SHARE_LIVE | (word & SHARE_READ_ONLY) |
           (stays_offered ? word & (SHARE_OFFERED | SHARE_KEEP) : 0) |
           (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT;
}

/* The owner, if it is the one to be charged; else SLOT_NONE. */
static uint32_t owner_who_pays(uint64_t word)
{
    return (word & (SHARE_OWNER_HOLDS | SHARE_OFFERED)) != 0 ? SHARE_OWNER(word) : SLOT_NONE;
}

bool settle_may_pay(const struct core *core, uint32_t share, uint32_t slot)
{
    const struct shares *shares = &core->shares;
    const uint32_t owner = owner_who_pays(shares_word(shares, share));
    if (owner != SLOT_NONE) {
        return slot == owner;
    }
    return shares_n_holds(shares, share) == 0 ? slot == settle_heir(core, share)
                                              : shares_hold_of(shares, share, slot) != 0;
}

uint32_t settle_heir(const struct core *core, uint32_t share)
{
    const uint32_t hold = shares_holds_first(&core->shares, share);
    if (hold != 0) {
        return HOLD_SLOT(shares_hold_word(&core->shares, hold));
    }
    const uint32_t publisher = names_publisher(&core->names, share);
    return publisher != SLOT_NONE ? publisher : SLOT_KEPT;
}

uint32_t settle_payer(const struct core *core, uint32_t share)
{
    const uint32_t owner = owner_who_pays(shares_word(&core->shares, share));
    return owner != SLOT_NONE ? owner : settle_heir(core, share);
}

bool settle_block(const struct core *core, uint32_t share, struct block *ret_block)
{
    const struct state_share *record = shares_record(&core->shares, share);
    const struct seg_off off = {record->offset};
    const int r = direct_find(&core->direct, core->clients.kept, off, ret_block);
    return (r == 0 || r == DIRECT_E_FOREIGN) && ret_block->num_bytes == record->num_bytes;
}

static bool is_of_the_dead(const struct core *core, const struct block *block)
{
    return clients_get(&core->clients, block->slot)->client_state == CLIENT_ENDED;
}

void settle_note_kept(struct core *core, uint32_t share)
{
    struct block block;
    if (settle_block(core, share, &block) && block.slot == SLOT_KEPT) {
        accounts_keep(&core->accounts, shares_uid(&core->shares, share), block.num_bytes);
    }
}

static void unkeep(struct core *core, uint32_t share, const struct block *block)
{
    if (block->slot == SLOT_KEPT) {
        accounts_unkeep(&core->accounts, shares_uid(&core->shares, share), block->num_bytes);
    }
}

/* What an ended client had not released is left to the walk that takes it back: reap.c. */
static void end_direct(struct core *core, uint32_t share, bool is_released)
{
    struct block block;
    if (settle_block(core, share, &block) && (is_released || !is_of_the_dead(core, &block))) {
        unkeep(core, share, &block);
        direct_take_back(&core->direct, block.off);
        KMEM_CRASH_POINT("server.share.freed");
    }
    shares_remove(&core->shares, share);
}

static void end_leased(struct core *core, uint32_t share)
{
    struct client *owner =
        clients_get(&core->clients, SHARE_OWNER(shares_word(&core->shares, share)));
    if (owner->client_state == CLIENT_LIVE) {
        returns_begin(&core->returns, owner, share);
    } else {
        shares_remove(&core->shares, share); /* its pages go with the lease */
    }
}

void settle_count(struct core *core, uint32_t share, uint32_t payer)
{
    if (payer != SLOT_KEPT) {
        shares_set_uid(&core->shares, share, clients_get(&core->clients, payer)->identity.uid);
    }
}

uint32_t settle_charge(struct core *core, uint32_t share, const struct block *block)
{
    uint32_t payer = block->slot;
    if (!settle_may_pay(core, share, payer)) {
        payer = settle_payer(core, share);
        unkeep(core, share, block);
        if (payer == SLOT_KEPT) {
            accounts_keep(&core->accounts, shares_uid(&core->shares, share), block->num_bytes);
        }
        direct_charge(&core->direct, block->off, payer);
    }
    settle_count(core, share, payer);
    return payer;
}

static void settle_as(struct core *core, uint32_t share, bool is_released)
{
    const bool is_leased = (shares_word(&core->shares, share) & SHARE_LEASED) != 0;
    struct block block;
    if (!settle_is_kept(core, share)) {
        if (is_leased) {
            end_leased(core, share);
        } else {
            end_direct(core, share, is_released);
        }
    } else if (!is_leased) {
        const bool is_there = settle_block(core, share, &block);
        KMEM_ASSERT(is_there);
        (void)settle_charge(core, share, &block); /* whoever it is */
    }
}

void settle(struct core *core, uint32_t share)
{
    settle_as(core, share, false);
}

void settle_name(struct core *core, uint32_t share)
{
    settle_as(core, share, true);
}
