/* SPDX-License-Identifier: MIT */
/*
 * block_iter.c - from run to run, in a leased run from slab to slab, in a slab from block to block
 *
 * The page table says what each run is. Direct blocks are in the daemon's own ledger and are the
 * truth; blocks in a lease are what the lease's client says (client_ledger.h).
 *
 * The budget is looked at before each slab, and before each page of a leased run, which may be as
 * large as the segment.
 */
#include "daemon/core/block_iter.h"

#include <string.h>

#include "proto/lease.h"

/* What a slab of a size class spans at most. */
#define SLAB_PAGES_MAX 8
/* Where blocks begin, these bits are 0; see position(). */
#define POSITION_MASK ((uint64_t)BLOCK_ALIGN_BYTES - 1)
static_assert(SLAB_PAGES_MAX <= POSITION_MASK, "1 + how far back a slab begins fits");

/*
 * Where an iterator goes on: an offset, and in its low bits 1 + how many pages before the offset's
 * the slab begins that it is in. Where slabs begin in a lease can not be guessed: in a ledger that
 * lies, or changes, heads stand inside of what other heads say, and an iterator that went on from
 * one of those would see other blocks than one that never paused, and some twice.
 */
static struct seg_off position(uint64_t off_bytes, uint32_t slab_page)
{
    const uint64_t back = (off_bytes >> PAGE_SHIFT) - slab_page;
    KMEM_ASSERT(back < SLAB_PAGES_MAX);
    KMEM_ASSERT((off_bytes & POSITION_MASK) == 0);
    return (struct seg_off){off_bytes | (back + 1)};
}

/* The page of the leased run `run` at which an iterator goes on that begins at `from`, in it. */
static uint32_t position_page(struct seg_off from, uint32_t run)
{
    const uint32_t page = (uint32_t)(from.bytes >> PAGE_SHIFT);
    const uint32_t known = (uint32_t)(from.bytes & POSITION_MASK);
    /* Any offset may be asked for: the slab of a block behind it begins some pages before it. */
    const uint32_t back = known != 0 ? known - 1 : SLAB_PAGES_MAX;
    return page - run > back ? page - back : run;
}

void block_iter_init(struct block_iter *iter, const struct core *core, enum block_iter_which which,
                     struct seg_off from, uint32_t budget)
{
    const uint32_t n_pages = core->state.n_pages;
    const uint64_t from_page = from.bytes >> PAGE_SHIFT;
    *iter = (struct block_iter){
        .core = core,
        .which = which,
        .from = from,
        .budget = budget,
        .page = from_page < n_pages ? pages_run_of(&core->pages, (uint32_t)from_page) : n_pages,
        .end = n_pages,
    };
    iter->run_end = iter->page;
}

void block_iter_init_run(struct block_iter *iter, const struct core *core, struct seg_off from,
                         uint32_t budget)
{
    block_iter_init(iter, core, BLOCKS_LEASED, from, budget);
    iter->end = iter->page + PAGE_WORD_PAGES(pages_word(&core->pages, iter->page));
}

/* The run at iter->page begins. Of a direct run, this is the slab; the others are passed over. */
static void run_enter(struct block_iter *iter)
{
    const struct core *core = iter->core;
    const uint32_t page = iter->page;
    const uint64_t word = pages_word(&core->pages, page);
    const uint32_t from_page = (uint32_t)(iter->from.bytes >> PAGE_SHIFT);
    iter->spent++;
    iter->run_end = page + PAGE_WORD_PAGES(word);
    iter->n_heads = 0;
    iter->client = NULL;
    if (PAGE_WORD_STATE(word) == PAGE_LEASED) {
        iter->client = clients_get(&core->clients, PAGE_WORD_OWNER(word));
    }
    if (iter->client && iter->client->states) {
        iter->page = page > from_page ? page : position_page(iter->from, page);
        return;
    }
    if (PAGE_WORD_STATE(word) == PAGE_DIRECT && iter->which == BLOCKS_ALL) {
        iter->slab = direct_slab(&core->direct, page);
        iter->spent += iter->slab.n_blocks;
    }
    iter->page = iter->run_end;
}

/* What the client says of iter->page. NULL: its ledger can not be read. */
static const struct ledger_head *head_read(struct block_iter *iter)
{
    if (iter->n_heads == 0 || iter->page - iter->heads_page >= iter->n_heads) {
        const uint32_t n_left = iter->run_end - iter->page;
        const uint32_t n_heads = n_left < BLOCK_ITER_HEADS ? n_left : BLOCK_ITER_HEADS;
        const bool could = client_ledger_heads(&iter->core->client_ledger, iter->client->slot,
                                               iter->page, n_heads, iter->heads);
        iter->spent += CLIENT_LEDGER_READ_COST;
        iter->heads_page = iter->page;
        iter->n_heads = could ? n_heads : 0;
    }
    return iter->n_heads > 0 ? &iter->heads[iter->page - iter->heads_page] : NULL;
}

/* The slab that the client says begins at iter->page, if it does. */
static void lease_step(struct block_iter *iter)
{
    const struct ledger_head *head = NULL;
    iter->spent++;
    if (lease_state_of(iter->client->states, iter->page) == LEASE_USED) {
        head = head_read(iter);
    }
    if (head) {
        iter->spent += client_ledger_slab(&iter->core->client_ledger, iter->client, head,
                                          iter->page, iter->run_end, &iter->slab);
    }
    iter->page += iter->slab.n_blocks > 0 ? iter->slab.span_pages : 1;
}

/*
 * Goes on to the next slab that has blocks. The page that it began with is always looked at,
 * whatever the way to it has cost: in the smallest steps, too, it comes to an end.
 */
static bool slab_next(struct block_iter *iter)
{
    const uint64_t from_page = iter->from.bytes >> PAGE_SHIFT;
    iter->slab.n_blocks = 0;
    iter->index = 0;
    while (iter->slab.n_blocks == 0) {
        if (iter->page >= iter->end || (iter->spent >= iter->budget && iter->page > from_page)) {
            return false;
        }
        if (iter->client && iter->page < iter->run_end) {
            lease_step(iter);
        } else {
            run_enter(iter);
        }
    }
    return true;
}

bool block_iter_next(struct block_iter *iter, struct block *ret_block)
{
    const uint64_t from_bytes = iter->from.bytes & ~POSITION_MASK;
    do {
        while (iter->index < iter->slab.n_blocks) {
            const uint32_t index = iter->index++;
            const bool is_live = iter->client ? client_ledger_block(&iter->slab, index, ret_block)
                                              : direct_block(&iter->slab, index, ret_block);
            if (is_live && ret_block->off.bytes >= from_bytes) {
                return true;
            }
        }
    } while (slab_next(iter));
    return false;
}

void block_iter_put_back(struct block_iter *iter)
{
    KMEM_ASSERT(iter->index > 0);
    iter->index--;
}

struct seg_off block_iter_position(const struct block_iter *iter)
{
    const struct slab *slab = &iter->slab;
    if (iter->index < slab->n_blocks) {
        const uint64_t slab_bytes = (uint64_t)slab->page << PAGE_SHIFT;
        const uint64_t off_bytes = slab_bytes + iter->index * slab->block_bytes;
        return iter->client ? position(off_bytes, slab->page) : (struct seg_off){off_bytes};
    }
    return iter->page < iter->end ? position((uint64_t)iter->page << PAGE_SHIFT, iter->page)
                                  : (struct seg_off){0};
}

bool block_find_leased(const struct core *core, struct seg_off off, struct block *ret_block,
                       struct slab *ret_slab)
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
    return client->states &&
           client_ledger_find(&core->client_ledger, client, run, run + PAGE_WORD_PAGES(word), off,
                              ret_block, ret_slab);
}

size_t block_reason_of_many(const struct core *core, const struct block *block,
                            struct ledger_reasons_read *read, char *ret_text)
{
    if (block->leased && block->reason > REASON_OTHER) {
        return client_ledger_reason_of_many(&core->client_ledger, read, block->slot, block->reason,
                                            ret_text);
    }
    size_t n_bytes;
    const char *text = reasons_text(&core->reasons, block->reason, &n_bytes);
    memcpy(ret_text, text, n_bytes);
    return n_bytes;
}

size_t block_reason(const struct core *core, const struct block *block, char *ret_text)
{
    return block_reason_of_many(core, block, NULL, ret_text);
}
