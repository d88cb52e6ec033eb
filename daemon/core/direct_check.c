/* SPDX-License-Identifier: MIT */
/*
 * direct_check.c - the checker of direct.h: derives everything again and compares
 */
#include <stdlib.h>

#include "daemon/core/direct.h"

struct recount {
    struct reason_totals *by_reason; /* by id */
    struct reason_totals *by_slot;
    uint32_t n_reasons;
    uint32_t n_slots;
    struct reason_totals all;
    uint64_t block_bytes;
    uint64_t slab_bytes;
    uint64_t n_with_room;
    uint64_t last_end; /* of the block before: blocks do not overlap */
};

static void totals_add(struct reason_totals *totals, uint64_t num_bytes)
{
    totals->n_blocks++;
    totals->num_bytes += num_bytes;
}

static bool totals_equal(const struct reason_totals *totals, uint64_t n_blocks, uint64_t num_bytes)
{
    return totals->n_blocks == n_blocks && totals->num_bytes == num_bytes;
}

/* Those of `kept` are behind those of the slots. */
static bool recount_block(struct recount *recount, const struct block *block)
{
    const uint32_t slot = block->slot == SLOT_KEPT ? recount->n_slots : block->slot;
    if (block->reason >= recount->n_reasons || (slot == block->slot && slot >= recount->n_slots) ||
        block->off.bytes < recount->last_end) {
        return false;
    }
    recount->last_end = block->off.bytes + block->num_bytes;
    totals_add(&recount->all, block->num_bytes);
    totals_add(&recount->by_reason[block->reason], block->num_bytes);
    totals_add(&recount->by_slot[slot], block->num_bytes);
    return true;
}

static int recount_slab(const struct direct *direct, uint32_t page, struct recount *recount)
{
    const struct slab slab = direct_slab(direct, page);
    for (uint32_t index = 0; index < slab.n_blocks; index++) {
        struct block block;
        if (direct_block(&slab, index, &block) && !recount_block(recount, &block)) {
            return DIRECT_E_CORRUPT;
        }
    }
    return 0;
}

static bool head_is_open(const struct direct *direct, uint32_t page)
{
    return direct_head_kind(direct, page) == HEAD_SLAB ||
           direct_head_kind(direct, page) == HEAD_LARGE;
}

/* Whether the further pages of a slab lead to it. In a large block heads are left over. */
static bool interior_is_sound(const struct direct *direct, uint32_t page, uint32_t n_pages)
{
    const bool is_slab = direct_head_kind(direct, page) == HEAD_SLAB;
    for (uint32_t i = 1; i < n_pages && is_slab; i++) {
        if (direct_head_kind(direct, page + i) != HEAD_INTERIOR ||
            direct->ledger->heads[page + i].back != i) {
            return false;
        }
    }
    return true;
}

static int check_slabs(const struct direct *direct, struct recount *recount)
{
    const struct pages *pages = direct->pages;
    for (uint32_t page = 0; page < pages->state->n_pages;) {
        const uint64_t word = pages_word(pages, page);
        const struct ledger_head *head = &direct->ledger->heads[page];
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT) {
            if (!head_is_open(direct, page) ||
                !interior_is_sound(direct, page, PAGE_WORD_PAGES(word)) ||
                head->span_pages != PAGE_WORD_PAGES(word) || head->n_used == 0 ||
                ledger_slab_check(direct->ledger, page) || recount_slab(direct, page, recount)) {
                return DIRECT_E_CORRUPT;
            }
            recount->slab_bytes += (uint64_t)head->span_pages << PAGE_SHIFT;
            recount->block_bytes += head->n_used * ledger_block_bytes(direct->ledger, page);
            recount->n_with_room +=
                direct_head_kind(direct, page) == HEAD_SLAB && !ledger_slab_is_full(head);
        }
        page += PAGE_WORD_PAGES(word);
    }
    return 0;
}

/* Whether the lists are sound; takes the slabs that are on them from the n_left with room. */
static bool room_lists_are_sound(const struct direct *direct, const uint32_t *lists, uint16_t flags,
                                 uint64_t *n_left)
{
    for (uint32_t size_class = 0; size_class < N_SIZE_CLASSES; size_class++) {
        uint32_t prev = 0;
        for (uint32_t page = lists[size_class]; page != 0;) {
            const struct ledger_head *head = &direct->ledger->heads[page];
            if ((*n_left)-- == 0 || direct_head_kind(direct, page) != HEAD_SLAB ||
                head->flags != flags || head->size_class != size_class || head->prev != prev ||
                ledger_slab_is_full(head)) {
                return false;
            }
            prev = page;
            page = head->next;
        }
    }
    return true;
}

static int check_room_lists(const struct direct *direct, uint64_t n_with_room)
{
    const bool is_sound =
        room_lists_are_sound(direct, direct->partial_slabs, 0, &n_with_room) &&
        room_lists_are_sound(direct, direct->shareable_slabs, HEAD_SHAREABLE, &n_with_room);
    return is_sound && n_with_room == 0 ? 0 : DIRECT_E_CORRUPT;
}

static int check_totals(const struct direct *direct, const struct recount *recount)
{
    for (uint32_t id = 0; id < direct->reasons->n_ids; id++) {
        const struct reason_totals totals = reasons_totals(direct->reasons, id);
        if (!totals_equal(&recount->by_reason[id], totals.n_blocks, totals.num_bytes)) {
            return DIRECT_E_CORRUPT;
        }
    }
    for (uint32_t slot = 0; slot <= direct->clients->n_slots; slot++) {
        const struct client *client =
            slot < direct->clients->n_slots ? &direct->clients->table[slot] : direct->clients->kept;
        const bool unused = client->client_state == CLIENT_UNUSED;
        if (!totals_equal(&recount->by_slot[slot], unused ? 0 : client->n_blocks,
                          unused ? 0 : client->num_bytes)) {
            return DIRECT_E_CORRUPT;
        }
    }
    const struct state_counters *counters = direct->pages->state->counters;
    const bool adds_up = counters->allocations - counters->releases == direct->n_blocks &&
                         totals_equal(&recount->all, direct->n_blocks, direct->used_bytes) &&
                         recount->block_bytes == direct->block_bytes &&
                         recount->slab_bytes == direct->slab_bytes;
    return adds_up ? 0 : DIRECT_E_CORRUPT;
}

static int check_all(const struct direct *direct, struct recount *recount)
{
    int r = check_slabs(direct, recount);
    r = r ? r : check_room_lists(direct, recount->n_with_room);
    return r ? r : check_totals(direct, recount);
}

int direct_check(const struct direct *direct)
{
    struct recount recount = {
        .n_reasons = direct->reasons->n_ids,
        .n_slots = direct->clients->n_slots,
        .by_reason = calloc(direct->reasons->n_ids, sizeof(struct reason_totals)),
        .by_slot = calloc(direct->clients->n_slots + 1, sizeof(struct reason_totals)),
    };
    KMEM_ASSERT(recount.by_reason != NULL);
    KMEM_ASSERT(recount.by_slot != NULL);
    const int r = check_all(direct, &recount);
    free(recount.by_reason);
    free(recount.by_slot);
    return r;
}
