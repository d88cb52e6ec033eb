/* SPDX-License-Identifier: MIT */
/*
 * shares.c - records of shares and holds, and what is derived of them
 *
 * Each change of what is true is one store, of a record's word; what it leads to stands before it:
 *
 *      share       reason's words, fields, n_shares, then the word       before: a free record
 *      hold        reason's words, fields, n_holds, then the word        before: a free record
 *      another owner, flag or state: the word alone
 *      hold or share ends: the word becomes 0; then its reason may become another's
 *
 * A share ends only when no hold and no name leads to it, so a record that is free, or another's by
 * now, is led to by nothing. A handle leads to its record by number, and is told from those that
 * had the record before by the generation, which is never used twice.
 *
 * Chains and hash tables are arrays of numbers beside the records. They are rebuilt at start from
 * the records that were ever used: of n_shares and n_holds, not of all that there can be.
 */
#include "daemon/core/shares.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/hash.h"
#include "proto/store.h"

static_assert(SHARES_MAX <= UINT32_C(1) << SHARE_INDEX_BITS, "its number is part of a generation");

int shares_init(struct shares *shares, struct state *state, struct reasons *reasons)
{
    *shares = (struct shares){
        .state = state,
        .reasons = reasons,
        .caps = reasons->users.caps,
        .links = calloc(SHARES_MAX, sizeof(*shares->links)),
        .hold_links = calloc(HOLDS_MAX, sizeof(*shares->hold_links)),
        .by_offset = calloc(SHARES_BUCKETS, sizeof(*shares->by_offset)),
        .by_holder = calloc(HOLDS_BUCKETS, sizeof(*shares->by_holder)),
        .holds_of_client = calloc(CLIENTS_MAX, sizeof(*shares->holds_of_client)),
        .shares_of_owner = calloc(CLIENTS_MAX, sizeof(*shares->shares_of_owner)),
        .shares_of_slab = calloc(state->n_pages, sizeof(*shares->shares_of_slab)),
        .pinned = calloc(state->n_pages / 64 + 1, sizeof(*shares->pinned)),
        .n_share_records = 1,
        .n_hold_records = 1,
        .generations = state_numbers(&state->header->generations),
    };
    if (!shares->links || !shares->hold_links || !shares->by_offset || !shares->by_holder ||
        !shares->holds_of_client || !shares->shares_of_owner || !shares->shares_of_slab ||
        !shares->pinned) {
        shares_fini(shares);
        return -ENOMEM;
    }
    return 0;
}

void shares_fini(struct shares *shares)
{
    free(shares->links);
    free(shares->hold_links);
    free(shares->by_offset);
    free(shares->by_holder);
    free(shares->holds_of_client);
    free(shares->shares_of_owner);
    free(shares->shares_of_slab);
    free(shares->pinned);
    *shares = (struct shares){.state = NULL};
}

const struct state_share *shares_record(const struct shares *shares, uint32_t share)
{
    KMEM_ASSERT(share != 0);
    KMEM_ASSERT(share < shares->n_share_records);
    return &shares->state->shares[share];
}

uint64_t shares_word(const struct shares *shares, uint32_t share)
{
    return state_load(&shares_record(shares, share)->word);
}

bool shares_is_live(const struct shares *shares, uint32_t share)
{
    return share != 0 && share < shares->n_share_records &&
           (shares_word(shares, share) & SHARE_STATE_MASK) == SHARE_LIVE;
}

/* The links of a share that is in use. */
static struct share_links *links_of(const struct shares *shares, uint32_t share)
{
    KMEM_ASSERT((shares_word(shares, share) & SHARE_STATE_MASK) != SHARE_NONE);
    return &shares->links[share];
}

/* --------------------------------------------------------------------------- by the offset ---- */

/* Blocks of one stretch have buckets side by side, and stretches are strewn: a start looks up each
   block in the order in which they were shared, mostly that in which they lie, and finds the
   buckets in the cache. 64 KiB: a slab or two; with more, blocks of one page size share buckets. */
#define STRETCH_SHIFT 16

static uint32_t *offset_bucket(const struct shares *shares, uint64_t offset)
{
    const uint64_t stretch = offset >> STRETCH_SHIFT;
    const uint32_t hash = hash_words(shares->state->header->instance, &stretch, sizeof(stretch));
    return &shares->by_offset[(hash + (offset >> 4)) % SHARES_BUCKETS];
}

static void offset_link(struct shares *shares, uint32_t share)
{
    uint32_t *first = offset_bucket(shares, shares->state->shares[share].offset);
    shares->links[share].next = *first;
    *first = share;
}

static void offset_unlink(struct shares *shares, uint32_t share)
{
    uint32_t *at = offset_bucket(shares, shares->state->shares[share].offset);
    while (*at != share) {
        KMEM_ASSERT(*at != 0);
        at = &shares->links[*at].next;
    }
    *at = shares->links[share].next;
}

uint32_t shares_at(const struct shares *shares, struct seg_off off)
{
    if (shares->n_shares == 0) {
        return 0;
    }
    uint32_t share = *offset_bucket(shares, off.bytes);
    while (share != 0 && shares->state->shares[share].offset != off.bytes) {
        share = shares->links[share].next;
    }
    return share;
}

/* ---------------------------------------------------------------------------- of the owner ---- */

static void owner_link(struct shares *shares, uint32_t share, uint32_t slot)
{
    if (slot == SLOT_NONE) {
        return;
    }
    KMEM_ASSERT(slot < CLIENTS_MAX);
    struct share_links *links = &shares->links[share];
    links->prev_of_owner = 0;
    links->next_of_owner = shares->shares_of_owner[slot];
    if (links->next_of_owner != 0) {
        shares->links[links->next_of_owner].prev_of_owner = share;
    }
    shares->shares_of_owner[slot] = share;
}

static void owner_unlink(struct shares *shares, uint32_t share, uint32_t slot)
{
    if (slot == SLOT_NONE) {
        return;
    }
    const struct share_links *links = &shares->links[share];
    if (links->next_of_owner != 0) {
        shares->links[links->next_of_owner].prev_of_owner = links->prev_of_owner;
    }
    if (links->prev_of_owner != 0) {
        shares->links[links->prev_of_owner].next_of_owner = links->next_of_owner;
    } else {
        KMEM_ASSERT(shares->shares_of_owner[slot] == share);
        shares->shares_of_owner[slot] = links->next_of_owner;
    }
}

uint32_t shares_first_of(const struct shares *shares, uint32_t slot)
{
    return shares->shares_of_owner[slot];
}

/* ---------------------------------------------------------------------------- pinned pages ---- */

/* The bits of one word that stand for pages from `page` on, and before `end`. */
static uint64_t pins_mask(uint32_t page, uint32_t end, uint32_t *ret_n_here)
{
    const uint32_t room = 64 - page % 64;
    const uint32_t n_here = end - page < room ? end - page : room;
    *ret_n_here = n_here;
    return (n_here == 64 ? UINT64_MAX : (UINT64_C(1) << n_here) - 1) << page % 64;
}

static void pins_set(struct shares *shares, uint32_t page, uint32_t n_pages, bool is_pinned)
{
    uint32_t n_here;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pins_mask(at, page + n_pages, &n_here);
        uint64_t *word = &shares->pinned[at / 64];
        *word = is_pinned ? *word | mask : *word & ~mask;
    }
}

static bool word_pins(uint64_t word)
{
    return (word & SHARE_LEASED) != 0;
}

static void slab_link(struct shares *shares, uint32_t share)
{
    const struct state_share *record = &shares->state->shares[share];
    struct share_links *links = &shares->links[share];
    uint32_t *first = &shares->shares_of_slab[record->slab_page];
    links->prev_in_slab = 0;
    links->next_in_slab = *first;
    if (*first != 0) {
        shares->links[*first].prev_in_slab = share;
    } else {
        pins_set(shares, record->slab_page, record->span_pages, true);
    }
    *first = share;
    shares->n_leased++;
}

static void slab_unlink(struct shares *shares, uint32_t share)
{
    const struct state_share *record = &shares->state->shares[share];
    const struct share_links *links = &shares->links[share];
    uint32_t *first = &shares->shares_of_slab[record->slab_page];
    if (links->next_in_slab != 0) {
        shares->links[links->next_in_slab].prev_in_slab = links->prev_in_slab;
    }
    if (links->prev_in_slab != 0) {
        shares->links[links->prev_in_slab].next_in_slab = links->next_in_slab;
    } else {
        KMEM_ASSERT(*first == share);
        *first = links->next_in_slab;
    }
    if (*first == 0) {
        pins_set(shares, record->slab_page, record->span_pages, false);
    }
    shares->n_leased--;
}

uint32_t shares_first_in_slab(const struct shares *shares, uint32_t slab_page)
{
    KMEM_ASSERT(slab_page < shares->state->n_pages);
    return shares->n_leased == 0 ? 0 : shares->shares_of_slab[slab_page];
}

uint32_t shares_next_in_slab(const struct shares *shares, uint32_t share)
{
    KMEM_ASSERT(word_pins(shares_word(shares, share)));
    return shares->links[share].next_in_slab;
}

uint32_t shares_pinned_stretch(const struct shares *shares, uint32_t page, uint32_t n_pages,
                               bool *ret_pinned)
{
    *ret_pinned = false;
    KMEM_ASSERT(n_pages >= 1);
    if (shares->n_leased == 0) {
        return n_pages;
    }
    KMEM_ASSERT(page < shares->state->n_pages);
    KMEM_ASSERT(n_pages <= shares->state->n_pages - page);
    const bool first = shares->pinned[page / 64] >> page % 64 & 1;
    uint32_t n_here;
    *ret_pinned = first;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pins_mask(at, page + n_pages, &n_here);
        const uint64_t others = (shares->pinned[at / 64] ^ (first ? UINT64_MAX : 0)) & mask;
        if (others != 0) {
            return at - page + (uint32_t)__builtin_ctzll(others) - at % 64;
        }
    }
    return n_pages;
}

bool shares_is_pinned(const struct shares *shares, uint32_t page, uint32_t n_pages)
{
    bool is_pinned;
    return shares_pinned_stretch(shares, page, n_pages, &is_pinned) < n_pages || is_pinned;
}

bool shares_fits(const struct shares *shares, const struct share_place *place)
{
    if (place->span_pages == 0 || !shares_is_pinned(shares, place->slab_page, place->span_pages)) {
        return true;
    }
    const uint32_t other = shares_first_in_slab(shares, place->slab_page);
    const struct state_share *record = &shares->state->shares[other];
    return other != 0 && record->span_pages == place->span_pages &&
           record->size_class == place->size_class && place->size_class < N_SIZE_CLASSES;
}

/* ---------------------------------------------------------------------------------- shares ---- */

/* A free record; 0: there is none. */
static uint32_t share_take(struct shares *shares)
{
    const uint32_t share = shares->free_share;
    if (share != 0) {
        shares->free_share = shares->links[share].next;
        return share;
    }
    if (shares->n_share_records == SHARES_MAX) {
        return 0;
    }
    /* Before and after: the record is free. */
    state_commit(shares->state, &shares->state->header->n_shares, shares->n_share_records + 1);
    return shares->n_share_records++;
}

/* What follows from a record that is in use. */
static void share_link(struct shares *shares, uint32_t share)
{
    const uint64_t word = shares_word(shares, share);
    shares->links[share] = (struct share_links){0};
    offset_link(shares, share);
    owner_link(shares, share, SHARE_OWNER(word));
    if (word_pins(word)) {
        slab_link(shares, share);
    }
    shares->n_shares++;
    caps_add(shares->caps, CAP_SHARES, shares_uid(shares, share));
}

int shares_add(struct shares *shares, const struct share_new *fresh, uint32_t *ret_share)
{
    const struct share_place *place = &fresh->place;
    KMEM_ASSERT(shares_at(shares, fresh->off) == 0);
    KMEM_ASSERT(shares_fits(shares, place));
    const uint32_t uid = shares->state->clients[fresh->owner].uid;
    if (!caps_may_have(shares->caps, CAP_SHARES, uid)) {
        return SHARES_E_USER;
    }
    const uint32_t share = share_take(shares);
    if (share == 0) {
        return SHARES_E_FULL;
    }
    const uint64_t number = state_number(shares->state, &shares->generations);
    const struct state_share record = {
        .generation = number << SHARE_INDEX_BITS | share,
        .tag = fresh->tag,
        .offset = fresh->off.bytes,
        .num_bytes = fresh->num_bytes,
        .slab_page = place->slab_page,
        .span_pages = place->span_pages,
        .index = (uint16_t)place->index,
        .size_class = (uint16_t)place->size_class,
        .reason = reasons_hold(shares->reasons, uid, fresh->reason, fresh->n_reason_bytes),
        .born = fresh->now,
        .uid = uid,
    };
    struct state_share *stored = &shares->state->shares[share];
    store_prepare_bytes(&stored->generation, &record.generation,
                        sizeof(record) - offsetof(struct state_share, generation));
    /* Before: the record is free. After: the block is shared, and its owner holds it. */
    state_commit(shares->state, &stored->word,
                 SHARE_LIVE | SHARE_OWNER_HOLDS | (uint64_t)fresh->owner << SHARE_OWNER_SHIFT |
                     (place->span_pages != 0 ? SHARE_LEASED : 0));
    share_link(shares, share);
    *ret_share = share;
    return 0;
}

void shares_set(struct shares *shares, uint32_t share, uint64_t word)
{
    const uint64_t before = shares_word(shares, share);
    KMEM_ASSERT((before & SHARE_STATE_MASK) != SHARE_NONE);
    KMEM_ASSERT((word & SHARE_STATE_MASK) != SHARE_NONE);
    KMEM_ASSERT(word_pins(before) || !word_pins(word));
    /* Before: the one. After: the other; what it means is sharing.c's. */
    state_commit(shares->state, &shares->state->shares[share].word, word);
    if (SHARE_OWNER(before) != SHARE_OWNER(word)) {
        owner_unlink(shares, share, SHARE_OWNER(before));
        owner_link(shares, share, SHARE_OWNER(word));
    }
    if (word_pins(before) && !word_pins(word)) {
        slab_unlink(shares, share);
    }
}

uint32_t shares_uid(const struct shares *shares, uint32_t share)
{
    /* Relaxed: the server alone writes and reads its state. */
    return atomic_load_explicit(&shares_record(shares, share)->uid, memory_order_relaxed);
}

void shares_set_uid(struct shares *shares, uint32_t share, uint32_t uid)
{
    struct state_share *stored = &shares->state->shares[share];
    const uint32_t before = shares_uid(shares, share);
    if (uid == before) {
        return; /* a start stores nothing */
    }
    reasons_move(shares->reasons, stored->reason, before, uid);
    caps_add(shares->caps, CAP_SHARES, uid);
    caps_remove(shares->caps, CAP_SHARES, before);
    /* Before: it counts for the one. After: for the other. sharing_recover() sets it right. */
    store_prepare_u32(&stored->uid, uid);
}

void shares_remove(struct shares *shares, uint32_t share)
{
    const uint64_t word = shares_word(shares, share);
    const struct share_links *links = links_of(shares, share);
    KMEM_ASSERT(links->n_holds == 0);
    KMEM_ASSERT(links->n_names == 0);
    struct state_share *stored = &shares->state->shares[share];
    /* Before: a share that nothing leads to. After: a free record. */
    state_commit(shares->state, &stored->word, SHARE_NONE);
    offset_unlink(shares, share);
    owner_unlink(shares, share, SHARE_OWNER(word));
    if (word_pins(word)) {
        slab_unlink(shares, share);
    }
    reasons_drop(shares->reasons, shares_uid(shares, share), stored->reason);
    caps_remove(shares->caps, CAP_SHARES, shares_uid(shares, share));
    shares->links[share].next = shares->free_share;
    shares->free_share = share;
    shares->n_shares--;
}

int shares_find(const struct shares *shares, const struct share_handle *handle, uint32_t *ret_share)
{
    const uint32_t share = (uint32_t)handle->generation & ((UINT32_C(1) << SHARE_INDEX_BITS) - 1);
    if (handle->instance != shares->state->header->instance || !shares_is_live(shares, share)) {
        return SHARES_E_STALE;
    }
    const struct state_share *record = &shares->state->shares[share];
    if (record->generation != handle->generation) {
        return SHARES_E_STALE;
    }
    if (record->tag != handle->tag) {
        return SHARES_E_DENIED;
    }
    if (record->offset != handle->offset || record->num_bytes != handle->num_bytes) {
        return SHARES_E_STALE;
    }
    *ret_share = share;
    return 0;
}

struct share_handle shares_handle(const struct shares *shares, uint32_t share)
{
    const struct state_share *record = shares_record(shares, share);
    return (struct share_handle){
        .instance = shares->state->header->instance,
        .generation = record->generation,
        .tag = record->tag,
        .offset = record->offset,
        .num_bytes = record->num_bytes,
    };
}

uint32_t shares_n_holds(const struct shares *shares, uint32_t share)
{
    return links_of(shares, share)->n_holds;
}

uint32_t shares_n_names(const struct shares *shares, uint32_t share)
{
    return links_of(shares, share)->n_names;
}

uint32_t shares_n_holders(const struct shares *shares, uint32_t share)
{
    const uint64_t word = shares_word(shares, share);
    return (word & SHARE_OFFERED) != 0
               ? 0 /* at most who offers it has a hold */
               : links_of(shares, share)->n_holds + ((word & SHARE_OWNER_HOLDS) != 0);
}

void shares_note_name(struct shares *shares, uint32_t share, int change)
{
    struct share_links *links = links_of(shares, share);
    KMEM_ASSERT(change > 0 || links->n_names > 0);
    links->n_names += (uint32_t)change;
}

uint32_t shares_next(const struct shares *shares, uint32_t share)
{
    for (share = share == 0 ? 1 : share; share < shares->n_share_records; share++) {
        if (shares_word(shares, share) != SHARE_NONE) {
            return share;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------- after a restart ---- */

/* Whether a leased block is one of its slab, and that in the segment: it may be adopted so. */
static bool place_is_sound(const struct shares *shares, const struct state_share *record)
{
    const uint32_t n_pages = shares->state->n_pages;
    if (record->slab_page == 0 || record->slab_page >= n_pages || record->span_pages == 0 ||
        record->span_pages > n_pages - record->slab_page || record->size_class > N_SIZE_CLASSES) {
        return false;
    }
    const uint64_t begin = (uint64_t)record->slab_page << PAGE_SHIFT;
    if (record->size_class == N_SIZE_CLASSES) {
        return record->offset == begin && record->index == 0 &&
               record->num_bytes <= (uint64_t)record->span_pages << PAGE_SHIFT;
    }
    const struct size_class *of = &size_classes[record->size_class];
    return record->span_pages == of->span_pages && record->index < of->n_blocks &&
           record->offset == begin + (uint64_t)record->index * of->block_bytes &&
           record->num_bytes <= of->block_bytes;
}

/* What a share's word may say beside its owner. */
#define LIVE_FLAGS                                                                                 \
    (SHARE_OWNER_HOLDS | SHARE_OFFERED | SHARE_LEASED | SHARE_READ_ONLY | SHARE_KEEP |             \
     SHARE_WRITTEN)

static bool word_is_sound(uint64_t word)
{
    const uint64_t flags =
        word & ~((uint64_t)SHARE_STATE_MASK | (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT);
    if ((word & SHARE_STATE_MASK) == SHARE_RETURNING) {
        const uint64_t number = (word & SHARE_NUMBERED) != 0 ? UINT64_MAX << SHARE_RETURN_SHIFT : 0;
        return word_pins(word) &&
               (flags & ~(SHARE_LEASED | SHARE_WRITTEN | SHARE_NUMBERED | number)) == 0;
    }
    return (word & SHARE_STATE_MASK) == SHARE_LIVE && (flags & ~LIVE_FLAGS) == 0;
}

/* What is wrong with a record that is in use; NULL: nothing. */
static const char *share_fault(const struct shares *shares, uint32_t share)
{
    const struct state_share *record = &shares->state->shares[share];
    const uint64_t word = state_load(&record->word);
    const uint64_t segment_bytes = (uint64_t)shares->state->n_pages << PAGE_SHIFT;
    const uint32_t owner = SHARE_OWNER(word);
    const uint64_t generations = state_load(shares->generations.reserved);
    if ((record->generation & ((UINT64_C(1) << SHARE_INDEX_BITS) - 1)) != share ||
        record->generation >> SHARE_INDEX_BITS == 0 ||
        record->generation >> SHARE_INDEX_BITS > generations) {
        return "a share has a generation that was not given";
    }
    if (record->offset < PAGE_BYTES || record->num_bytes == 0 ||
        record->num_bytes > segment_bytes || record->offset > segment_bytes - record->num_bytes) {
        return "a share is not in the segment";
    }
    if (shares_at(shares, (struct seg_off){record->offset}) != 0) {
        return "a block is shared twice";
    }
    if (owner == SLOT_NONE ? (word & SHARE_OWNER_HOLDS) != 0
                           : !state_slot_is_used(shares->state, owner)) {
        return "a share is owned by a client that is not there";
    }
    const struct share_place place = {record->slab_page, record->span_pages, record->index,
                                      record->size_class};
    if (word_pins(word) &&
        (owner == SLOT_NONE || !place_is_sound(shares, record) || !shares_fits(shares, &place))) {
        return "a shared block is not where its slab is";
    }
    return word_is_sound(word) ? NULL : "a share is in no state that there is";
}

static int share_recover(struct shares *shares, uint32_t share, const char **ret_why)
{
    *ret_why = share_fault(shares, share);
    if (*ret_why) {
        return SHARES_E_CORRUPT;
    }
    const int r = reasons_recover_hold(shares->reasons, shares_uid(shares, share),
                                       shares->state->shares[share].reason);
    if (r > 0) {
        *ret_why = "a share has a reason without words";
        return SHARES_E_CORRUPT;
    }
    if (r == 0) {
        share_link(shares, share);
    }
    return r;
}

int shares_recover(struct shares *shares, const char **ret_why)
{
    const uint64_t n_records = state_load(&shares->state->header->n_shares);
    if (n_records > SHARES_MAX || !state_numbers_are_sound(&shares->generations)) {
        *ret_why = "there are more shares than there can be";
        return SHARES_E_CORRUPT;
    }
    shares->n_share_records = (uint32_t)n_records + (n_records == 0);
    uint32_t last = 0;
    for (uint32_t share = shares_next(shares, 1); share != 0;
         share = shares_next(shares, share + 1)) {
        const int r = share_recover(shares, share, ret_why);
        if (r) {
            return r;
        }
        last = share;
    }
    shares->n_share_records = last + 1;
    for (uint32_t share = last; share-- > 1;) {
        if (shares_word(shares, share) == SHARE_NONE) {
            shares->links[share].next = shares->free_share;
            shares->free_share = share;
        }
    }
    return shares_recover_holds(shares, ret_why);
}
