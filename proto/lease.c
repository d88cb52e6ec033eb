/* SPDX-License-Identifier: MIT */
#include "proto/lease.h"

#include "proto/store.h"

/* The same state in all eight bytes. */
#define EVERY(state) (UINT64_C(0x0101010101010101) * (uint64_t)(state))

/* The part of a range that falls into one word. */
struct part {
    uint32_t word;
    uint64_t mask; /* 0xff for each page of the range */
    uint32_t n_pages;
};

static struct part part_at(uint32_t page, uint32_t end)
{
    const uint32_t first = page % LEASE_PAGES_PER_WORD;
    const uint32_t room = LEASE_PAGES_PER_WORD - first;
    const uint32_t n_pages = end - page < room ? end - page : room;
    const uint64_t ones =
        n_pages == LEASE_PAGES_PER_WORD ? ~UINT64_C(0) : (UINT64_C(1) << (n_pages * 8)) - 1;
    return (struct part){page / LEASE_PAGES_PER_WORD, ones << (first * 8), n_pages};
}

void lease_grant(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, bool zero)
{
    const uint64_t state = EVERY(LEASE_FREE | (zero ? (unsigned)LEASE_ZERO : 0));
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        uint64_t word = atomic_load_explicit(&states[part.word], memory_order_relaxed);
        uint64_t granted;
        store_hook();
        do {
            granted = (word & (~part.mask | EVERY(LEASE_STALE))) | (state & part.mask);
            /* Release: pairs with lease_take(); what stood in the table stands there before. */
        } while (!atomic_compare_exchange_weak_explicit(
            &states[part.word], &word, granted, memory_order_release, memory_order_relaxed));
        at += part.n_pages;
    }
}

/* The pages of a word that are FREE, with or without ZERO, as a mask of 0xff. */
static uint64_t free_mask(uint64_t word)
{
    const uint64_t low = word & EVERY(1);
    const uint64_t high = (word >> 1) & EVERY(1);
    return (low & ~high) * 0xff;
}

/* Those of them that the client may take. */
static uint64_t takeable_mask(uint64_t word)
{
    return free_mask(word) & ~((word / LEASE_STALE & EVERY(1)) * 0xff);
}

/* The first unbroken stretch of a mask. */
static struct part mask_first(uint32_t word, uint64_t mask)
{
    if (mask == 0) {
        return (struct part){word, 0, 0};
    }
    const uint32_t shift = (uint32_t)__builtin_ctzll(mask);
    const uint64_t run = mask >> shift;
    const uint32_t n_bits = run == UINT64_MAX ? 64 : (uint32_t)__builtin_ctzll(~run);
    const uint64_t ones = n_bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n_bits) - 1;
    return (struct part){word, ones << shift, n_bits / 8};
}

/* Revokes the first stretch of unused pages within a part. Return: the stretch. */
static struct part part_revoke(_Atomic uint64_t *states, const struct part *part)
{
    uint64_t word = atomic_load_explicit(&states[part->word], memory_order_relaxed);
    struct part stretch;
    store_hook();
    do {
        stretch = mask_first(part->word, free_mask(word) & part->mask);
        if (stretch.n_pages == 0) {
            return stretch;
        }
        const uint64_t revoked =
            (word & (~stretch.mask | EVERY(LEASE_STALE))) | (EVERY(LEASE_REVOKED) & stretch.mask);
        /* Acquire: pairs with lease_give(); the client is done with the pages. */
        if (atomic_compare_exchange_weak_explicit(&states[part->word], &word, revoked,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return stretch;
        }
    } while (true);
}

uint32_t lease_revoke(_Atomic uint64_t *states, uint32_t *page, uint32_t end)
{
    for (uint32_t at = *page; at < end;) {
        const struct part part = part_at(at, end);
        const struct part stretch = part_revoke(states, &part);
        if (stretch.n_pages > 0) {
            const uint32_t first_bit = (uint32_t)__builtin_ctzll(stretch.mask);
            *page = stretch.word * LEASE_PAGES_PER_WORD + first_bit / 8;
            return stretch.n_pages;
        }
        at += part.n_pages;
    }
    return 0;
}

void lease_forget(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        store_hook();
        /* Release: pairs with nothing; the table said so before. */
        (void)atomic_fetch_and_explicit(&states[part.word], ~part.mask | EVERY(LEASE_STALE),
                                        memory_order_release);
        at += part.n_pages;
    }
}

/* Changes a page's state, if it is `from`. Return: whether it was. */
static bool page_change(_Atomic uint64_t *states, uint32_t page, uint32_t from, uint32_t to)
{
    const uint32_t shift = page % LEASE_PAGES_PER_WORD * 8;
    _Atomic uint64_t *at = &states[page / LEASE_PAGES_PER_WORD];
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
    do {
        if ((word >> shift & 0xff) != from) {
            return false;
        }
        /* Both: whoever has the page next finds what was done to it done. */
    } while (!atomic_compare_exchange_weak_explicit(at, &word,
                                                    word ^ (uint64_t)(from ^ to) << shift,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

/* The same by the daemon, which may be killed before. */
static bool page_store(_Atomic uint64_t *states, uint32_t page, uint32_t from, uint32_t to)
{
    store_hook();
    return page_change(states, page, from, to);
}

uint64_t lease_n_given(const _Atomic uint64_t *states)
{
    /* Acquire: pairs with note_given(); what was given before is FREE in what is read next. */
    return atomic_load_explicit(states - LEASE_GIVEN_BEFORE_BYTES / sizeof(*states),
                                memory_order_acquire);
}

/* After the pages are FREE: whoever reads the number before it looks for them finds them, or
   another number the next time. */
static void note_given(_Atomic uint64_t *states)
{
    /* Release: pairs with lease_n_given(). */
    (void)atomic_fetch_add_explicit(states - LEASE_GIVEN_BEFORE_BYTES / sizeof(*states), 1,
                                    memory_order_release);
}

/* What an open slab's i-th page is. */
static uint32_t open_at(uint32_t i)
{
    return LEASE_OPEN | (i > 0 ? (uint32_t)LEASE_INTERIOR : 0);
}

static bool is_asked(uint32_t flags)
{
    return (flags & ~(uint32_t)LEASE_INTERIOR) == (LEASE_OPEN | LEASE_ASKED);
}

static _Atomic uint64_t *asked_of(_Atomic uint64_t *states)
{
    return states - LEASE_ASKED_BEFORE_BYTES / sizeof(*states);
}

void lease_announce(_Atomic uint64_t *states)
{
    _Atomic uint64_t *asked = asked_of(states);
    uint64_t word = atomic_load_explicit(asked, memory_order_relaxed);
    /* Release: pairs with lease_hush(), which finds ASKED wherever it was set before. */
    while (!atomic_compare_exchange_weak_explicit(asked, &word,
                                                  (word | LEASE_MARK) + (UINT64_C(1) << 32),
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

bool lease_hush(_Atomic uint64_t *states, uint32_t n_pages)
{
    _Atomic uint64_t *asked = asked_of(states);
    /* Acquire: pairs with lease_announce(). */
    uint64_t word = atomic_load_explicit(asked, memory_order_acquire);
    for (uint32_t at = 0; at < n_pages; at += LEASE_PAGES_PER_WORD) {
        /* Relaxed: what is set later comes with another `asked`. */
        if (atomic_load_explicit(&states[at / LEASE_PAGES_PER_WORD], memory_order_relaxed) &
            EVERY(LEASE_ASKED | LEASE_STALE)) {
            return false;
        }
    }
    /* Release: the loads are before. */
    return atomic_compare_exchange_strong_explicit(asked, &word, word & ~(uint64_t)LEASE_MARK,
                                                   memory_order_release, memory_order_relaxed);
}

bool lease_ask(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++) {
        if (!page_store(states, page + i, open_at(i), open_at(i) | LEASE_ASKED) &&
            lease_flags_of(states, page + i) != (open_at(i) | LEASE_ASKED)) {
            lease_unask(states, page, i);
            return false;
        }
    }
    return true;
}

void lease_unask(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages; at++) {
        const uint32_t flags = lease_flags_of(states, at);
        if (is_asked(flags)) {
            (void)page_store(states, at, flags, flags & ~(uint32_t)LEASE_ASKED); /* or kept */
        }
    }
}

uint32_t lease_seize(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    uint32_t n_seized = 0;
    while (n_seized < n_pages &&
           page_store(states, page + n_seized, open_at(n_seized) | LEASE_ASKED, LEASE_TAKEN)) {
        n_seized++;
    }
    return n_seized;
}

void lease_settle(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages; at++) {
        const uint32_t flags = lease_flags_of(states, at);
        if (is_asked(flags)) {
            const bool is_taken = (flags & LEASE_INTERIOR) != 0 && at > 0 &&
                                  lease_flags_of(states, at - 1) == LEASE_TAKEN;
            /* Before: asked for by the server that was killed. After: as if it had gone on. */
            (void)page_store(states, at, flags,
                             is_taken ? LEASE_TAKEN : flags & ~(uint32_t)LEASE_ASKED); /* or kept */
        }
    }
}

bool lease_has_stale(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    uint64_t all = 0;
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        /* Relaxed: STALE is set by the daemon alone, which asks. */
        all |= atomic_load_explicit(&states[part.word], memory_order_relaxed) & part.mask;
        at += part.n_pages;
    }
    return (all & EVERY(LEASE_STALE)) != 0;
}

bool lease_find_fresh(const _Atomic uint64_t *states, uint32_t begin, uint32_t end,
                      uint32_t n_pages, uint32_t *ret_page)
{
    uint32_t from = begin;
    for (uint32_t at = begin; at < end && end - from >= n_pages; at++) {
        if (lease_flags_of(states, at) & LEASE_STALE) {
            from = at + 1;
        } else if (at + 1 - from == n_pages) {
            *ret_page = from;
            return true;
        }
    }
    return false;
}

uint32_t lease_count_free(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    uint32_t n_free = 0;
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        /* Relaxed: a number that is old when it is used. */
        const uint64_t word = atomic_load_explicit(&states[part.word], memory_order_relaxed);
        n_free += (uint32_t)__builtin_popcountll(free_mask(word) & part.mask) / 8;
        at += part.n_pages;
    }
    return n_free;
}

uint32_t lease_stretch(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages,
                       bool *ret_unused)
{
    *ret_unused = (lease_state_of(states, page) & LEASE_STATE_MASK) == LEASE_FREE;
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        /* Relaxed: what is old when it is used; the first page counts as it was above. */
        const uint64_t word = atomic_load_explicit(&states[part.word], memory_order_relaxed);
        const uint64_t others = (free_mask(word) ^ (*ret_unused ? UINT64_MAX : 0)) & part.mask;
        if (others != 0) {
            const uint32_t n_alike =
                at - page + (uint32_t)__builtin_ctzll(others) / 8 - at % LEASE_PAGES_PER_WORD;
            return n_alike > 0 ? n_alike : 1;
        }
        at += part.n_pages;
    }
    return n_pages;
}

bool lease_all_used(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        /* Relaxed: what a client says now. */
        const uint64_t word = atomic_load_explicit(&states[part.word], memory_order_relaxed);
        if (((word ^ EVERY(LEASE_USED)) & EVERY(LEASE_STATE_MASK | LEASE_ZERO) & part.mask) != 0) {
            return false;
        }
        at += part.n_pages;
    }
    return true;
}

/* How the pages were that are taken, as far as they have been. */
struct found_pages {
    bool zero;
    uint32_t n_own; /* from the first on */
};

/* How many pages of a part, from its first on, have OWN. */
static uint32_t part_n_own(uint64_t word, const struct part *part)
{
    const uint64_t foreign = ~word & EVERY(LEASE_OWN) & part->mask;
    const uint32_t first = (uint32_t)__builtin_ctzll(part->mask) / 8;
    return foreign == 0 ? part->n_pages : (uint32_t)__builtin_ctzll(foreign) / 8 - first;
}

/* @n_before: how many pages were taken before. */
static bool part_take(_Atomic uint64_t *states, const struct part *part, uint32_t n_before,
                      struct found_pages *found)
{
    uint64_t word = atomic_load_explicit(&states[part->word], memory_order_relaxed);
    uint64_t taken;
    do {
        if ((takeable_mask(word) & part->mask) != part->mask) {
            return false;
        }
        taken = (word & ~part->mask) | (EVERY(LEASE_USED) & part->mask);
        /* Acquire: pairs with lease_grant(), and with lease_give() of another thread. */
    } while (!atomic_compare_exchange_weak_explicit(&states[part->word], &word, taken,
                                                    memory_order_acquire, memory_order_relaxed));
    found->zero =
        found->zero && (word & EVERY(LEASE_ZERO) & part->mask) == (EVERY(LEASE_ZERO) & part->mask);
    if (found->n_own == n_before) {
        found->n_own += part_n_own(word, part);
    }
    return true;
}

uint64_t lease_mask(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < n_pages; i += LEASE_PAGES_PER_WORD) {
        /* Relaxed: as lease_has_any(). */
        const uint64_t word =
            atomic_load_explicit(&states[(page + i) / LEASE_PAGES_PER_WORD], memory_order_relaxed);
        /* A bit in each byte: the product gathers them in the highest, the first page's lowest. */
        const uint64_t own = (word ^ word >> 1) & EVERY(1);
        mask |= (own * UINT64_C(0x0102040810204080)) >> 56 << i;
    }
    return mask;
}

bool lease_take_own(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, bool *ret_zero,
                    uint32_t *ret_n_own)
{
    const uint32_t end = page + n_pages;
    struct found_pages found = {.zero = true};
    for (uint32_t at = page; at < end;) {
        const struct part part = part_at(at, end);
        if (!part_take(states, &part, at - page, &found)) {
            if (at > page) {
                lease_give(states, page, at - page);
            }
            return false;
        }
        at += part.n_pages;
    }
    *ret_zero = found.zero;
    *ret_n_own = found.n_own;
    return true;
}

bool lease_take(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, bool *ret_zero)
{
    uint32_t n_own;
    return lease_take_own(states, page, n_pages, ret_zero, &n_own);
}

/* Pages of a word that are USED, and no slab's, are FREE. */
static void part_give(_Atomic uint64_t *word, uint64_t mask, uint64_t own)
{
    /* Release, both: pairs with part_revoke() and part_take(): whoever has the page next finds what
       was done to it done. Relaxed: of eight USED pages nobody else writes the state. */
    if (atomic_load_explicit(word, memory_order_relaxed) == EVERY(LEASE_USED) &&
        mask == UINT64_MAX) {
        atomic_store_explicit(word, EVERY(LEASE_FREE) | own, memory_order_release);
    } else {
        /* The bits by which the two differ. */
        (void)atomic_fetch_xor_explicit(word, (EVERY(LEASE_USED ^ LEASE_FREE) & mask) | own,
                                        memory_order_release);
    }
}

void lease_give_own(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, uint32_t n_own)
{
    const uint32_t own_end = page + n_own;
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        const uint64_t own_mask = at < own_end ? part_at(at, own_end).mask : 0;
        part_give(&states[part.word], part.mask, EVERY(LEASE_OWN) & own_mask & part.mask);
        at += part.n_pages;
    }
    note_given(states);
}

void lease_give(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    lease_give_own(states, page, n_pages, 0);
}

void lease_open_slab(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++) {
        (void)page_change(states, page + i, LEASE_USED, open_at(i)); /* it is USED: just taken */
    }
}

bool lease_keep(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    /* The first page decides; of the others the daemon's question is only removed. */
    uint32_t flags = lease_flags_of(states, page);
    if (flags == LEASE_OPEN) {
        return true; /* asked for others */
    }
    while (flags != LEASE_OPEN) {
        if (flags != (LEASE_OPEN | LEASE_ASKED)) {
            return false;
        }
        (void)page_change(states, page, flags, LEASE_OPEN); /* else it is looked at once more */
        flags = lease_flags_of(states, page);
    }
    lease_unask(states, page + 1, n_pages - 1);
    return true;
}

/* @unused:  what pages that are still the client's become */
static bool slab_close(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages, uint32_t unused)
{
    uint32_t n_given = 0;
    for (uint32_t i = 0; i < n_pages; i++) {
        uint32_t flags = lease_flags_of(states, page + i);
        /* The daemon asks, revokes and grants meanwhile: a few turns at most. */
        while (!page_change(states, page + i, flags,
                            flags & LEASE_SLAB ? unused : flags & ~(uint32_t)LEASE_STALE)) {
            flags = lease_flags_of(states, page + i);
        }
        n_given += (flags & LEASE_SLAB) != 0;
    }
    note_given(states);
    return n_given == n_pages;
}

bool lease_close_slab(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    return slab_close(states, page, n_pages, LEASE_FREE);
}

bool lease_close_own_slab(_Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    return slab_close(states, page, n_pages, (uint32_t)LEASE_FREE | (uint32_t)LEASE_OWN);
}

bool lease_find(const _Atomic uint64_t *states, uint32_t begin, uint32_t end, uint32_t n_pages,
                uint32_t *ret_page)
{
    uint32_t n_found = 0;
    for (uint32_t at = begin; at < end;) {
        const struct part part = part_at(at, end);
        /* Relaxed: a hint; lease_take() looks again. */
        const uint64_t word = atomic_load_explicit(&states[part.word], memory_order_relaxed);
        const uint64_t mask = takeable_mask(word) & part.mask;
        if (mask == part.mask || mask == 0) {
            n_found = mask == 0 ? 0 : n_found + part.n_pages;
            at += part.n_pages;
        } else {
            const uint32_t bit = at % LEASE_PAGES_PER_WORD * 8;
            const bool is_free = mask >> bit & 1;
            n_found = is_free ? n_found + 1 : 0;
            at++;
        }
        if (n_found >= n_pages) {
            *ret_page = at - n_found;
            return true;
        }
    }
    return false;
}

bool lease_has_any(const _Atomic uint64_t *states, uint32_t page, uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages;) {
        const struct part part = part_at(at, page + n_pages);
        /* Relaxed: the caller has made sure that none can become its own meanwhile. */
        const uint64_t word = atomic_load_explicit(&states[part.word], memory_order_relaxed);
        /* FREE is 1 and USED is 2: in NONE and REVOKED both bits are the same. */
        if (((word ^ word >> 1) & EVERY(1) & part.mask) != 0) {
            return true;
        }
        at += part.n_pages;
    }
    return false;
}
