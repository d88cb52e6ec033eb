/* SPDX-License-Identifier: MIT */
/*
 * walk.c - from run to run
 *
 * The page table says what each run is. Direct blocks are in the daemon's own ledger and are the
 * truth; blocks in a lease are what the lease's client tells (told.h).
 *
 * A walk pauses between two runs, and inside a leased run, which may be as large as the segment, at
 * the page it has come to.
 */
#include "daemon/walk.h"

#include <string.h>

/* 64: a stretch of a lease between two looks at the budget. */
#define STRETCH_PAGES 64

static struct seg_off walk_lease(const struct core *core, uint32_t slot, uint32_t *page,
                                 uint32_t end, struct seg_off from, uint32_t budget,
                                 uint32_t *spent, direct_walk_fn each, void *user)
{
    const struct client *client = clients_get(&core->clients, slot);
    while (*page < end && *spent < budget && client->states) {
        uint32_t stretch = end - *page < STRETCH_PAGES ? end - *page : STRETCH_PAGES;
        struct seg_off stopped;
        stopped = told_walk_run(&core->told, client, page, *page + stretch, end, from, each, user,
                                spent);
        if (stopped.bytes != 0) {
            return stopped;
        }
    }
    return (struct seg_off){0};
}

struct seg_off walk(const struct core *core, struct seg_off from, uint32_t budget,
                    enum walk_which which, direct_walk_fn each, void *user)
{
    const struct pages *pages = &core->pages;
    const uint32_t n_pages = pages->state->n_pages;
    if (from.bytes >> PAGE_SHIFT >= n_pages) {
        return (struct seg_off){0};
    }
    const uint32_t from_page = (uint32_t)(from.bytes >> PAGE_SHIFT);
    uint32_t page = pages_run_of(pages, from_page);
    uint32_t spent = 0;
    while (page < n_pages && spent < budget) {
        const uint64_t word = pages_word(pages, page);
        const uint32_t end = page + PAGE_WORD_PAGES(word);
        struct seg_off stopped = {0};
        spent++;
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT && which == WALK_ALL) {
            spent += core->direct.ledger->heads[page].n_carved;
            stopped = direct_walk_run(&core->direct, page, from, each, user);
        } else if (PAGE_WORD_STATE(word) == PAGE_LEASED) {
            /* A slab may begin some pages before `from`, but no more than a slab has. */
            uint32_t at = from_page > page + 8 ? from_page - 8 : page;
            stopped = walk_lease(core, PAGE_WORD_OWNER(word), &at, end, from, budget, &spent, each,
                                 user);
            if (stopped.bytes == 0 && at < end && spent >= budget) {
                return (struct seg_off){(uint64_t)at << PAGE_SHIFT};
            }
        }
        if (stopped.bytes != 0) {
            return stopped;
        }
        page = end;
    }
    return (struct seg_off){page < n_pages ? (uint64_t)page << PAGE_SHIFT : 0};
}

size_t walk_reason(const struct core *core, const struct direct_block *block, char *ret_text)
{
    if (block->leased && block->reason > REASON_OTHER) {
        return told_reason(&core->told, block->slot, block->reason, ret_text);
    }
    size_t n_bytes;
    const char *text = reasons_text(&core->reasons, block->reason, &n_bytes);
    memcpy(ret_text, text, n_bytes);
    return n_bytes;
}
