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
/* What a slab of a size class spans at most. */
#define SLAB_PAGES_MAX 8
/* 16,384, or 256 MiB: how far back a large block is looked for, in 0.3 ms. Who releases nonsense
   does so as fast as it can, and others wait; less would miss blocks that are common. */
#define BACK_PAGES_MAX 16384
/* Of the smallest class: what a page may cost. */
#define PAGE_ENTRIES_MAX ((uint32_t)(PAGE_BYTES / BLOCK_ALIGN_BYTES))

/* How many pages are looked at next: if all are full, they cost what is left of the budget. */
static uint32_t stretch_pages(uint32_t n_pages, uint32_t budget, uint32_t spent)
{
    const uint32_t left = spent < budget ? budget - spent : 0;
    uint32_t stretch = 1 + left / PAGE_ENTRIES_MAX;
    stretch = stretch < STRETCH_PAGES ? stretch : STRETCH_PAGES;
    return stretch < n_pages ? stretch : n_pages;
}

/*
 * The page that `from` is in is always looked at, whatever the way to it has cost: a walk in the
 * smallest steps comes to an end.
 */
static struct seg_off walk_lease(const struct core *core, uint32_t slot, uint32_t *page,
                                 uint32_t end, struct seg_off from, uint32_t budget,
                                 uint32_t *spent, direct_walk_fn each, void *user)
{
    const struct client *client = clients_get(&core->clients, slot);
    if (!client->states) {
        *page = end;
    }
    while (*page < end && (*spent < budget || *page <= from.bytes >> PAGE_SHIFT)) {
        const uint32_t stretch = stretch_pages(end - *page, budget, *spent);
        struct seg_off stopped;
        stopped =
            told_walk_run(&core->told, client, page, *page + stretch, end, from, each, user, spent);
        if (stopped.bytes != 0) {
            return stopped;
        }
    }
    return (struct seg_off){0};
}

/* Where slabs may begin that have a block in `page`, which is in the leased run `run`. */
static uint32_t slabs_begin(uint32_t run, uint32_t page)
{
    return page - run > SLAB_PAGES_MAX ? page - SLAB_PAGES_MAX : run;
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
            uint32_t at = page > from_page ? page : slabs_begin(page, from_page);
            stopped =
                walk_lease(core, PAGE_WORD_OWNER(word), &at, end, from, budget, &spent, each, user);
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

/* A block that is looked for. */
struct sought {
    struct seg_off off;
    struct direct_block *block;
    bool is_found;
};

static bool sought_compare(const struct direct_block *block, void *user)
{
    struct sought *sought = user;
    sought->is_found = sought->off.bytes >= block->off.bytes &&
                       sought->off.bytes - block->off.bytes < block->num_bytes;
    if (sought->is_found) {
        *sought->block = *block;
    }
    return !sought->is_found;
}

bool walk_find(const struct core *core, struct seg_off off, struct direct_block *ret_block)
{
    const struct pages *pages = &core->pages;
    const struct seg_off all = {0};
    struct sought sought = {.off = off, .block = ret_block};
    uint32_t spent = 0;
    if (off.bytes >> PAGE_SHIFT >= pages->state->n_pages) {
        return false;
    }
    const uint32_t page = (uint32_t)(off.bytes >> PAGE_SHIFT);
    const uint32_t run = pages_run_of(pages, page);
    const uint64_t word = pages_word(pages, run);
    if (PAGE_WORD_STATE(word) != PAGE_LEASED) {
        return false;
    }
    const struct client *client = clients_get(&core->clients, PAGE_WORD_OWNER(word));
    if (!client->states) {
        return false;
    }
    const uint32_t end = run + PAGE_WORD_PAGES(word);
    uint32_t at = slabs_begin(run, page);
    struct seg_off stopped = told_walk_run(&core->told, client, &at, page + 1, end, all,
                                           sought_compare, &sought, &spent);
    if (stopped.bytes == 0) {
        const uint32_t back_to = page - run > BACK_PAGES_MAX ? page - BACK_PAGES_MAX : run;
        at = told_head_before(&core->told, client, page, back_to);
        stopped = told_walk_run(&core->told, client, &at, at + 1, end, all, sought_compare, &sought,
                                &spent);
    }
    return stopped.bytes != 0 && sought.is_found;
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
