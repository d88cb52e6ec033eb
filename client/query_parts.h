/* SPDX-License-Identifier: MIT */
/*
 * query_parts.h - what the functions of a query have in common: one page of an answer
 */
#ifndef CLIENT_QUERY_PARTS_H
#define CLIENT_QUERY_PARTS_H

#include <kmem/query.h>

#include "client/failure.h"
#include "client/link/conn.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"

struct kmem_query {
    const char *call; /* the one that is under way; NULL: none */
    struct failure failure;
    struct failure ahead_failure; /* of a page that was asked for ahead */
    char message[SENTENCE_BYTES + 32];
    bool insists; /* kmem_query_insist() was called, with these two: */
    kmem_query_away_fn away;
    void *away_user;
    uint64_t instance; /* of the segment that is asked about */
    int timeout_ms;    /* for each answer */
    struct conn conn;
};

/** kmem__query_begin() - Return: 0; -EBUSY from a callback of the same query. */
KMEM_MUST_USE int kmem__query_begin(struct kmem_query *query, const char *call);

/** kmem__query_end() - Return: r. */
int kmem__query_end(struct kmem_query *query, int r);

/** kmem__query_record() - make query->failure the query's and the thread's last error */
void kmem__query_record(struct kmem_query *query, const char *call);

/**
 * kmem__query_ask() - ask for one page
 * Return: 0 or a negative errno; then the sentence is in its place.
 */
KMEM_MUST_USE int kmem__query_ask(struct kmem_query *query, Kmem__Request *request,
                                  Kmem__Response__BodyCase expected,
                                  const Kmem__Response **ret_response);

/**
 * kmem__query_ask_ahead() - ask for the next page, while the rows of this one are handed on
 * Return: what kmem__query_hear() or kmem__query_drop() is told, one of which must follow.
 */
KMEM_MUST_USE int kmem__query_ask_ahead(struct kmem_query *query, Kmem__Request *request);

/** kmem__query_hear() - the page that was asked for ahead. Return: as kmem__query_ask() has it. */
KMEM_MUST_USE int kmem__query_hear(struct kmem_query *query, int asked, Kmem__Request *request,
                                   Kmem__Response__BodyCase expected,
                                   const Kmem__Response **ret_response);

/** kmem__query_drop() - likewise, but no more rows are wanted */
void kmem__query_drop(struct kmem_query *query, int asked, Kmem__Response__BodyCase expected);

/** kmem__query_can_repeat() - whether what failed so may be asked of the next server */
bool kmem__query_can_repeat(const struct kmem_query *query, const Kmem__Request *request, int r);

/**
 * kmem__query_repeat() - ask the next server, when it is there
 * Return: as kmem__conn_ask().
 */
KMEM_MUST_USE int kmem__query_repeat(struct kmem_query *query, Kmem__Request *request,
                                     Kmem__Response__BodyCase expected,
                                     const Kmem__Response **ret_response);

/** kmem__query_fail_to_move_on() - "more" was said where there is none. Return: -EPROTO. */
KMEM_MUST_USE int kmem__query_fail_to_move_on(struct kmem_query *query);

/** kmem__query_block() - what an answer says of a block; its strings live as long as that */
struct kmem_block kmem__query_block(const Kmem__Block *said);

/**
 * kmem__query_filter() - copy a filter, as much of it as the caller was built with; the rest asks
 *                        for nothing
 * @said_bytes:   what the filter says of itself
 * @least_bytes:  what the first version of it had
 * Return: 0, -EINVAL.
 */
KMEM_MUST_USE int kmem__query_filter(struct kmem_query *query, const void *said, size_t said_bytes,
                                     size_t least_bytes, void *ret_filter, size_t filter_bytes);

/** kmem__query_unit() - "bytes", "milliseconds" or "count" */
const char *kmem__query_unit(Kmem__StatisticUnit unit);

#endif
