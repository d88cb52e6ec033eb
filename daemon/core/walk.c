/* SPDX-License-Identifier: MIT */
/*
 * walk.c - from run to run
 *
 * The page table says what each run is. Direct blocks are in the daemon's own ledger and are the
 * truth; blocks in a lease are what the lease's client tells (client_ledger.h).
 *
 * A walk pauses between two runs, and inside a leased run, which may be as large as the segment, at
 * the page it has come to.
 */
#include "daemon/core/walk.h"

#include <string.h>

/* 64: a stretch of a lease between two looks at the budget. */
#define STRETCH_PAGES 64
/* What a slab of a size class spans at most. */
#define SLAB_PAGES_MAX 8
/* Where blocks begin, these bits are 0; see position(). */
#define POSITION_MASK ((uint64_t)BLOCK_ALIGN_BYTES - 1)
static_assert(SLAB_PAGES_MAX <= POSITION_MASK, "1 + how far back a slab begins fits");
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
 * Where a walk goes on in a leased run: an offset, and in its low bits 1 + how many pages before
 * the offset's the slab begins that it is in. Where slabs begin can not be guessed: in a ledger
 * that lies, or changes, heads stand inside of what other heads say, and a walk that went on from
 * one of those would see other blocks than one that never paused, and some twice.
 */
static struct seg_off position(struct seg_off off, uint32_t slab_page)
{
    const uint32_t back = (uint32_t)(off.bytes >> PAGE_SHIFT) - slab_page;
    KMEM_ASSERT(back < SLAB_PAGES_MAX);
    KMEM_ASSERT((off.bytes & POSITION_MASK) == 0);
    return (struct seg_off){off.bytes | (back + 1)};
}

/* The page at which a walk of the leased run `run` goes on. */
static uint32_t position_page(struct seg_off at, uint32_t run)
{
    const uint32_t page = (uint32_t)(at.bytes >> PAGE_SHIFT);
    const uint32_t known = (uint32_t)(at.bytes & POSITION_MASK);
    /* Any offset may be asked for: the slab of a block behind it begins some pages before it. */
    const uint32_t back = known != 0 ? known - 1 : SLAB_PAGES_MAX;
    return page - run > back ? page - back : run;
}

/*
 * The page that `from` is in is always looked at, whatever the way to it has cost: a walk in the
 * smallest steps comes to an end.
 */
static struct seg_off walk_lease(const struct core *core, uint32_t slot, uint32_t *page,
                                 uint32_t end, struct seg_off from, uint32_t budget,
                                 uint32_t *spent, block_fn each, void *user)
{
    const struct client *client = clients_get(&core->clients, slot);
    if (!client->states) {
        *page = end;
    }
    while (*page < end && (*spent < budget || *page <= from.bytes >> PAGE_SHIFT)) {
        const uint32_t stretch = stretch_pages(end - *page, budget, *spent);
        struct seg_off stopped;
        stopped = client_ledger_walk_run(&core->client_ledger, client, page, *page + stretch, end,
                                         from, each, user, spent);
        if (stopped.bytes != 0) {
            return stopped;
        }
    }
    return (struct seg_off){0};
}

struct seg_off walk(const struct core *core, struct seg_off from, uint32_t budget,
                    enum walk_which which, block_fn each, void *user)
{
    const struct pages *pages = &core->pages;
    const uint32_t n_pages = pages->state->n_pages;
    if (from.bytes >> PAGE_SHIFT >= n_pages) {
        return (struct seg_off){0};
    }
    const uint32_t from_page = (uint32_t)(from.bytes >> PAGE_SHIFT);
    const struct seg_off from_block = {from.bytes & ~POSITION_MASK};
    uint32_t page = pages_run_of(pages, from_page);
    uint32_t spent = 0;
    while (page < n_pages && spent < budget) {
        const uint64_t word = pages_word(pages, page);
        const uint32_t end = page + PAGE_WORD_PAGES(word);
        struct seg_off stopped = {0};
        spent++;
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT && which == WALK_ALL) {
            spent += core->direct.ledger->heads[page].n_carved;
            stopped = direct_walk_run(&core->direct, page, from_block, each, user);
        } else if (PAGE_WORD_STATE(word) == PAGE_LEASED) {
            uint32_t at = page > from_page ? page : position_page(from, page);
            stopped = walk_lease(core, PAGE_WORD_OWNER(word), &at, end, from_block, budget, &spent,
                                 each, user);
            if (stopped.bytes != 0) {
                return position(stopped, at);
            }
            if (at < end && spent >= budget) {
                return position((struct seg_off){(uint64_t)at << PAGE_SHIFT}, at);
            }
        }
        if (stopped.bytes != 0) {
            return stopped;
        }
        page = end;
    }
    return (struct seg_off){page < n_pages ? (uint64_t)page << PAGE_SHIFT : 0};
}

bool walk_find(const struct core *core, struct seg_off off, struct block *ret_block)
{
    const struct pages *pages = &core->pages;
    if (off.bytes >> PAGE_SHIFT >= pages->state->n_pages) {
        return false;
    }
    const uint32_t run = pages_run_of(pages, (uint32_t)(off.bytes >> PAGE_SHIFT));
    const uint64_t word = pages_word(pages, run);
    if (PAGE_WORD_STATE(word) != PAGE_LEASED) {
        return false;
    }
    const struct client *client = clients_get(&core->clients, PAGE_WORD_OWNER(word));
    return client->states && client_ledger_find(&core->client_ledger, client, run,
                                                run + PAGE_WORD_PAGES(word), off, ret_block);
}

size_t walk_reason(const struct core *core, const struct block *block, char *ret_text)
{
    if (block->leased && block->reason > REASON_OTHER) {
        return client_ledger_reason(&core->client_ledger, block->slot, block->reason, ret_text);
    }
    size_t n_bytes;
    const char *text = reasons_text(&core->reasons, block->reason, &n_bytes);
    memcpy(ret_text, text, n_bytes);
    return n_bytes;
}
