/* SPDX-License-Identifier: MIT */
/*
 * core_check.c - the checker of core.h: those of all parts, and what they come to together
 */
#include "daemon/core/core.h"
#include "daemon/core/sharing.h"

/* ------------------------------------------------------------------- what counts for users ---- */

static void recount_shares(const struct shares *shares, struct reason_users *users)
{
    for (uint32_t share = shares_next(shares, 1); share != 0;
         share = shares_next(shares, share + 1)) {
        const uint32_t uid = shares_uid(shares, share);
        caps_add(users->caps, CAP_SHARES, uid);
        reason_users_add(users, shares_record(shares, share)->reason, uid);
    }
    for (uint32_t hold = 1; hold < shares->n_hold_records; hold++) {
        const uint64_t word = shares_hold_word(shares, hold);
        if (word != 0) {
            const uint32_t uid = shares->state->clients[HOLD_SLOT(word)].uid;
            caps_add(users->caps, CAP_HOLDS, uid);
            reason_users_add(users, shares_hold_record(shares, hold)->reason, uid);
        }
    }
}

static void recount_names(const struct names *names, struct caps *caps)
{
    for (uint32_t name = names_next(names, 0); name != NAME_NONE;
         name = names_next(names, name + 1)) {
        caps_add(caps, CAP_NAMES, names_uid(names, name));
    }
}

static void recount_slab(const struct core *core, uint32_t page, struct reason_users *users)
{
    const struct slab slab = direct_slab(&core->direct, page);
    struct block block;
    for (uint32_t index = 0; index < slab.n_blocks; index++) {
        if (direct_block(&slab, index, &block)) {
            const uint32_t uid = clients_get(&core->clients, block.slot)->identity.uid;
            reason_users_add(users, block.reason, uid);
        }
    }
}

static void recount_blocks(const struct core *core, struct reason_users *users)
{
    for (uint32_t page = 0; page < core->state.n_pages;) {
        const uint64_t word = pages_word(&core->pages, page);
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT) {
            recount_slab(core, page, users);
        }
        page += PAGE_WORD_PAGES(word);
    }
}

/* The table of reasons that is short counts some for nobody. */
static bool pairs_are_sound(const struct reason_users *users, const struct reason_users *recount)
{
    for (uint32_t i = 1; i < recount->n_records; i++) {
        const struct reason_user *pair = &recount->pairs[i];
        if (reason_users_count(users, pair->reason, pair->uid) != pair->n) {
            return false;
        }
    }
    return users->n_pairs == recount->n_pairs;
}

static bool users_are_sound(const struct core *core)
{
    static const uint32_t no_limits[N_CAPS];
    struct caps caps;
    struct reason_users users;
    const uint32_t n_users = core->shares.n_shares + core->names.n_names + core->clients.n_live +
                             core->clients.n_ended + 1;
    const uint64_t n_pairs = core->direct.n_blocks + core->shares.n_shares + core->shares.n_holds;
    KMEM_ASSERT(caps_init_for(&caps, no_limits, core->config.owner_uid, n_users) == 0);
    KMEM_ASSERT(reason_users_init_for(&users, &caps,
                                      n_pairs < REASON_USERS_MAX ? (uint32_t)n_pairs
                                                                 : REASON_USERS_MAX) == 0);
    recount_shares(&core->shares, &users);
    recount_names(&core->names, &caps);
    recount_blocks(core, &users);
    const bool is_sound =
        core->reasons.users.is_short ||
        (pairs_are_sound(&core->reasons.users, &users) && caps_same(&caps, &core->caps));
    reason_users_fini(&users);
    caps_fini(&caps);
    return is_sound;
}

/* -------------------------------------------------------------------------------- the core ---- */

int core_check(const struct core *core)
{
    if (pages_check(&core->pages) || reasons_check(&core->reasons) ||
        clients_check(&core->clients) || shares_check(&core->shares) || names_check(&core->names) ||
        direct_check(&core->direct) || leases_check(&core->leases) || sharing_check(core) ||
        obituaries_check(&core->obituaries) || history_check(&core->history) ||
        refusals_check(&core->refusals) || !users_are_sound(core) ||
        budgets_check(&core->budgets) ||
        accounts_check(&core->accounts, &core->clients, core->clients.kept->num_bytes)) {
        return CORE_E_CORRUPT;
    }
    const uint64_t sum = core->direct.used_bytes + core_free_bytes(core) +
                         core_direct_overhead_bytes(core) + (core->leases.n_pages << PAGE_SHIFT);
    return sum == core_segment_bytes(core) ? 0 : CORE_E_CORRUPT;
}
