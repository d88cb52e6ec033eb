/* SPDX-License-Identifier: MIT */
/*
 * returns.c - the order of stores
 *
 *      share's word   RETURNING, NUMBERED: the n-th that ever goes home to this client
 *      ring           the n-th place: the offset
 *      n_put = n      the client may take it
 *      share's word   NONE: the record is free
 *
 * A server that is killed leaves a numbered share: if n_put has come to its number, it was put, and
 * the record alone is left; else it is put, under another number if the client has spoilt n_put.
 * There is one such share of a client at a time. Numbers are compared in 32 bits, of which they use
 * half before they come round: 1,024 are on their way at most.
 */
#include "daemon/core/returns.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/crash_point.h"
#include "proto/store.h"

int returns_init(struct returns *returns, struct shares *shares)
{
    *returns = (struct returns){
        .shares = shares,
        .next = calloc(SHARES_MAX, sizeof(*returns->next)),
        .first = calloc(CLIENTS_MAX, sizeof(*returns->first)),
    };
    if (!returns->next || !returns->first) {
        returns_fini(returns);
        return -ENOMEM;
    }
    return 0;
}

void returns_fini(struct returns *returns)
{
    free(returns->next);
    free(returns->first);
    *returns = (struct returns){.shares = NULL};
}

static bool is_numbered(const struct returns *returns, uint32_t share)
{
    return share != 0 && (shares_word(returns->shares, share) & SHARE_NUMBERED) != 0;
}

/* The numbered one stays first, so that n_put is what it was when it was numbered. */
static void wait_for(struct returns *returns, uint32_t share)
{
    uint32_t *first = &returns->first[SHARE_OWNER(shares_word(returns->shares, share))];
    uint32_t *at = is_numbered(returns, *first) ? &returns->next[*first] : first;
    returns->next[share] = *at;
    *at = share;
}

/* The state is RETURNING, the owner stays, and whether others wrote; nothing else is said. */
static uint64_t returning_word(uint64_t word)
{
    return (word & ((uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT | SHARE_LEASED | SHARE_WRITTEN)) |
           SHARE_RETURNING;
}

/* Whether the client has room for one more, as it says. */
static bool has_room(const struct client *owner, uint64_t *ret_n_put)
{
    if (!owner->returns) {
        return false;
    }
    /* Relaxed: the server's own; a client that spoils it spoils its own. */
    *ret_n_put = atomic_load_explicit(&owner->returns->n_put, memory_order_relaxed);
    /* Acquire: pairs with the client, which has read the place before it says so. */
    const uint64_t n_taken = atomic_load_explicit(&owner->returns->n_taken, memory_order_acquire);
    return *ret_n_put - n_taken < RETURNS_MAX;
}

/* Puts a share's block where its owner finds it: n_put blocks were before. */
static void put(struct returns *returns, const struct client *owner, uint32_t share, uint64_t n_put)
{
    struct shares *shares = returns->shares;
    const uint64_t number = n_put + 1;
    const uint64_t was_written =
        (shares_word(shares, share) & SHARE_WRITTEN) != 0 ? RETURNS_WRITTEN : 0;
    /* Before: nobody holds the share, or it waits. After: it is the n-th to go home. */
    shares_set(shares, share,
               returning_word(shares_word(shares, share)) | SHARE_NUMBERED |
                   number << SHARE_RETURN_SHIFT);
    KMEM_CRASH_POINT("server.return.numbered");
    store_prepare_u64(&owner->returns->offsets[n_put % RETURNS_MAX],
                      shares_record(shares, share)->offset | was_written);
    /* Before: it is to be put. After: the client has it. */
    store_prepare_u64(&owner->returns->n_put, number);
    KMEM_CRASH_POINT("server.return.put");
    shares_remove(shares, share);
}

void returns_begin(struct returns *returns, struct client *owner, uint32_t share)
{
    uint64_t n_put;
    KMEM_ASSERT(owner->client_state == CLIENT_LIVE);
    returns_deliver(returns, owner);
    if (returns->first[owner->slot] == 0 && has_room(owner, &n_put)) {
        put(returns, owner, share, n_put);
        return;
    }
    /* Before: nobody holds it. After: it waits. */
    shares_set(returns->shares, share, returning_word(shares_word(returns->shares, share)));
    wait_for(returns, share);
}

/* Whether the server before has put it. */
static bool was_put(const struct returns *returns, uint32_t share, uint64_t n_put)
{
    const uint32_t number = SHARE_RETURN(shares_word(returns->shares, share));
    return is_numbered(returns, share) && (int32_t)((uint32_t)n_put - number) >= 0;
}

void returns_deliver(struct returns *returns, struct client *owner)
{
    uint32_t *first = &returns->first[owner->slot];
    uint64_t n_put;
    while (*first != 0 && owner->returns) {
        const uint32_t share = *first;
        const bool room = has_room(owner, &n_put);
        const bool is_put = was_put(returns, share, n_put);
        if (!is_put && !room) {
            return;
        }
        *first = returns->next[share];
        if (is_put) {
            shares_remove(returns->shares, share);
        } else {
            put(returns, owner, share, n_put);
        }
    }
}

void returns_forget(struct returns *returns, uint32_t slot)
{
    returns->first[slot] = 0;
}

void returns_recover(struct returns *returns, uint32_t share)
{
    uint32_t *first = &returns->first[SHARE_OWNER(shares_word(returns->shares, share))];
    if (is_numbered(returns, share)) {
        returns->next[share] = *first;
        *first = share;
    } else {
        wait_for(returns, share);
    }
}

int returns_check(const struct returns *returns, const struct clients *clients)
{
    const struct shares *shares = returns->shares;
    uint32_t n_returning = 0;
    uint32_t n_waiting = 0;
    for (uint32_t share = shares_next(shares, 1); share != 0;
         share = shares_next(shares, share + 1)) {
        const uint64_t word = shares_word(shares, share);
        n_returning += (word & SHARE_STATE_MASK) == SHARE_RETURNING &&
                       clients_get(clients, SHARE_OWNER(word))->client_state == CLIENT_LIVE;
    }
    const struct client *client = clients_next(clients, 0);
    for (; client; client = clients_next(clients, client->slot + 1)) {
        uint32_t share = client->client_state == CLIENT_LIVE ? returns->first[client->slot] : 0;
        for (; share != 0 && n_waiting <= n_returning; share = returns->next[share]) {
            const uint64_t word = shares_word(shares, share);
            if ((word & SHARE_STATE_MASK) != SHARE_RETURNING || SHARE_OWNER(word) != client->slot) {
                return RETURNS_E_CORRUPT;
            }
            n_waiting++;
        }
    }
    return n_waiting == n_returning ? 0 : RETURNS_E_CORRUPT;
}
