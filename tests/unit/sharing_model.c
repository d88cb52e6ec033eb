/* SPDX-License-Identifier: MIT */
#include "tests/unit/sharing_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct model_block blocks[N_BLOCKS];
struct model_name names[N_NAMES];
uint32_t slots[N_CLIENTS];
struct share_handle stale;
uint32_t n_adopted;
struct seeded seeded;
uint32_t n_step;

uint32_t pick_block(void)
{
    const uint32_t first = below(N_BLOCKS);
    for (uint32_t n = 0; n < N_BLOCKS; n++) {
        const uint32_t i = (first + n) % N_BLOCKS;
        if (blocks[i].is_used && !blocks[i].is_coming) {
            return i;
        }
    }
    return NONE;
}

uint32_t pick_held(uint32_t who)
{
    uint32_t i = pick_block();
    for (uint32_t n = 0; n < 8 && i != NONE && !model_is_held_by(&blocks[i], who); n++) {
        i = pick_block();
    }
    return i;
}

uint32_t pick_honest(void)
{
    const uint32_t who = below(N_HONEST);
    return slots[who] != NONE ? who : NONE;
}

uint32_t free_block(void)
{
    uint32_t i = 0;
    while (i < N_BLOCKS && blocks[i].is_used) {
        i++;
    }
    return i < N_BLOCKS ? i : NONE;
}

struct sharing_name name_text(uint32_t which, char text[8])
{
    (void)snprintf(text, 8, "name%u", which);
    return (struct sharing_name){.text = text, .n_bytes = strlen(text)};
}

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

void model_release(uint32_t i, uint32_t who)
{
    struct model_block *block = &blocks[i];
    if (block->owner == who && block->owner_holds && !is_kept_by_others(i)) {
        model_forget(i);
        return;
    }
    if (block->owner == who) {
        block->owner_holds = false;
    } else {
        block->holds &= ~(UINT32_C(1) << who);
        block->heirs &= ~(UINT32_C(1) << who);
    }
    model_settle(i);
}

void model_offer(uint32_t i, uint32_t who, bool keep)
{
    struct model_block *block = &blocks[i];
    block->giver = block->owner == who && block->owner_holds ? NONE : who;
    block->owner_holds = false;
    block->holds &= ~(UINT32_C(1) << who);
    block->is_offered = true;
    block->is_kept = keep;
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

/* ------------------------------------------------------------------------------- comparing ---- */

/* A bit for each client that lives, and has published a name of a block. */
static uint32_t publishers_of(const struct model_block *model)
{
    uint32_t publishers = 0;
    for (uint32_t i = 0; i < N_NAMES; i++) {
        if (names[i].block == (uint32_t)(model - blocks) && names[i].owner != NONE) {
            publishers |= UINT32_C(1) << names[i].owner;
        }
    }
    return publishers;
}

/* Whether the client that is charged is one that the model would charge. */
static bool may_pay(const struct model_block *model, uint32_t slot)
{
    const bool owner_pays = model->owner != NONE && (model->owner_holds || model->is_offered);
    uint32_t payers = model->holds | (model->giver != NONE ? UINT32_C(1) << model->giver : 0);
    payers = owner_pays ? UINT32_C(1) << model->owner : payers;
    payers = payers != 0 ? payers : publishers_of(model);
    for (uint32_t who = 0; who < N_CLIENTS; who++) {
        if (payers >> who & 1 && slot == slots[who]) {
            return true;
        }
    }
    return payers == 0 && slot == SLOT_KEPT;
}

static void check_holders(const struct core *core, const struct model_block *model, uint32_t share)
{
    uint32_t n_holds = model->giver != NONE;
    for (uint32_t who = 0; who < N_HONEST; who++) {
        if (model->holds >> who & 1) {
            EXPECT(shares_hold_of(&core->shares, share, slots[who]) != 0);
            n_holds++;
        }
    }
    EXPECT(shares_n_holds(&core->shares, share) == n_holds);
}

static void check_block(const struct core *core, const struct model_block *model)
{
    const uint32_t share = shares_at(&core->shares, model->off);
    struct block block;
    EXPECT((share != 0 && (shares_word(&core->shares, share) & SHARE_STATE_MASK) == SHARE_LIVE) ==
           model->is_shared);
    if (model->is_shared) {
        check_holders(core, model, share);
    }
    if (model->is_coming || model->is_leased) {
        EXPECT(!model->is_shared || (shares_word(&core->shares, share) & SHARE_LEASED) != 0);
        return;
    }
    const int r = direct_find(&core->direct, core->clients.kept, model->off, &block);
    EXPECT(r == 0 || r == DIRECT_E_FOREIGN);
    EXPECT(may_pay(model, block.slot));
}

static void check_name(const struct core *core, uint32_t which)
{
    char text[8];
    const struct sharing_name name = name_text(which, text);
    const uint32_t is = names_find(&core->names, name.text, name.n_bytes);
    EXPECT((is == NAME_NONE) == (names[which].block == NONE));
    if (is != NAME_NONE) {
        EXPECT(names_version_of(&core->names, is) == names[which].version);
        EXPECT(names_share(&core->names, is) ==
               shares_at(&core->shares, blocks[names[which].block].off));
    }
}

void model_check(const struct core *core)
{
    EXPECT(core_check(core) == 0);
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        if (blocks[i].is_used) {
            check_block(core, &blocks[i]);
        }
    }
    for (uint32_t i = 0; i < N_NAMES; i++) {
        check_name(core, i);
    }
}
