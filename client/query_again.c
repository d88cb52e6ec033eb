/* SPDX-License-Identifier: MIT */
/*
 * query_again.c - questions that outlive the server that was asked
 *
 * A page of an answer is asked for by where it begins, and most answers are in an order that the
 * next server has, too: of offsets, slots, numbers, which are in the segment's state. Such a page
 * is asked for again, whichever it is, and rows that were handed on are not handed on again. The
 * ledger and lifetimes are ordered by what is counted at the moment, so of those the first page
 * alone is; and what changes something is not asked twice.
 */
#include <errno.h>
#include <string.h>

#include <kmem/query.h>

#include "client/link/handshake.h"
#include "client/query_parts.h"

/* 1 s: a server that is killed is followed by another within some 50 ms; the longer is worth a word
   to a user who waits. */
#define AWAY_MS 1000
/* 4: of a question that servers die of, one after the other, the daemon has seen enough then. */
#define TRIES_MAX 4

void kmem_query_insist(struct kmem_query *query, kmem_query_away_fn away, void *user)
{
    query->insists = true;
    query->away = away;
    query->away_user = user;
}

static bool can_repeat(const Kmem__Request *request)
{
    switch ((int)request->body_case) {
    case KMEM__REQUEST__BODY_LEDGER:
        return request->ledger->first_row == 0;
    case KMEM__REQUEST__BODY_LIFETIMES:
        return request->lifetimes->first_row == 0;
    case KMEM__REQUEST__BODY_CHANGES: /* its caller is to know of another server at once */
    case KMEM__REQUEST__BODY_RELOAD:
    case KMEM__REQUEST__BODY_RESIZE:
        return false;
    default:
        return true;
    }
}

/* Where a daemon is being started again. */
static bool may_come(int r)
{
    return r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT || r == -ETIMEDOUT;
}

static int query_check(struct kmem_query *query, const struct welcome *welcome)
{
    if (welcome->instance == query->instance) {
        return 0;
    }
    return kmem__conn_lose(&query->conn, &query->failure, ECONNRESET,
                           "has ended, and another segment is served there now");
}

/* Connects to the next server. Return: 0 or a fault. */
KMEM_MUST_USE static int query_return(struct kmem_query *query, int64_t deadline_ms)
{
    struct welcome welcome;
    const int64_t away_ms = kmem__monotonic_ms() + AWAY_MS;
    const int64_t first_ms = away_ms < deadline_ms ? away_ms : deadline_ms;
    int r = kmem__handshake_observe_again(&query->conn, first_ms, &welcome, &query->failure);
    if (may_come(r) && r != -ENOENT && first_ms < deadline_ms) {
        if (query->away != NULL) {
            query->away(query->away_user);
        }
        r = kmem__handshake_observe_again(&query->conn, deadline_ms, &welcome, &query->failure);
    }
    query->conn.timeout_ms = query->timeout_ms;
    if (r == 0) {
        return query_check(query, &welcome);
    }
    return may_come(r) ? kmem__failure_set(&query->failure, ECONNRESET,
                                           "the daemon at %s has ended, and none came back",
                                           query->conn.path)
                       : r;
}

bool kmem__query_can_repeat(const struct kmem_query *query, const Kmem__Request *request, int r)
{
    return r == -ECONNRESET && query->insists && can_repeat(request);
}

int kmem__query_repeat(struct kmem_query *query, Kmem__Request *request,
                       Kmem__Response__BodyCase expected, const Kmem__Response **ret_response)
{
    const int64_t deadline_ms = kmem__monotonic_ms() + query->timeout_ms;
    int r = -ECONNRESET;
    for (int n_tries = 0; r == -ECONNRESET && n_tries < TRIES_MAX; n_tries++) {
        r = query_return(query, deadline_ms);
        if (r < 0) {
            return r;
        }
        r = kmem__conn_ask(&query->conn, request, expected, NULL, ret_response, &query->failure);
    }
    return r;
}
