/* SPDX-License-Identifier: MIT */
#include "daemon/repeat.h"

bool repeat_of(const struct core *core, const struct client *client, enum intent_kind kind,
               struct intent *ret_intent)
{
    *ret_intent = clients_intent(&core->clients, client->slot);
    return client->in_hand != 0 && client->in_hand == client->serial && ret_intent->kind == kind;
}

bool repeat_allocated(const struct core *core, const struct client *client, uint64_t num_bytes,
                      struct seg_off *ret_off)
{
    struct intent intent;
    struct direct_block block;
    if (!repeat_of(core, client, INTENT_ALLOCATE, &intent)) {
        return false;
    }
    *ret_off = (struct seg_off){intent.at};
    return direct_find(&core->direct, client, *ret_off, &block) == 0 &&
           block.num_bytes == num_bytes;
}

bool repeat_leased(struct core *core, struct client *client, Kmem__Leased *leased)
{
    struct intent intent;
    if (!repeat_of(core, client, INTENT_LEASE, &intent) || intent.at >= core->state.n_pages) {
        return false;
    }
    const uint32_t page = (uint32_t)intent.at;
    const uint64_t granted = PAGE_WORD(PAGE_LEASED, client->slot, intent.n_pages);
    if (pages_run_of(&core->pages, page) == page && pages_word(&core->pages, page) == granted) {
        leased->page = page;
        leased->n_pages = intent.n_pages;
        return true;
    }
    (void)leases_return(&core->leases, client, page, page + intent.n_pages); /* none may be left */
    return false;
}
