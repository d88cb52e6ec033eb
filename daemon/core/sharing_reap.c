/* SPDX-License-Identifier: MIT */
/*
 * sharing_reap.c - an ended client lets go of what it shares
 *
 * Before anything of it is taken back, so that the walk of reap.c finds only what is nobody else's:
 * a block that was shared and that others keep is charged to one of them by then, or is in a slab
 * that was adopted.
 */
#include <string.h>

#include "daemon/core/adopt.h"
#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"

/* 40: a chain or two and a hash table, and the block behind them: some 0.4 us. */
#define LET_GO_COST 40

static void reap_name(struct core *core, uint32_t name)
{
    const bool stays = names_keep(&core->names, name);
    const uint32_t bell = names_bell(&core->names, name);
    const uint32_t share = names_share(&core->names, name);
    if (stays) {
        names_disown(&core->names, name);
    } else {
        (void)names_remove(&core->names, name); /* the share */
    }
    KMEM_CRASH_POINT("server.reap.name");
    settle_name(core, share);
    if (!stays) {
        core_wake(core, bell);
    }
}

/* An offer that is not kept ends with who made it; before the hold, by which that is known. */
static void reap_hold(struct core *core, uint32_t hold)
{
    struct shares *shares = &core->shares;
    const uint64_t hold_word = shares_hold_word(shares, hold);
    const uint32_t share = HOLD_SHARE(hold_word);
    const uint64_t word = shares_word(shares, share);
    if ((hold_word & HOLD_GIVEN) != 0 && (word & SHARE_KEEP) == 0) {
        shares_set(shares, share, word & ~SHARE_OFFERED);
    }
    shares_let_go(shares, hold);
    KMEM_CRASH_POINT("server.reap.hold");
    settle(core, share);
}

/* What nobody else keeps of a slab is not adopted with it. */
static void forget_own(struct core *core, uint32_t slab_page)
{
    uint32_t next;
    uint32_t share = shares_first_in_slab(&core->shares, slab_page);
    for (; share != 0; share = next) {
        next = shares_next_in_slab(&core->shares, share);
        if (!settle_is_kept_by_others(core, share)) {
            shares_remove(&core->shares, share);
        }
    }
}

static void name_of(const struct core *core, uint32_t share, struct obituary_kept *kept)
{
    const uint32_t name = names_of_share(&core->names, share);
    KMEM_ASSERT(name != NAME_NONE);
    const struct state_name *record = names_record(&core->names, name);
    memcpy(kept->text, record->bytes, record->n_bytes);
    kept->text[record->n_bytes] = '\0';
}

/* A share of the client's memory that others keep: for its obituary. */
static void note_kept(struct core *core, uint32_t slot, uint32_t share)
{
    const struct shares *shares = &core->shares;
    struct obituary_kept *kept =
        obituaries_note_kept(&core->obituaries, slot, shares_record(shares, share)->num_bytes);
    if (!kept) {
        return;
    }
    const uint32_t hold = shares_holds_first(shares, share);
    kept->kept_by = hold != 0                           ? KEPT_BY_PROCESS
                    : shares_n_names(shares, share) > 0 ? KEPT_BY_NAME
                                                        : KEPT_BY_OFFER;
    kept->pid = 0;
    kept->text[0] = '\0';
    if (kept->kept_by == KEPT_BY_PROCESS) {
        const struct client_identity *holder =
            &clients_get(&core->clients, HOLD_SLOT(shares_hold_word(shares, hold)))->identity;
        kept->pid = holder->pid;
        memcpy(kept->text, holder->command, sizeof(holder->command));
    } else if (kept->kept_by == KEPT_BY_NAME) {
        name_of(core, share, kept);
    }
}

static void reap_owned(struct core *core, uint32_t share, uint32_t *spent)
{
    const uint64_t word = shares_word(&core->shares, share);
    const uint32_t slab_page = shares_record(&core->shares, share)->slab_page;
    if ((word & SHARE_STATE_MASK) == SHARE_RETURNING || !settle_is_kept_by_others(core, share)) {
        shares_remove(&core->shares,
                      share); /* its block is charged to the client, or in its lease */
    } else if ((word & SHARE_LEASED) == 0) {
        note_kept(core, SHARE_OWNER(word), share);
        shares_set(&core->shares, share, settle_disowned(core, share));
        KMEM_CRASH_POINT("server.reap.disowned");
        settle(core, share);
    } else {
        forget_own(core, slab_page);
        for (uint32_t next = share; next != 0; next = shares_next_in_slab(&core->shares, next)) {
            note_kept(core, SHARE_OWNER(word), next);
            ++*spent;
        }
        *spent += adopt_slab(core, share);
    }
}

/* Whether a step ends here. */
static bool is_spent(uint32_t *n_done, uint32_t budget, uint32_t *spent)
{
    if (*n_done > 0 && *spent >= budget) {
        return true;
    }
    ++*n_done;
    *spent += LET_GO_COST;
    return false;
}

bool sharing_reap(struct core *core, struct client *client, uint32_t budget, uint32_t *spent)
{
    const uint32_t slot = client->slot;
    uint32_t n_done = 0;
    KMEM_ASSERT(client->client_state == CLIENT_ENDED);
    returns_forget(&core->returns, slot);
    for (uint32_t name; (name = names_first_of(&core->names, slot)) != NAME_NONE;) {
        if (is_spent(&n_done, budget, spent)) {
            return false;
        }
        reap_name(core, name);
    }
    for (uint32_t hold; (hold = shares_held_first(&core->shares, slot)) != 0;) {
        if (is_spent(&n_done, budget, spent)) {
            return false;
        }
        reap_hold(core, hold);
    }
    for (uint32_t share; (share = shares_first_of(&core->shares, slot)) != 0;) {
        if (is_spent(&n_done, budget, spent)) {
            return false;
        }
        reap_owned(core, share, spent);
    }
    client->has_let_go = true;
    return true;
}

void sharing_fini(struct core *core)
{
    for (uint32_t name; (name = names_next(&core->names, 0)) != NAME_NONE;) {
        settle(core, names_remove(&core->names, name));
    }
    for (uint32_t share; (share = shares_next(&core->shares, 1)) != 0;) {
        KMEM_ASSERT((shares_word(&core->shares, share) & SHARE_OFFERED) != 0);
        shares_set(&core->shares, share, shares_word(&core->shares, share) & ~SHARE_OFFERED);
        settle(core, share);
    }
}

bool sharing_has_any(const struct core *core, uint32_t slot)
{
    return names_first_of(&core->names, slot) != NAME_NONE ||
           shares_held_first(&core->shares, slot) != 0 || shares_first_of(&core->shares, slot) != 0;
}
