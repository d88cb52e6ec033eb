/* SPDX-License-Identifier: MIT */
#include "daemon/core/shortage.h"

#include <string.h>

/*
 * 1/2 of the segment. With less free, the pieces that leases leave between blocks get too small for
 * what is asked for: of blocks from 64 bytes to 1 MiB the first was refused at 78 % when a quarter
 * was the border, and at 95 % with half. With more, large blocks would cost a round trip each in a
 * segment that has room. 9/16 on the way back: a client that swings around the border changes its
 * ways seldom.
 */
#define SHORT_BELOW(n_pages) ((uint64_t)(n_pages) / 2)
#define ENOUGH_ABOVE(n_pages) ((uint64_t)(n_pages) / 16 * 9)
/* 64: a look at a thousand clients takes 0.5 ms; so it is taken seldom, however much they ask. */
#define LOOKS 64
/* 4 ticks, 0.4 s: what is wanted again before that costs no system call; and what is not is back
   within a second. */
#define GIVE_BACK_TICKS 4

void shortage_init(struct shortage *shortage, struct leases *leases,
                   const struct client_ledger *client_ledger, bool gives_back)
{
    *shortage = (struct shortage){
        .leases = leases,
        .client_ledger = client_ledger,
        .gives_back = gives_back,
        .n_spare_pages = UINT32_MAX - 1,
    };
    memset(shortage->low, 0xff, sizeof(shortage->low));
}

/* What a client says it does not use of its leases. */
static uint32_t client_n_unused(const struct shortage *shortage, const struct client *client)
{
    const uint64_t n_used = client->leased_pages > 0
                                ? client_ledger_n_used_pages(shortage->client_ledger, client->slot)
                                : UINT32_MAX;
    return n_used < client->leased_pages ? (uint32_t)(client->leased_pages - n_used) : 0;
}

/* What is free, or leased and unused; what each client has at the least is noted. */
static uint64_t n_pages_to_be_had(struct shortage *shortage)
{
    const struct clients *clients = shortage->leases->clients;
    uint64_t n_pages = shortage->leases->pages->n_free_pages;
    const struct client *client = shortage->leases->n_pages > 0 ? clients_next(clients, 0) : NULL;
    while (client) {
        uint32_t *low = &shortage->low[client->slot];
        const uint32_t n_unused = client_n_unused(shortage, client);
        *low = n_unused < *low ? n_unused : *low;
        n_pages += n_unused;
        client = clients_next(clients, client->slot + 1);
    }
    return n_pages;
}

void shortage_look(struct shortage *shortage)
{
    const struct pages *pages = shortage->leases->pages;
    const uint32_t n_all = pages->n_pages;
    const uint64_t border = shortage->n_spare_pages == 0 ? ENOUGH_ABOVE(n_all) : SHORT_BELOW(n_all);
    const uint64_t n_pages = n_pages_to_be_had(shortage);
    shortage->n_spare_pages = n_pages > border ? (uint32_t)(n_pages - border) : 0;
    if (shortage->n_spare_pages == 0) {
        leases_return_all(shortage->leases);
    }
    shortage->n_free_seen = pages->n_free_pages;
}

static void give_back(struct shortage *shortage)
{
    const struct clients *clients = shortage->leases->clients;
    struct client *client = clients_next(clients, 0);
    while (client) {
        uint32_t *low = &shortage->low[client->slot];
        if (*low > 0 && *low < UINT32_MAX) {
            leases_return_some(shortage->leases, client, *low);
        }
        *low = UINT32_MAX;
        client = clients_next(clients, client->slot + 1);
    }
}

void shortage_tick(struct shortage *shortage)
{
    shortage_look(shortage);
    if (shortage->gives_back && ++shortage->n_ticks == GIVE_BACK_TICKS) {
        shortage->n_ticks = 0;
        give_back(shortage);
    }
}

bool shortage_is_due(const struct shortage *shortage)
{
    const struct pages *pages = shortage->leases->pages;
    return pages->n_free_pages + pages->n_pages / LOOKS < shortage->n_free_seen;
}
