/* SPDX-License-Identifier: MIT */
/*
 * shares_check.c - the checker of shares.h: derives everything again and compares
 *
 * A chain is sound if each of its elements belongs to it and knows the one before it: then no
 * element is on it twice. If all chains together have as many elements as there are records, no
 * record is missing. What was never used is not looked at: no record behind the last that was, and
 * no chain of a slot that was no client's.
 */
#include <stdlib.h>

#include "daemon/core/shares.h"

static uint64_t word_of(const struct shares *shares, uint32_t share)
{
    return state_load(&shares->state->shares[share].word);
}

static uint64_t hold_word_of(const struct shares *shares, uint32_t hold)
{
    return state_load(&shares->state->holds[hold].word);
}

static bool is_share(const struct shares *shares, uint32_t share)
{
    return share != 0 && share < shares->n_share_records && word_of(shares, share) != SHARE_NONE;
}

static bool is_hold(const struct shares *shares, uint32_t hold)
{
    return hold != 0 && hold < shares->n_hold_records && hold_word_of(shares, hold) != 0;
}

/* The holds on a share; what they number is added to *count. */
static bool holds_are_sound(const struct shares *shares, uint32_t share, uint32_t *count)
{
    uint32_t prev = 0;
    uint32_t n_holds = 0;
    for (uint32_t hold = shares->links[share].first_hold; hold != 0;
         hold = shares->hold_links[hold].next_on_share) {
        if (!is_hold(shares, hold) || HOLD_SHARE(hold_word_of(shares, hold)) != share ||
            shares->hold_links[hold].prev_on_share != prev) {
            return false;
        }
        prev = hold;
        n_holds++;
    }
    *count += n_holds;
    return n_holds == shares->links[share].n_holds;
}

static bool held_are_sound(const struct shares *shares, uint32_t slot, uint32_t *count)
{
    uint32_t prev = 0;
    for (uint32_t hold = shares->holds_of_client[slot]; hold != 0;
         hold = shares->hold_links[hold].next_of_client) {
        if (!is_hold(shares, hold) || HOLD_SLOT(hold_word_of(shares, hold)) != slot ||
            shares->hold_links[hold].prev_of_client != prev) {
            return false;
        }
        prev = hold;
        ++*count;
    }
    return true;
}

static bool owned_are_sound(const struct shares *shares, uint32_t slot, uint32_t *count)
{
    uint32_t prev = 0;
    for (uint32_t share = shares->shares_of_owner[slot]; share != 0;
         share = shares->links[share].next_of_owner) {
        if (!is_share(shares, share) || SHARE_OWNER(word_of(shares, share)) != slot ||
            shares->links[share].prev_of_owner != prev) {
            return false;
        }
        prev = share;
        ++*count;
    }
    return true;
}

static bool clients_are_sound(const struct shares *shares, uint32_t n_owned)
{
    uint32_t n_held = 0;
    uint32_t n_chained = 0;
    const uint64_t n_slots = state_load(&shares->state->header->n_slots);
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        if (!held_are_sound(shares, slot, &n_held) || !owned_are_sound(shares, slot, &n_chained)) {
            return false;
        }
    }
    return n_held == shares->n_holds && n_chained == n_owned;
}

static bool share_is_sound(const struct shares *shares, uint32_t share)
{
    const struct state_share *record = &shares->state->shares[share];
    const uint64_t word = word_of(shares, share);
    const struct share_links *links = &shares->links[share];
    const bool is_live = (word & SHARE_STATE_MASK) == SHARE_LIVE;
    const bool is_returning = (word & SHARE_STATE_MASK) == SHARE_RETURNING &&
                              (word & SHARE_LEASED) != 0 && links->n_holds == 0 &&
                              links->n_names == 0;
    const bool is_found = shares_at(shares, (struct seg_off){record->offset}) == share;
    const uint64_t number = record->generation >> SHARE_INDEX_BITS;
    return (is_live || is_returning) && is_found && number >= 1 &&
           number <= shares->generations.last &&
           (record->generation & ((UINT64_C(1) << SHARE_INDEX_BITS) - 1)) == share;
}

/* Each share and what is on it, and who owns it. */
static bool shares_are_sound(const struct shares *shares)
{
    uint32_t n_shares = 0;
    uint32_t n_holds = 0;
    uint32_t n_owned = 0;
    for (uint32_t share = shares_next(shares, 1); share != 0;
         share = shares_next(shares, share + 1)) {
        if (!share_is_sound(shares, share) || !holds_are_sound(shares, share, &n_holds)) {
            return false;
        }
        n_owned += SHARE_OWNER(word_of(shares, share)) != SLOT_NONE;
        n_shares++;
    }
    return n_shares == shares->n_shares && n_holds == shares->n_holds &&
           shares->generations.last <= state_load(shares->generations.reserved) &&
           clients_are_sound(shares, n_owned);
}

static bool holds_are_found(const struct shares *shares)
{
    uint32_t n_holds = 0;
    for (uint32_t hold = 1; hold < shares->n_hold_records; hold++) {
        const uint64_t word = hold_word_of(shares, hold);
        if (word == 0) {
            continue;
        }
        const uint32_t share = HOLD_SHARE(word);
        if (!is_share(shares, share) || (word_of(shares, share) & SHARE_STATE_MASK) != SHARE_LIVE ||
            shares_hold_of(shares, share, HOLD_SLOT(word)) != hold) {
            return false;
        }
        n_holds++;
    }
    return n_holds == shares->n_holds;
}

/* Whether what is on the two stacks is free, and nothing else is. */
static bool free_are_sound(const struct shares *shares)
{
    uint32_t n_shares = 1 + shares->n_shares;
    uint32_t n_holds = 1 + shares->n_holds;
    for (uint32_t share = shares->free_share; share != 0 && n_shares < shares->n_share_records;
         share = shares->links[share].next) {
        if (word_of(shares, share) != SHARE_NONE) {
            return false;
        }
        n_shares++;
    }
    for (uint32_t hold = shares->free_hold; hold != 0 && n_holds < shares->n_hold_records;
         hold = shares->hold_links[hold].next) {
        if (hold_word_of(shares, hold) != 0) {
            return false;
        }
        n_holds++;
    }
    return n_shares == shares->n_share_records && n_holds == shares->n_hold_records;
}

/* The shares of a slab; its pages are noted in `pinned`, where no other slab's are. */
static bool slab_is_sound(const struct shares *shares, uint32_t page, bool *pinned, uint32_t *count)
{
    const uint32_t first = shares->shares_of_slab[page];
    const uint32_t span_pages = shares->state->shares[first].span_pages;
    uint32_t prev = 0;
    for (uint32_t share = first; share != 0; share = shares->links[share].next_in_slab) {
        const struct state_share *record = &shares->state->shares[share];
        if (!is_share(shares, share) || (word_of(shares, share) & SHARE_LEASED) == 0 ||
            record->slab_page != page || record->span_pages != span_pages ||
            shares->links[share].prev_in_slab != prev) {
            return false;
        }
        prev = share;
        ++*count;
    }
    if (span_pages == 0 || span_pages > shares->state->n_pages - page) {
        return false;
    }
    for (uint32_t i = 0; i < span_pages; i++) {
        if (pinned[page + i]) {
            return false;
        }
        pinned[page + i] = true;
    }
    return true;
}

static bool slabs_are_sound(const struct shares *shares, bool *pinned)
{
    const uint32_t n_pages = shares->state->n_pages;
    uint32_t n_leased = 0;
    uint32_t n_chained = 0;
    for (uint32_t share = shares_next(shares, 1); share != 0;
         share = shares_next(shares, share + 1)) {
        n_leased += (word_of(shares, share) & SHARE_LEASED) != 0;
    }
    for (uint32_t page = 0; page < n_pages; page++) {
        if (shares->shares_of_slab[page] != 0 && !slab_is_sound(shares, page, pinned, &n_chained)) {
            return false;
        }
    }
    for (uint32_t page = 0; page < n_pages; page++) {
        if ((shares->pinned[page / 64] >> page % 64 & 1) != pinned[page]) {
            return false;
        }
    }
    return n_leased == shares->n_leased && n_chained == n_leased;
}

int shares_check(const struct shares *shares)
{
    if (!shares_are_sound(shares) || !holds_are_found(shares) || !free_are_sound(shares)) {
        return SHARES_E_CORRUPT;
    }
    bool *pinned = calloc(shares->state->n_pages, sizeof(*pinned));
    KMEM_ASSERT(pinned != NULL);
    const bool is_sound = slabs_are_sound(shares, pinned);
    free(pinned);
    return is_sound ? 0 : SHARES_E_CORRUPT;
}
