/* SPDX-License-Identifier: MIT */
/*
 * pages_largest.c - the longest run that can be had
 */
#include "daemon/core/pages.h"

static uint32_t run_pages(const struct pages *pages, uint32_t page)
{
    return PAGE_WORD_PAGES(pages_word(pages, page));
}

/* 0 if the run that begins there is not free. */
static uint32_t free_pages(const struct pages *pages, uint32_t page)
{
    const uint64_t word = pages_word(pages, page);
    return PAGE_WORD_STATE(word) == PAGE_FREE ? PAGE_WORD_PAGES(word) : 0;
}

uint32_t pages_largest_free_extent(const struct pages *pages)
{
    uint32_t largest = 0;
    uint32_t bin = N_PAGE_BINS;
    while (bin-- > 0 && pages->bin_first[bin] == 0) {
    }
    if (bin >= N_PAGE_BINS) {
        return 0;
    }
    if (bin < N_EXACT_BINS) {
        return run_pages(pages, pages->bin_first[bin]);
    }
    for (uint32_t page = pages->bin_first[bin]; page != 0; page = pages->next[page]) {
        const uint32_t length = run_pages(pages, page);
        largest = length > largest ? length : largest;
    }
    return largest;
}

uint32_t pages_largest_extent(const struct pages *pages)
{
    const uint32_t largest = pages_largest_free_extent(pages);
    if (!pages_await_scrub(pages)) {
        return largest;
    }
    uint32_t length = run_pages(pages, pages->scrub_page);
    const uint32_t behind = pages->scrub_page + length;
    length += free_pages(pages, pages->left[pages->scrub_page]);
    length += behind < pages->state->n_pages ? free_pages(pages, behind) : 0;
    return length > largest ? length : largest;
}
