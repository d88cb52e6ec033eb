/* SPDX-License-Identifier: MIT */
/*
 * stretch.c - from a page to what it is of
 *
 * The page table decides about runs. Inside of a lease the client's page states and heads say more;
 * each is copied once, and what can not be so is left out: then the page is in use, and no more is
 * known of it. A slab begins where its head says, if that is not before `from`: a ledger that says
 * something else than a moment ago makes the picture wrong there, but no page is told twice.
 */
#include "daemon/core/stretch.h"

#include "daemon/core/block_iter.h"
#include "daemon/core/leading.h"
#include "proto/lease.h"

/* 32 heads in one read, as block_iter.c does. */
#define HEADS_A_READ 32

/* ----------------------------------------------------------------------- the slab's blocks -- */

uint64_t stretch_reason_key(const struct block *block)
{
    const bool is_own = block->leased && block->reason > REASON_OTHER;
    return (uint64_t)(is_own ? block->slot : SLOT_NONE) << 32 | block->reason;
}

static struct block reason_of_key(uint64_t key, uint32_t owner)
{
    const uint32_t slot = (uint32_t)(key >> 32);
    return (struct block){
        .reason = (uint32_t)key,
        .slot = slot == SLOT_NONE ? owner : slot,
        .leased = slot != SLOT_NONE,
    };
}

struct sums {
    struct leading owners;
    struct leading reasons;
};

static void block_note(struct stretch *stretch, struct sums *sums, const struct block *block)
{
    if (stretch->n_blocks == 0 || block->born < stretch->oldest) {
        stretch->oldest = block->born;
    }
    if (stretch->n_blocks == 0 || block->born > stretch->newest) {
        stretch->newest = block->born;
    }
    stretch->n_blocks++;
    stretch->live_bytes += block->num_bytes;
    leading_note(&sums->owners, block->slot, block->num_bytes);
    leading_note(&sums->reasons, stretch_reason_key(block), block->num_bytes);
}

static void slab_note(struct stretch *stretch, uint32_t *spent)
{
    const bool is_direct = stretch->state == STRETCH_DIRECT;
    const struct slab *slab = &stretch->slab;
    struct sums sums;
    leading_init(&sums.owners);
    leading_init(&sums.reasons);
    for (uint32_t index = 0; index < slab->n_blocks; index++) {
        struct block block;
        if (is_direct ? direct_block(slab, index, &block)
                      : client_ledger_block(slab, index, &block)) {
            block_note(stretch, &sums, &block);
        }
    }
    *spent += slab->n_blocks;
    if (stretch->n_blocks > 0) {
        stretch->owner = (uint32_t)leading_first(&sums.owners, &stretch->owner_bytes);
        stretch->one_owner = leading_is_sole(&sums.owners);
        stretch->reason =
            reason_of_key(leading_first(&sums.reasons, &stretch->reason_bytes), stretch->owner);
        stretch->one_reason = leading_is_sole(&sums.reasons);
    }
}

/* -------------------------------------------------------------------------- inside a lease -- */

/* The pages around the one that is asked for, to which the stretch is bound. */
struct around {
    const struct client *client;
    uint32_t page;
    uint32_t from;
    uint32_t end;
};

enum page_use { USE_UNUSED, USE_USED, USE_TAKEN };

static enum page_use use_of(const struct client *client, uint32_t page)
{
    const uint32_t state = lease_state_of(client->states, page) & LEASE_STATE_MASK;
    return state == LEASE_FREE ? USE_UNUSED : state == LEASE_USED ? USE_USED : USE_TAKEN;
}

static uint32_t at_most(uint32_t n_pages, uint32_t most)
{
    return n_pages < most ? n_pages : most;
}

/* Pages of one use, forwards and, if that may be, backwards. */
static void alike_find(const struct around *around, enum page_use use, uint32_t *spent,
                       struct stretch *stretch)
{
    const struct client *client = around->client;
    uint32_t begin = around->page;
    uint32_t end = around->page + 1;
    while (begin > around->from && around->page - begin < STRETCH_PAGES_MAX &&
           use_of(client, begin - 1) == use) {
        begin--;
    }
    if (use == USE_UNUSED) {
        bool is_unused;
        const uint32_t n_most = at_most(around->end - end, STRETCH_PAGES_MAX);
        const uint32_t n_alike =
            n_most > 0 ? lease_stretch(client->states, end, n_most, &is_unused) : 0;
        end += n_alike > 0 && is_unused ? n_alike : 0;
    } else {
        while (end < around->end && end - around->page < STRETCH_PAGES_MAX &&
               use_of(client, end) == use) {
            end++;
        }
    }
    stretch->page = begin;
    stretch->n_pages = end - begin;
    stretch->state = use == USE_UNUSED ? STRETCH_IDLE : STRETCH_RETURNING;
    stretch->one_owner = true;
    *spent += 1 + (around->page - begin) + (end - around->page) / LEASE_PAGES_PER_WORD;
}

static bool is_begin(const struct ledger_head *head)
{
    /* Relaxed: a copy. */
    const uint32_t kind = atomic_load_explicit(&head->kind, memory_order_relaxed);
    return kind == HEAD_SLAB || kind == HEAD_LARGE;
}

/* Pages in use of which the ledger says nothing: up to where it says that something begins. */
static void unknown_find(const struct core *core, const struct around *around, uint32_t *spent,
                         struct stretch *stretch)
{
    struct ledger_head heads[HEADS_A_READ];
    const uint32_t n_heads = at_most(around->end - around->page, HEADS_A_READ);
    uint32_t n_pages = 1;
    *spent += CLIENT_LEDGER_READ_COST;
    if (client_ledger_heads(&core->client_ledger, around->client->slot, around->page, n_heads,
                            heads)) {
        while (n_pages < n_heads && !is_begin(&heads[n_pages]) &&
               use_of(around->client, around->page + n_pages) == USE_USED) {
            n_pages++;
        }
    }
    stretch->state = STRETCH_LEASED;
    stretch->page = around->page;
    stretch->n_pages = n_pages;
    stretch->one_owner = true;
}

static bool is_open_slab(const struct client *client, uint32_t page)
{
    return (lease_flags_of(client->states, page) & LEASE_OPEN) == LEASE_OPEN;
}

static void used_find(const struct core *core, const struct around *around, uint32_t *spent,
                      struct stretch *stretch)
{
    struct slab slab;
    *spent += client_ledger_slab_of(&core->client_ledger, around->client, around->from,
                                    around->page, around->end, &slab);
    if (slab.n_blocks == 0) {
        unknown_find(core, around, spent, stretch);
        return;
    }
    stretch->state = STRETCH_LEASED;
    stretch->slab = slab;
    slab_note(stretch, spent);
    /* Of a slab that begins before `from` the rest is left: it was said of a ledger that lies. */
    stretch->page = slab.page > around->from ? slab.page : around->from;
    stretch->n_pages = slab.page + slab.span_pages - stretch->page;
    stretch->owner = around->client->slot;
    stretch->one_owner = true;
    if (stretch->n_blocks == 0 && is_open_slab(around->client, around->page)) {
        stretch->state = STRETCH_IDLE;
    }
}

static void lease_find_stretch(const struct core *core, const struct around *around,
                               uint32_t *spent, struct stretch *stretch)
{
    const enum page_use use = use_of(around->client, around->page);
    if (use == USE_USED) {
        used_find(core, around, spent, stretch);
    } else {
        alike_find(around, use, spent, stretch);
    }
}

/* -------------------------------------------------------------------------------- the runs -- */

static enum stretch_state state_of_run(uint64_t word)
{
    static const enum stretch_state states[] = {
        [PAGE_RESERVED] = STRETCH_FIRST, [PAGE_FREE] = STRETCH_FREE,
        [PAGE_SCRUB] = STRETCH_CLEARING, [PAGE_DIRECT] = STRETCH_DIRECT,
        [PAGE_LEASED] = STRETCH_LEASED,  [PAGE_BEYOND] = STRETCH_FREE, /* is never looked at */
    };
    KMEM_ASSERT(PAGE_WORD_STATE(word) <= PAGE_BEYOND);
    return states[PAGE_WORD_STATE(word)];
}

void stretch_find(const struct core *core, uint32_t page, uint32_t from, uint32_t *spent,
                  struct stretch *ret_stretch)
{
    const struct pages *pages = &core->pages;
    const uint32_t run = pages_run_of(pages, page);
    const uint64_t word = pages_word(pages, run);
    const uint32_t end = run + PAGE_WORD_PAGES(word);
    struct stretch *stretch = ret_stretch;
    from = from > run ? from : run;
    *stretch = (struct stretch){
        .state = state_of_run(word),
        .page = from,
        .n_pages = end - from,
        .owner = SLOT_NONE,
        .slab = {.n_blocks = 0},
    };
    *spent += 1;
    if (stretch->state == STRETCH_DIRECT) {
        stretch->slab = direct_slab(&core->direct, run);
        stretch->slab.span_pages = end - run;
        slab_note(stretch, spent);
    } else if (stretch->state == STRETCH_LEASED) {
        const struct client *client = clients_get(&core->clients, PAGE_WORD_OWNER(word));
        const struct around around = {client, page, from, end};
        stretch->owner = client->slot;
        stretch->one_owner = true;
        if (client->client_state != CLIENT_LIVE) {
            stretch->state = STRETCH_RETURNING;
        } else if (client->states) {
            lease_find_stretch(core, &around, spent, stretch);
        }
    }
}
