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
    return run_starts_last(&pages->lengths, pages->state->n_pages - 1, NULL);
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
