/* SPDX-License-Identifier: MIT */
/*
 * adopt.c - the order of stores
 *
 *      `opening`, heads, entries    prepared under pages that are leased: forgotten by a restart,
 *                                   direct_recover_opening(), which adopts again
 *      splits                       two and three runs of one lease
 *      page word                    the slab is direct, with the blocks that were entered
 *      words of the shares          which a restart corrects by the page word: sharing_recover()
 */
#include "daemon/core/adopt.h"

#include "daemon/core/settle.h"
#include "proto/crash_point.h"

/* For the obituary of the client that carved the slab: what is not shared is taken back. */
static uint32_t note_all_left(struct core *core, const struct client *client, uint32_t page,
                              uint32_t span_pages)
{
    struct ledger_head head;
    struct slab slab;
    if (!client->states ||
        !client_ledger_heads(&core->client_ledger, client->slot, page, 1, &head)) {
        return CLIENT_LEDGER_READ_COST;
    }
    uint32_t spent =
        client_ledger_slab(&core->client_ledger, client, &head, page, page + span_pages, &slab);
    for (uint32_t index = 0; index < slab.n_blocks; index++) {
        struct block block;
        if (client_ledger_block(&slab, index, &block) && shares_at(&core->shares, block.off) == 0) {
            core->state.counters->leased_taken_back++;
            spent += obituaries_note(&core->obituaries, &block);
        }
    }
    return spent;
}

static void prepare(struct core *core, const struct state_share *place)
{
    direct_prepare(&core->direct, place->slab_page, place->span_pages, place->size_class);
    KMEM_CRASH_POINT("server.adopt.prepared");
    uint32_t share = shares_first_in_slab(&core->shares, place->slab_page);
    for (; share != 0; share = shares_next_in_slab(&core->shares, share)) {
        const struct state_share *record = shares_record(&core->shares, share);
        const struct block block = {
            .num_bytes = record->num_bytes,
            .reason = record->reason,
            .born = record->born,
            .slot = settle_heir(core, share),
        };
        KMEM_ASSERT(settle_is_kept_by_others(core, share));
        direct_prepare_block(&core->direct, place->slab_page, record->index, &block);
    }
}

uint32_t adopt_slab(struct core *core, uint32_t share)
{
    const struct state_share place = *shares_record(&core->shares, share);
    struct client *client = clients_get(&core->clients, SHARE_OWNER(state_load(&place.word)));
    KMEM_ASSERT(client->client_state == CLIENT_ENDED);
    uint32_t spent = note_all_left(core, client, place.slab_page, place.span_pages);
    prepare(core, &place);
    KMEM_CRASH_POINT("server.adopt.entered");
    pages_turn_part(&core->pages, place.slab_page, place.span_pages);
    KMEM_CRASH_POINT("server.adopt.turned");
    leases_discharge(&core->leases, client, place.span_pages);
    direct_adopt(&core->direct, place.slab_page);
    for (uint32_t next = share; next != 0;
         next = shares_first_in_slab(&core->shares, place.slab_page)) {
        /* Before: a leased share whose pages are direct. After: a direct one, nobody's. */
        shares_set(&core->shares, next, settle_disowned(core, next));
        settle_note_kept(core, next);
        KMEM_CRASH_POINT("server.adopt.shared");
        settle_count(core, next, settle_heir(core, next));
        spent++;
    }
    return spent + place.span_pages;
}
