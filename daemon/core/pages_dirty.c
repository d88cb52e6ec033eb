/* SPDX-License-Identifier: MIT */
/*
 * pages_dirty.c - which pages are known to be 0, and which free ones are to be cleared
 */
#include "daemon/core/pages.h"

#include "daemon/core/pages_bits.h"
#include "proto/store.h"

uint32_t pages_count_dirty(const struct pages *pages, uint32_t from, uint32_t n_pages)
{
    uint32_t n_dirty = 0;
    for (uint32_t at = from; at < from + n_pages;) {
        const uint32_t n_left = 64 - at % 64;
        const uint32_t n_bits = from + n_pages - at < n_left ? from + n_pages - at : n_left;
        const uint64_t mask = n_bits == 64 ? UINT64_MAX : (UINT64_C(1) << n_bits) - 1;
        n_dirty += (uint32_t)__builtin_popcountll(pages->dirty[at / 64] >> at % 64 & mask);
        at += n_bits;
    }
    return n_dirty;
}

/* Neighbouring free pages are of one run: dirty ones that follow one another are, too. */
uint32_t pages_next_dirty(const struct pages *pages, uint32_t from, uint32_t max_pages,
                          uint32_t *ret_page)
{
    const uint32_t n_pages = pages->n_pages;
    const uint64_t *dirty = pages->dirty;
    uint32_t page = from;
    while (page < n_pages && dirty[page / 64] >> page % 64 == 0) {
        page += 64 - page % 64;
    }
    if (page >= n_pages) {
        return 0;
    }
    page += (uint32_t)__builtin_ctzll(dirty[page / 64] >> page % 64);
    uint32_t end = page + 1;
    while (end < n_pages && end - page < max_pages && dirty[end / 64] >> end % 64 & 1) {
        end++;
    }
    *ret_page = page;
    return end - page;
}

void pages_note_maybe_dirty(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    uint32_t n_here;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pages_bits(at, page + n_pages, &n_here);
        const uint64_t maybe_dirty = state_load(&pages->state->maybe_dirty[at / 64]);
        if ((maybe_dirty & mask) != mask) {
            store_prepare_u64(&pages->state->maybe_dirty[at / 64], maybe_dirty | mask);
        }
    }
}

uint32_t pages_zero_stretch(const struct pages *pages, uint32_t page, uint32_t n_pages,
                            bool *ret_zero)
{
    const uint64_t first = state_load(&pages->state->maybe_dirty[page / 64]) >> page % 64 & 1;
    uint32_t n_here;
    *ret_zero = first == 0;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pages_bits(at, page + n_pages, &n_here);
        const uint64_t others =
            (state_load(&pages->state->maybe_dirty[at / 64]) ^ (first ? UINT64_MAX : 0)) & mask;
        if (others != 0) {
            return at - page + (uint32_t)__builtin_ctzll(others) - at % 64;
        }
    }
    return n_pages;
}

void pages_note_zero(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    uint32_t n_here;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pages_bits(at, page + n_pages, &n_here);
        /* Before: they may hold anything. After: they are 0, which they have been made. */
        state_commit(pages->state, &pages->state->maybe_dirty[at / 64],
                     state_load(&pages->state->maybe_dirty[at / 64]) & ~mask);
    }
}
