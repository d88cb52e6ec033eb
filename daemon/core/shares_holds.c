/* SPDX-License-Identifier: MIT */
/*
 * shares_holds.c - who holds a share: the order of stores is in shares.c
 *
 * A hold is on the chain of its share, on that of its client, and in a hash table by both, so that
 * each question costs the same however many holders a share, or holds a client has.
 */
#include "daemon/core/hash.h"
#include "daemon/core/shares.h"
#include "proto/store.h"

const struct state_hold *shares_hold_record(const struct shares *shares, uint32_t hold)
{
    KMEM_ASSERT(hold != 0);
    KMEM_ASSERT(hold < shares->n_hold_records);
    return &shares->state->holds[hold];
}

uint64_t shares_hold_word(const struct shares *shares, uint32_t hold)
{
    return state_load(&shares_hold_record(shares, hold)->word);
}

/* The links of a hold that is in use. */
static struct hold_links *links_of(const struct shares *shares, uint32_t hold)
{
    KMEM_ASSERT(shares_hold_word(shares, hold) != 0);
    return &shares->hold_links[hold];
}

/* ------------------------------------------------------------------------------- by holder ---- */

static uint32_t *holder_bucket(const struct shares *shares, uint32_t share, uint32_t slot)
{
    /* Side by side for one client, strewn for one share: see offset_bucket(). */
    const uint64_t client = slot;
    const uint32_t hash = hash_words(shares->state->header->instance, &client, sizeof(client));
    return &shares->by_holder[(hash + share) % HOLDS_BUCKETS];
}

static void holder_link(struct shares *shares, uint32_t hold, uint64_t word)
{
    uint32_t *first = holder_bucket(shares, HOLD_SHARE(word), HOLD_SLOT(word));
    shares->hold_links[hold].next = *first;
    *first = hold;
}

static void holder_unlink(struct shares *shares, uint32_t hold, uint64_t word)
{
    uint32_t *at = holder_bucket(shares, HOLD_SHARE(word), HOLD_SLOT(word));
    while (*at != hold) {
        KMEM_ASSERT(*at != 0);
        at = &shares->hold_links[*at].next;
    }
    *at = shares->hold_links[hold].next;
}

uint32_t shares_hold_of(const struct shares *shares, uint32_t share, uint32_t slot)
{
    if (shares_n_holds(shares, share) == 0) {
        return 0;
    }
    uint32_t hold = *holder_bucket(shares, share, slot);
    while (hold != 0 && (HOLD_SHARE(shares_hold_word(shares, hold)) != share ||
                         HOLD_SLOT(shares_hold_word(shares, hold)) != slot)) {
        hold = shares->hold_links[hold].next;
    }
    return hold;
}

/* ---------------------------------------------------------------------------------- chains ---- */

static void share_chain_link(struct shares *shares, uint32_t hold, uint32_t share)
{
    struct hold_links *links = &shares->hold_links[hold];
    struct share_links *of = &shares->links[share];
    links->prev_on_share = 0;
    links->next_on_share = of->first_hold;
    if (of->first_hold != 0) {
        shares->hold_links[of->first_hold].prev_on_share = hold;
    }
    of->first_hold = hold;
    of->n_holds++;
}

static void share_chain_unlink(struct shares *shares, uint32_t hold, uint32_t share)
{
    const struct hold_links *links = &shares->hold_links[hold];
    struct share_links *of = &shares->links[share];
    if (links->next_on_share != 0) {
        shares->hold_links[links->next_on_share].prev_on_share = links->prev_on_share;
    }
    if (links->prev_on_share != 0) {
        shares->hold_links[links->prev_on_share].next_on_share = links->next_on_share;
    } else {
        KMEM_ASSERT(of->first_hold == hold);
        of->first_hold = links->next_on_share;
    }
    of->n_holds--;
}

static void client_chain_link(struct shares *shares, uint32_t hold, uint32_t slot)
{
    struct hold_links *links = &shares->hold_links[hold];
    uint32_t *first = &shares->holds_of_client[slot];
    links->prev_of_client = 0;
    links->next_of_client = *first;
    if (*first != 0) {
        shares->hold_links[*first].prev_of_client = hold;
    }
    *first = hold;
}

static void client_chain_unlink(struct shares *shares, uint32_t hold, uint32_t slot)
{
    const struct hold_links *links = &shares->hold_links[hold];
    if (links->next_of_client != 0) {
        shares->hold_links[links->next_of_client].prev_of_client = links->prev_of_client;
    }
    if (links->prev_of_client != 0) {
        shares->hold_links[links->prev_of_client].next_of_client = links->next_of_client;
    } else {
        KMEM_ASSERT(shares->holds_of_client[slot] == hold);
        shares->holds_of_client[slot] = links->next_of_client;
    }
}

uint32_t shares_holds_first(const struct shares *shares, uint32_t share)
{
    KMEM_ASSERT(shares_word(shares, share) != SHARE_NONE);
    return shares->links[share].first_hold;
}

uint32_t shares_holds_next(const struct shares *shares, uint32_t hold)
{
    return links_of(shares, hold)->next_on_share;
}

uint32_t shares_held_first(const struct shares *shares, uint32_t slot)
{
    KMEM_ASSERT(slot < CLIENTS_MAX);
    return shares->holds_of_client[slot];
}

uint32_t shares_held_next(const struct shares *shares, uint32_t hold)
{
    return links_of(shares, hold)->next_of_client;
}

/* ----------------------------------------------------------------------------------- holds ---- */

/* A free record; 0: there is none. */
static uint32_t hold_take(struct shares *shares)
{
    const uint32_t hold = shares->free_hold;
    if (hold != 0) {
        shares->free_hold = shares->hold_links[hold].next;
        return hold;
    }
    if (shares->n_hold_records == HOLDS_MAX) {
        return 0;
    }
    /* Before and after: the record is free. */
    state_commit(shares->state, &shares->state->header->n_holds, shares->n_hold_records + 1);
    return shares->n_hold_records++;
}

/* The holder's user, by the word of a hold: its slot is used for as long as it holds anything. */
static uint32_t uid_of(const struct shares *shares, uint64_t word)
{
    return shares->state->clients[HOLD_SLOT(word)].uid;
}

/* What follows from a record that is in use. */
static void hold_link(struct shares *shares, uint32_t hold)
{
    const uint64_t word = shares_hold_word(shares, hold);
    holder_link(shares, hold, word);
    share_chain_link(shares, hold, HOLD_SHARE(word));
    client_chain_link(shares, hold, HOLD_SLOT(word));
    shares->n_holds++;
    caps_add(shares->caps, CAP_HOLDS, uid_of(shares, word));
}

int shares_hold(struct shares *shares, uint32_t share, const struct hold_new *fresh,
                uint32_t *ret_hold)
{
    KMEM_ASSERT((shares_word(shares, share) & SHARE_STATE_MASK) == SHARE_LIVE);
    KMEM_ASSERT(fresh->slot < CLIENTS_MAX);
    KMEM_ASSERT(shares_hold_of(shares, share, fresh->slot) == 0);
    const uint32_t uid = shares->state->clients[fresh->slot].uid;
    if (!caps_may_have(shares->caps, CAP_HOLDS, uid)) {
        return SHARES_E_USER;
    }
    const uint32_t hold = hold_take(shares);
    if (hold == 0) {
        return SHARES_E_FULL;
    }
    struct state_hold *stored = &shares->state->holds[hold];
    const uint32_t reason =
        reasons_hold(shares->reasons, uid, fresh->reason, fresh->n_reason_bytes);
    store_hook(); /* plain stores */
    stored->reason = reason;
    stored->born = fresh->now;
    /* Before: the record is free. After: the client holds the share. */
    state_commit(shares->state, &stored->word,
                 HOLD_LIVE | share | (uint64_t)fresh->slot << HOLD_SLOT_SHIFT |
                     (fresh->write ? HOLD_WRITE : 0) | (fresh->owner ? HOLD_OWNER : 0));
    hold_link(shares, hold);
    *ret_hold = hold;
    return 0;
}

void shares_hold_write(struct shares *shares, uint32_t hold)
{
    const uint64_t word = shares_hold_word(shares, hold);
    KMEM_ASSERT(word != 0);
    /* Before: it reads. After: it may write too. */
    state_commit(shares->state, &shares->state->holds[hold].word, word | HOLD_WRITE);
}

void shares_hold_give(struct shares *shares, uint32_t hold, bool is_given)
{
    const uint64_t word = shares_hold_word(shares, hold);
    KMEM_ASSERT(word != 0);
    /* Before: it holds the block, or only offers it. After: the other way round. */
    state_commit(shares->state, &shares->state->holds[hold].word,
                 is_given ? word | HOLD_GIVEN : word & ~HOLD_GIVEN);
}

void shares_let_go(struct shares *shares, uint32_t hold)
{
    const uint64_t word = shares_hold_word(shares, hold);
    KMEM_ASSERT(word != 0);
    struct state_hold *stored = &shares->state->holds[hold];
    /* Before: the client holds the share. After: it does not, and the record is free. */
    state_commit(shares->state, &stored->word, 0);
    holder_unlink(shares, hold, word);
    share_chain_unlink(shares, hold, HOLD_SHARE(word));
    client_chain_unlink(shares, hold, HOLD_SLOT(word));
    reasons_drop(shares->reasons, uid_of(shares, word), stored->reason);
    caps_remove(shares->caps, CAP_HOLDS, uid_of(shares, word));
    shares->hold_links[hold].next = shares->free_hold;
    shares->free_hold = hold;
    shares->n_holds--;
}

/* ------------------------------------------------------------------------- after a restart ---- */

/* What is wrong with a record that is in use; NULL: nothing. */
static const char *hold_fault(const struct shares *shares, uint64_t word)
{
    const uint32_t share = HOLD_SHARE(word);
    const uint32_t slot = HOLD_SLOT(word);
    if ((word & HOLD_LIVE) == 0 || share == 0 || share >= shares->n_share_records ||
        (shares_word(shares, share) & SHARE_STATE_MASK) != SHARE_LIVE) {
        return "a hold is on no share";
    }
    if (!state_slot_is_used(shares->state, slot)) {
        return "a hold is of a client that is not there";
    }
    const uint64_t flags = HOLD_LIVE | HOLD_WRITE | HOLD_OWNER | HOLD_GIVEN;
    if ((word & ~flags) >> HOLD_SLOT_SHIFT != slot) {
        return "a hold is of no kind that there is";
    }
    const uint64_t share_word = shares_word(shares, share);
    if ((word & HOLD_WRITE) != 0 && (share_word & (SHARE_LEASED | SHARE_WRITTEN)) == SHARE_LEASED) {
        return "a block is held for writing, and does not say so"; /* to its owner */
    }
    return shares_hold_of(shares, share, slot) == 0 ? NULL : "a client holds a share twice";
}

static int hold_recover(struct shares *shares, uint32_t hold, const char **ret_why)
{
    const uint64_t word = shares_hold_word(shares, hold);
    *ret_why = hold_fault(shares, word);
    if (*ret_why) {
        return SHARES_E_CORRUPT;
    }
    const int r = reasons_recover_hold(shares->reasons, uid_of(shares, word),
                                       shares->state->holds[hold].reason);
    if (r > 0) {
        *ret_why = "a hold has a reason without words";
        return SHARES_E_CORRUPT;
    }
    if (r == 0) {
        hold_link(shares, hold);
    }
    return r;
}

int shares_recover_holds(struct shares *shares, const char **ret_why)
{
    const uint64_t n_records = state_load(&shares->state->header->n_holds);
    if (n_records > HOLDS_MAX) {
        *ret_why = "there are more holds than there can be";
        return SHARES_E_CORRUPT;
    }
    shares->n_hold_records = (uint32_t)n_records + (n_records == 0);
    uint32_t last = 0;
    for (uint32_t hold = 1; hold < shares->n_hold_records; hold++) {
        if (shares_hold_word(shares, hold) != 0) {
            const int r = hold_recover(shares, hold, ret_why);
            if (r) {
                return r;
            }
            last = hold;
        }
    }
    shares->n_hold_records = last + 1;
    for (uint32_t hold = last; hold-- > 1;) {
        if (shares_hold_word(shares, hold) == 0) {
            shares->hold_links[hold].next = shares->free_hold;
            shares->free_hold = hold;
        }
    }
    return 0;
}
