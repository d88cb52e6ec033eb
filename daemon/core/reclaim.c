/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - slabs without a live block
 *
 * A step collects slabs that are idle by what stands there, marks all of them, makes one barrier
 * for all, and reads their entries once more. A header tells how many blocks are out of the slab's
 * list; more than a thread keeps ready, without those that wait to be collected, means that one is
 * live. So of a busy client little is read but headers, and it is not asked for what it uses.
 *
 * A slab becomes idle by a release, and clients count those (proto/counts.h). So a pass looks only
 * at clients that have released something since it looked at them last, and where that can not be
 * enough for a request none is made: a refusal among ten million live blocks reads no header.
 *
 * What a client writes there can only hide its slabs, which it could as well fill with blocks, or
 * show slabs as idle that it uses: it loses them then. But those with a block that is shared stay,
 * whatever stands there: others have it.
 */
#include "daemon/core/reclaim.h"

#include "daemon/core/accounts.h"
#include "daemon/core/counted.h"
#include "proto/crash_point.h"
#include "proto/lease.h"

/* 32 slabs to a barrier of some 11 us; their entries are read in 100 us at the most. */
#define SLABS_AT_ONCE 32
/* As CLIENT_LEDGER_READ_COST counts: 150 slabs of a busy client, or 8,000 heads: some 0.1 ms. */
#define BUDGET 15000
/* 64: 2 KiB are read in the time of one head and a half. */
#define HEADS_AT_ONCE 64
/* What a thread keeps ready of a size at the most: MAGAZINE_MAX in client/heap/bins.h. */
#define READY_AT_MOST 64
/* What a slab of a size class spans at most. */
#define SLAB_PAGES_MAX 8
/*
 * Steps in vain before a request is refused without a pass: two passes over a segment full of live
 * slabs, so that who asks again when another has released is seldom refused for what was found
 * before. A step is forgiven after eight times its time: clients that are refused one after the
 * other take a ninth of the server for it.
 */
#define SLABS_PER_STEP 150
#define VAIN_AT_MOST(n_pages) (64 + 2 * (uint64_t)(n_pages) / SLABS_PER_STEP)
#define FORGIVE_US 800

struct candidate {
    struct client *client;
    uint32_t page;
    uint32_t span_pages;
    uint32_t size_class;
};

struct batch {
    struct candidate slabs[SLABS_AT_ONCE];
    uint32_t n_slabs;
    uint32_t spent;
    struct ledger_head heads[HEADS_AT_ONCE]; /* copies, of one client's pages */
    const struct client *heads_of;
    uint32_t heads_page; /* the first head's */
    uint32_t n_heads;
};

void reclaim_init(struct reclaim *reclaim, struct leases *leases,
                  const struct client_ledger *client_ledger, bool (*barrier)(void))
{
    *reclaim =
        (struct reclaim){.leases = leases, .client_ledger = client_ledger, .barrier = barrier};
}

static uint32_t n_pages_all(const struct reclaim *reclaim)
{
    return reclaim->leases->pages->n_pages;
}

bool reclaim_reaches(const struct reclaim *reclaim, const struct client *client)
{
    return reclaim->barrier && client_ledger_is_fenced(reclaim->client_ledger, client->slot);
}

/* Forgives steps in vain for the time that has passed. */
static void reclaim_forgive(struct reclaim *reclaim, uint64_t now_us)
{
    const uint64_t n_steps = (now_us - reclaim->forgiven_us) / FORGIVE_US;
    reclaim->n_vain = reclaim->n_vain > n_steps ? reclaim->n_vain - n_steps : 0;
    reclaim->forgiven_us += n_steps * FORGIVE_US;
}

bool reclaim_begin(struct reclaim *reclaim, uint64_t now_us, uint64_t *ret_until)
{
    reclaim_forgive(reclaim, now_us);
    if (!reclaim->barrier || reclaim->leases->n_pages == 0 ||
        reclaim->n_vain > VAIN_AT_MOST(n_pages_all(reclaim))) {
        return false;
    }
    if (reclaim->n_waiting == 0) {
        reclaim->at = reclaim->n_turns; /* what was left of it is of higher priority, or the next */
    }
    *ret_until = reclaim->n_passes + (reclaim->at < reclaim->n_turns ? 2 : 1);
    return true;
}

void reclaim_wait(struct reclaim *reclaim)
{
    reclaim->n_waiting++;
}

void reclaim_leave(struct reclaim *reclaim)
{
    KMEM_ASSERT(reclaim->n_waiting > 0);
    reclaim->n_waiting--;
}

/*
 * How many pages of a client may have become idle since it was looked at: each release empties one
 * slab at the most. Where releases are not known, all that it has leased may. A thread that is
 * stopped between a release and its count hides one slab until it goes on.
 */
static uint64_t pages_at_most(const struct client *client)
{
    uint64_t n_released;
    if (client->client_state != CLIENT_LIVE || !client->states || client->leased_pages == 0) {
        return 0;
    }
    if (!client->is_read || !counted_releases(client, &n_released)) {
        return client->leased_pages;
    }
    const uint64_t n_since = n_released - client->n_released;
    return n_since < client->leased_pages / SLAB_PAGES_MAX ? n_since * SLAB_PAGES_MAX
                                                           : client->leased_pages;
}

uint64_t reclaim_at_most_of(const struct reclaim *reclaim, const struct client *client)
{
    return reclaim->barrier ? pages_at_most(client) : 0;
}

uint64_t reclaim_at_most(const struct reclaim *reclaim)
{
    uint64_t n_pages = 0;
    const struct clients *clients = reclaim->leases->clients;
    const struct client *client =
        reclaim->barrier && reclaim->leases->n_pages > 0 ? clients_next(clients, 0) : NULL;
    for (; client; client = clients_next(clients, client->slot + 1)) {
        n_pages += pages_at_most(client);
    }
    return n_pages;
}

/* A page's head, perhaps read with others before it; NULL: it can not be read. */
static const struct ledger_head *batch_head(const struct reclaim *reclaim, struct batch *batch,
                                            const struct client *client, uint32_t page,
                                            uint32_t end)
{
    if (batch->heads_of != client || page - batch->heads_page >= batch->n_heads) {
        const uint32_t n_heads = end - page < HEADS_AT_ONCE ? end - page : HEADS_AT_ONCE;
        const bool is_read =
            client_ledger_heads(reclaim->client_ledger, client->slot, page, n_heads, batch->heads);
        batch->heads_of = client;
        batch->heads_page = page;
        batch->n_heads = is_read ? n_heads : 0;
        batch->spent += CLIENT_LEDGER_READ_COST;
    }
    return batch->n_heads > 0 ? &batch->heads[page - batch->heads_page] : NULL;
}

/* Whether a slab may be idle, from the first page of one: it is worth a question. */
static bool slab_may_be_idle(const struct reclaim *reclaim, struct candidate *slab, uint32_t end,
                             struct batch *batch)
{
    const struct ledger_head *head = batch_head(reclaim, batch, slab->client, slab->page, end);
    if (!head) {
        return false;
    }
    /* Relaxed, both: a copy. */
    const uint32_t kind = atomic_load_explicit(&head->kind, memory_order_relaxed);
    const uint32_t remote = atomic_load_explicit(&head->remote, memory_order_relaxed);
    if (kind != HEAD_SLAB || head->size_class >= N_SIZE_CLASSES) {
        return false;
    }
    slab->size_class = head->size_class;
    slab->span_pages = size_classes[head->size_class].span_pages;
    if (slab->span_pages > end - slab->page ||
        head->n_used > REMOTE_COUNT(remote) + READY_AT_MOST ||
        shares_is_pinned(reclaim->leases->shares, slab->page, slab->span_pages)) {
        return false;
    }
    batch->spent +=
        2 * CLIENT_LEDGER_READ_COST; /* an entry is copied faster than one is looked at */
    return client_ledger_entries_are_idle(reclaim->client_ledger, slab->client->slot, slab->page,
                                          slab->size_class);
}

/* Whether a step goes on. */
static bool batch_has_room(const struct batch *batch)
{
    return batch->spent < BUDGET && batch->n_slabs < SLABS_AT_ONCE;
}

/* Looks at pages of a lease from `page` on. Return: the first page not looked at. */
static uint32_t lease_collect(const struct reclaim *reclaim, struct client *client, uint32_t page,
                              uint32_t end, struct batch *batch)
{
    while (page < end && batch_has_room(batch)) {
        struct candidate slab = {.client = client, .page = page, .span_pages = 1};
        batch->spent++;
        if ((lease_flags_of(client->states, page) & ~(uint32_t)LEASE_ASKED) == LEASE_OPEN) {
            if (slab_may_be_idle(reclaim, &slab, end, batch)) {
                batch->slabs[batch->n_slabs++] = slab;
            }
        }
        /* A head that lies hides no page of another's. */
        page = slab.span_pages < end - page ? page + slab.span_pages : end;
    }
    return page;
}

/* Looks at a client's leases from client->idle_page on. Return: whether it is done with them. */
static bool client_collect(struct reclaim *reclaim, struct client *client, struct batch *batch)
{
    const struct pages *pages = reclaim->leases->pages;
    if (client->idle_page == 0) {
        batch->spent += CLIENT_LEDGER_READ_COST;
        if (pages_at_most(client) == 0 ||
            !client_ledger_is_fenced(reclaim->client_ledger, client->slot)) {
            return true;
        }
        /* Before its entries are read: what it releases from now on is looked at another time. */
        client->idle_released = counted_read(client).n_releases;
        client->idle_page = pages_leased_first(pages, client->slot);
    }
    uint32_t run = pages_run_of(pages, client->idle_page);
    const uint64_t word = pages_word(pages, run);
    if (PAGE_WORD_STATE(word) != PAGE_LEASED || PAGE_WORD_OWNER(word) != client->slot) {
        client->idle_page = 0;
        return true; /* it has come back meanwhile; the rest is for the next pass */
    }
    while (client->idle_page != 0 && batch_has_room(batch)) {
        const uint32_t end = run + PAGE_WORD_PAGES(pages_word(pages, run));
        batch->spent++;
        client->idle_page = lease_collect(reclaim, client, client->idle_page, end, batch);
        if (client->idle_page == end) {
            run = pages_leased_next(pages, run);
            client->idle_page = run;
        }
    }
    if (client->idle_page == 0) {
        client->is_read = true;
        client->n_released = client->idle_released;
    }
    return client->idle_page == 0;
}

/* --------------------------------------------------------------------------------- a pass ---- */

/* By priority, and of each first those turns that are not one more of a client. */
#define N_RANKS (2 * (2 * RULES_PRIORITY_MAX + 1))

static uint32_t rank_of(int32_t priority, bool is_again)
{
    KMEM_ASSERT(priority >= -RULES_PRIORITY_MAX);
    KMEM_ASSERT(priority <= RULES_PRIORITY_MAX);
    return 2 * (uint32_t)(priority + RULES_PRIORITY_MAX) + is_again;
}

/* Goes once around over the clients that have something leased. Each turn takes the next place of
   its rank, and is put there if that is wanted. */
static void turns_place(struct reclaim *reclaim, uint32_t places[static N_RANKS], bool are_put)
{
    const struct clients *clients = reclaim->leases->clients;
    for (uint32_t i = 0; i < clients->n_slots; i++) {
        const uint32_t slot = (reclaim->slot + i) % clients->n_slots;
        const struct client *client = &clients->table[slot];
        if (client->client_state != CLIENT_LIVE || client->leased_pages == 0) {
            continue;
        }
        const int32_t priority = accounts_priority(reclaim->leases->accounts, client);
        const unsigned n_turns = client->idle_page != 0 ? 2 : 1;
        for (unsigned turn = 0; turn < n_turns; turn++) {
            const uint32_t place = places[rank_of(priority, turn == 1)]++;
            if (are_put) {
                reclaim->turns[place] = (struct reclaim_turn){priority, (uint16_t)slot};
            }
        }
    }
}

/* A counting sort: with as many clients as there may be, qsort() takes several steps' time. */
static void pass_begin(struct reclaim *reclaim)
{
    uint32_t places[N_RANKS] = {0};
    turns_place(reclaim, places, false);
    reclaim->n_turns = reclaim->at = 0;
    for (uint32_t rank = 0; rank < N_RANKS; rank++) {
        const uint32_t n_turns = places[rank];
        places[rank] = reclaim->n_turns;
        reclaim->n_turns += n_turns;
    }
    turns_place(reclaim, places, true);
}

/* Whether all of a priority have been looked at, and it has brought something. */
static bool level_is_over(const struct reclaim *reclaim, const struct batch *batch)
{
    if (batch->n_slabs == 0) {
        return false;
    }
    KMEM_ASSERT(reclaim->at > 0); /* whose turn it was has brought them */
    return reclaim->turns[reclaim->at].priority != reclaim->turns[reclaim->at - 1].priority;
}

/* Gathers slabs from where the pass is, to its end at most. */
static void batch_collect(struct reclaim *reclaim, struct batch *batch)
{
    if (reclaim->at == reclaim->n_turns) {
        pass_begin(reclaim);
    }
    while (reclaim->at < reclaim->n_turns && batch_has_room(batch) &&
           !level_is_over(reclaim, batch)) {
        const uint32_t slot = reclaim->turns[reclaim->at].slot;
        struct client *client = clients_next(reclaim->leases->clients, slot);
        const bool is_here = client && client->slot == slot && client->client_state == CLIENT_LIVE;
        batch->spent++;
        reclaim->slot = slot;
        if (is_here && !client_collect(reclaim, client, batch)) {
            return;
        }
        reclaim->at++;
    }
    if (reclaim->at == reclaim->n_turns) {
        reclaim->n_passes++;
        reclaim->slot = 0;
    }
}

/* Says to the clients that their slabs are looked at; those that are none any more fall out. */
static void batch_ask(struct batch *batch)
{
    uint32_t n_asked = 0;
    for (uint32_t i = 0; i < batch->n_slabs; i++) {
        const struct candidate *slab = &batch->slabs[i];
        if (lease_ask(slab->client->states, slab->page, slab->span_pages)) {
            batch->slabs[n_asked++] = *slab;
        }
    }
    batch->n_slabs = n_asked;
    for (uint32_t i = 0; i < n_asked; i++) {
        if (i == 0 || batch->slabs[i].client != batch->slabs[i - 1].client) {
            lease_announce(batch->slabs[i].client->states);
        }
    }
}

/* Takes a slab if it is idle. Return: how many pages came back. */
static uint32_t slab_take(struct reclaim *reclaim, const struct candidate *slab)
{
    _Atomic uint64_t *states = slab->client->states;
    uint32_t n_pages = 0;
    if (client_ledger_slab_is_idle(reclaim->client_ledger, slab->client->slot, slab->page,
                                   slab->size_class)) {
        n_pages = lease_seize(states, slab->page, slab->span_pages);
        KMEM_CRASH_POINT("server.slab.seized");
    }
    lease_unask(states, slab->page + n_pages, slab->span_pages - n_pages);
    leases_come_back(reclaim->leases, slab->client, slab->page, n_pages);
    reclaim->leases->pages->state->counters->revoked_pages += n_pages;
    reclaim->leases->pages->state->counters->reclaimed_pages += n_pages;
    return n_pages;
}

uint32_t reclaim_step(struct reclaim *reclaim)
{
    struct batch batch;
    batch.n_slabs = 0;
    batch.spent = 0;
    batch.heads_of = NULL;
    uint32_t n_back = 0;
    batch_collect(reclaim, &batch);
    batch_ask(&batch);
    KMEM_CRASH_POINT("server.slabs.asked");
    const bool is_fenced = batch.n_slabs > 0 && reclaim->barrier();
    KMEM_CRASH_POINT("server.slabs.fenced");
    for (uint32_t i = 0; i < batch.n_slabs; i++) {
        const struct candidate *slab = &batch.slabs[i];
        if (is_fenced) {
            n_back += slab_take(reclaim, slab);
        } else {
            lease_unask(slab->client->states, slab->page, slab->span_pages);
        }
    }
    reclaim->n_pages += n_back;
    reclaim->n_vain = n_back > 0 ? 0 : reclaim->n_vain + 1;
    return n_back;
}
