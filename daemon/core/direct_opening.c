/* SPDX-License-Identifier: MIT */
/*
 * direct_opening.c - a slab that was being made when its server was killed
 *
 * Its heads, and entries, if it was to be adopted, are prepared under pages that are free, or of a
 * lease. That is all that a server leaves behind: a head that fits there, at the page that the
 * state names, and at no other.
 */
#include "daemon/core/direct.h"

#include "proto/store.h"

void direct_forget_entries(struct direct *direct, uint32_t page)
{
    struct ledger_entry *entries = ledger_entries(direct->ledger, page);
    const uint32_t n_blocks = ledger_n_blocks(direct->ledger, page);
    for (uint32_t index = 0; index < n_blocks; index++) {
        if (state_load(&entries[index].word) != 0) {
            store_prepare_u64(&entries[index].word, 0);
        }
    }
}

/* Whether what an open head says fits into the pages behind it, which are free or one lease. */
static bool opening_is_sound(const struct direct *direct, uint32_t page)
{
    const struct ledger_head *head = &direct->ledger->heads[page];
    const uint32_t run = pages_run_of(direct->pages, page);
    const uint64_t word = pages_word(direct->pages, run);
    const bool is_slab = direct_head_kind(direct, page) == HEAD_SLAB;
    return (PAGE_WORD_STATE(word) == PAGE_FREE || PAGE_WORD_STATE(word) == PAGE_LEASED) &&
           (!is_slab || (head->size_class < N_SIZE_CLASSES &&
                         head->span_pages == size_classes[head->size_class].span_pages)) &&
           head->span_pages <= run + PAGE_WORD_PAGES(word) - page;
}

int direct_recover_opening(struct direct *direct)
{
    struct state *state = direct->pages->state;
    const uint64_t opening = state_load(&state->header->opening);
    const uint32_t page = (uint32_t)opening;
    if (opening >= state->n_pages) {
        return DIRECT_E_CORRUPT;
    }
    const uint64_t word = pages_word(direct->pages, page);
    const uint32_t kind = direct_head_kind(direct, page);
    const bool is_run =
        pages_run_of(direct->pages, page) == page && PAGE_WORD_STATE(word) == PAGE_DIRECT;
    if (opening != 0 && !is_run && (kind == HEAD_SLAB || kind == HEAD_LARGE)) {
        if (!opening_is_sound(direct, page)) {
            return DIRECT_E_CORRUPT;
        }
        direct_forget_entries(direct, page);
        /* Before and after: the head of a page that is no slab's. */
        store_prepare_u32(&direct->ledger->heads[page].kind,
                          kind == HEAD_SLAB ? HEAD_CLOSED : HEAD_CLOSED_LARGE);
    }
    return 0;
}
