/* SPDX-License-Identifier: MIT */
#include "tests/unit/sharing_model.h"

#include "daemon/core/sharing.h"

struct model_block blocks[N_BLOCKS];
struct model_name names[N_NAMES];
uint32_t slots[N_CLIENTS];
struct share_handle stale;
uint32_t n_adopted;

static uint32_t n_names_of(uint32_t block)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_NAMES; i++) {
        n += names[i].block == block;
    }
    return n;
}

static bool is_kept_by_others(uint32_t i)
{
    const struct model_block *block = &blocks[i];
    return (block->is_offered && block->is_kept) || block->giver != NONE || block->holds != 0 ||
           n_names_of(i) > 0;
}

static bool is_kept(uint32_t i)
{
    return blocks[i].owner_holds || blocks[i].is_offered || is_kept_by_others(i);
}

void model_forget(uint32_t i)
{
    if (blocks[i].handle.generation != 0) {
        stale = blocks[i].handle;
    }
    blocks[i] = (struct model_block){.is_used = false};
}

void model_settle(uint32_t i)
{
    struct model_block *block = &blocks[i];
    if (!block->is_shared || is_kept(i)) {
        return;
    }
    if (block->is_leased && block->owner != NONE && slots[block->owner] != NONE) {
        block->is_shared = false;
        block->is_coming = true;
        stale = block->handle;
    } else {
        model_forget(i);
    }
}

bool model_is_held_by(const struct model_block *block, uint32_t who)
{
    return (block->owner == who && block->owner_holds) || block->holds >> who & 1;
}

bool model_may_give(const struct model_block *block, uint32_t who)
{
    return (block->owner == who && block->owner_holds) ||
           (block->holds >> who & 1 && block->heirs >> who & 1);
}

bool model_is_last(uint32_t i, uint32_t who)
{
    const struct model_block *block = &blocks[i];
    if (block->owner == who && block->owner_holds) {
        return !is_kept_by_others(i);
    }
    return block->holds == UINT32_C(1) << who && !block->owner_holds && !block->is_offered &&
           block->giver == NONE && n_names_of(i) == 0;
}

void model_attach(uint32_t i, uint32_t who)
{
    struct model_block *block = &blocks[i];
    const uint32_t bit = UINT32_C(1) << who;
    if (block->owner == who) {
        block->owner_holds = true;
        block->heirs &= block->giver != NONE ? ~(UINT32_C(1) << block->giver) : UINT32_MAX;
        block->giver = NONE;
    } else if (block->is_offered) {
        block->heirs = bit;
        block->giver = NONE;
        block->owner = block->is_leased ? block->owner : NONE;
        block->holds |= bit;
    } else {
        block->holds |= bit;
    }
    block->is_offered = false;
    block->is_kept = false;
}

int model_may_attach(const struct model_block *block, uint32_t who, bool write)
{
    if (!block->is_shared) {
        return SHARING_E_STALE;
    }
    const bool is_free_to = block->owner == who || block->is_offered || block->heirs >> who & 1;
    return write && block->is_read_only && !is_free_to ? SHARING_E_DENIED : 0;
}

static void model_end_name(uint32_t which, uint32_t who)
{
    const uint32_t block = names[which].block;
    if (block != NONE && names[which].owner == who) {
        names[which].owner = NONE;
        if (!names[which].keep) {
            names[which].block = NONE;
            model_settle(block);
        }
    }
}

static void model_end_hold(uint32_t i, uint32_t who)
{
    struct model_block *block = &blocks[i];
    block->holds &= ~(UINT32_C(1) << who);
    block->heirs &= ~(UINT32_C(1) << who);
    if (block->giver == who) {
        block->giver = NONE;
        block->is_offered = block->is_kept;
    }
    if (block->is_used && !block->is_coming) {
        model_settle(i);
    }
}

static void model_end_own(uint32_t i, uint32_t who)
{
    struct model_block *block = &blocks[i];
    if (!block->is_used || block->owner != who) {
        return;
    }
    if (block->is_coming || !block->is_shared || !is_kept_by_others(i)) {
        model_forget(i);
        return;
    }
    n_adopted += block->is_leased;
    block->is_offered = block->is_offered && (block->is_kept || block->giver != NONE);
    block->is_leased = false;
    block->owner = NONE;
    block->owner_holds = false;
}

void model_end(uint32_t who)
{
    for (uint32_t i = 0; i < N_NAMES; i++) {
        model_end_name(i, who);
    }
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        model_end_hold(i, who);
        model_end_own(i, who);
    }
}
