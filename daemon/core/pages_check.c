/* SPDX-License-Identifier: MIT */
/*
 * pages_check.c - the checker of pages.h: goes from run to run, counts again and compares
 */
#include "daemon/core/pages.h"

static enum page_state run_state(const struct pages *pages, uint32_t page)
{
    return PAGE_WORD_STATE(pages_word(pages, page));
}

static uint32_t run_length(const struct pages *pages, uint32_t page)
{
    return PAGE_WORD_PAGES(pages_word(pages, page));
}

static bool bit_of(const uint64_t *bits, uint32_t page)
{
    return bits[page / 64] >> page % 64 & 1;
}

static bool is_maybe_dirty(const struct pages *pages, uint32_t page)
{
    return state_load(&pages->state->maybe_dirty[page / 64]) >> page % 64 & 1;
}

/* Whether a run's word, and what is derived from it, can be; `left` is the run before. */
static bool run_is_sound(const struct pages *pages, uint32_t page, uint32_t left)
{
    const uint64_t kind = pages_word(pages, page) & UINT32_MAX; /* state and owner */
    const enum page_state page_state = PAGE_WORD_STATE(kind);
    const uint32_t length = run_length(pages, page);
    if (length == 0 || length > pages->state->n_pages - page ||
        pages_run_of(pages, page + length - 1) != page) {
        return false;
    }
    if (page == 0) {
        return page_state == PAGE_RESERVED && length == 1;
    }
    if ((page_state == PAGE_BEYOND) != (page == pages->n_pages)) {
        return false;
    }
    if (pages->left[page] != left || (page_state == PAGE_SCRUB) != (page == pages->scrub_page)) {
        return false;
    }
    const bool joins =
        page_state == PAGE_FREE || page_state == PAGE_LEASED || page_state == PAGE_BEYOND;
    return (joins && kind != (pages_word(pages, left) & UINT32_MAX)) || page_state == PAGE_DIRECT ||
           page_state == PAGE_SCRUB;
}

/* Whether of a run those pages are dirty that should be, and its first alone begins a free run. */
static bool count_dirty(const struct pages *pages, uint32_t page, uint64_t *n_dirty)
{
    const bool is_free = run_state(pages, page) == PAGE_FREE;
    const uint32_t first = page;
    const uint32_t end = page + run_length(pages, page);
    for (; page < end; page++) {
        if (bit_of(pages->dirty, page) != (is_free && is_maybe_dirty(pages, page)) ||
            bit_of(pages->free_starts.levels[0], page) != (is_free && page == first)) {
            return false;
        }
        *n_dirty += bit_of(pages->dirty, page);
    }
    return true;
}

static int check_bins(const struct pages *pages, uint32_t n_free_runs)
{
    for (uint32_t length = 0; length < pages->state->n_pages; length++) {
        const bool has_any = pages->bin_first[length] != 0;
        if (bit_of(pages->lengths.levels[0], length) != (has_any || length == 0)) {
            return PAGES_E_CORRUPT;
        }
        uint32_t prev = 0;
        for (uint32_t page = pages->bin_first[length]; page != 0; page = pages->next[page]) {
            if (n_free_runs-- == 0 || pages->prev[page] != prev ||
                run_state(pages, page) != PAGE_FREE || run_length(pages, page) != length) {
                return PAGES_E_CORRUPT;
            }
            prev = page;
        }
    }
    return n_free_runs == 0 ? 0 : PAGES_E_CORRUPT;
}

static int check_leased(const struct pages *pages, uint32_t n_leased_runs)
{
    for (uint32_t owner = 0; owner < pages->n_owners; owner++) {
        uint32_t prev = 0;
        uint32_t page = pages_leased_first(pages, owner);
        for (; page != 0; page = pages_leased_next(pages, page)) {
            if (n_leased_runs-- == 0 || pages->prev[page] != prev ||
                pages_run_of(pages, page) != page || run_state(pages, page) != PAGE_LEASED ||
                PAGE_WORD_OWNER(pages_word(pages, page)) != owner) {
                return PAGES_E_CORRUPT;
            }
            prev = page;
        }
    }
    return n_leased_runs == 0 ? 0 : PAGES_E_CORRUPT;
}

int pages_check(const struct pages *pages)
{
    uint64_t n_free_pages = 0;
    uint32_t n_free_runs = 0;
    uint32_t n_leased_runs = 0;
    uint32_t n_scrubbed = 0;
    uint64_t n_dirty = 0;
    uint32_t left = 0;
    if (!run_starts_check(&pages->starts) || !run_starts_check(&pages->free_starts) ||
        !run_starts_check(&pages->lengths)) {
        return PAGES_E_CORRUPT; /* the rest looks runs up in them */
    }
    for (uint32_t page = 0; page < pages->state->n_pages;) {
        const uint32_t length = run_length(pages, page);
        const enum page_state page_state = run_state(pages, page);
        if (!run_is_sound(pages, page, left) || !count_dirty(pages, page, &n_dirty)) {
            return PAGES_E_CORRUPT;
        }
        n_free_pages += page_state == PAGE_FREE || page_state == PAGE_SCRUB ? length : 0;
        n_free_runs += page_state == PAGE_FREE;
        n_leased_runs += page_state == PAGE_LEASED;
        n_scrubbed += page_state == PAGE_SCRUB;
        left = page;
        page += length;
    }
    if (run_state(pages, left) != PAGE_BEYOND && pages->n_pages != pages->state->n_pages) {
        return PAGES_E_CORRUPT;
    }
    if (n_free_pages != pages->n_free_pages || n_dirty != pages->n_dirty ||
        n_scrubbed != (pages->scrub_page != 0)) {
        return PAGES_E_CORRUPT;
    }
    const int r = check_bins(pages, n_free_runs);
    return r ? r : check_leased(pages, n_leased_runs);
}
