/* SPDX-License-Identifier: MIT */
#include "daemon/core/replay.h"

bool replay_of(const struct call *call, enum intent_kind kind, struct intent *ret_intent)
{
    const struct client *client = call->peer->client;
    const uint64_t sequence = call->request->sequence;
    *ret_intent = clients_intent(&call->core->clients, client->slot);
    return sequence != 0 && sequence == client->sequence && ret_intent->kind == kind;
}

bool replay_allocated(const struct call *call, uint64_t num_bytes, struct seg_off *ret_off)
{
    struct intent intent;
    struct block block;
    if (!replay_of(call, INTENT_ALLOCATE, &intent)) {
        return false;
    }
    *ret_off = (struct seg_off){intent.at};
    return direct_find(&call->core->direct, call->peer->client, *ret_off, &block) == 0 &&
           block.num_bytes == num_bytes;
}

/* Whether all of these pages are the client's: what was granted in part is taken back by a restart,
   and leaves a gap. */
static bool is_leased(const struct pages *pages, const struct client *client, uint32_t page,
                      uint32_t n_pages)
{
    const uint32_t run = pages_run_of(pages, page);
    const uint64_t word = pages_word(pages, run);
    return PAGE_WORD_STATE(word) == PAGE_LEASED && PAGE_WORD_OWNER(word) == client->slot &&
           page - run + n_pages <= PAGE_WORD_PAGES(word);
}

bool replay_leased(const struct call *call, Kmem__Leased *leased)
{
    struct core *core = call->core;
    struct client *client = call->peer->client;
    struct intent intent;
    if (!replay_of(call, INTENT_LEASE, &intent) || intent.at >= core->state.n_pages) {
        return false;
    }
    const uint32_t page = (uint32_t)intent.at;
    if (is_leased(&core->pages, client, page, intent.n_pages)) {
        leased->page = page;
        leased->n_pages = intent.n_pages;
        return true;
    }
    (void)leases_return(&core->leases, client, page, page + intent.n_pages); /* none may be left */
    return false;
}

/* One look at each name: the version that a client was about to give is no other name's, and what
   has it is that client's. */
void replay_recover(struct core *core)
{
    struct clients *clients = &core->clients;
    const struct names *names = &core->names;
    for (uint32_t name = names_next(names, 0); name != NAME_NONE;
         name = names_next(names, name + 1)) {
        const uint32_t owner = names_owner(names, name);
        if (owner == SLOT_NONE) {
            continue; /* it asks for nothing any more */
        }
        struct intent intent = clients_intent(clients, owner);
        if (intent.kind == INTENT_PUBLISH && intent.at == names_version_of(names, name)) {
            intent.kind = INTENT_PUBLISHED;
            clients_intend(clients, owner, clients_get(clients, owner)->sequence, &intent);
        }
    }
}
