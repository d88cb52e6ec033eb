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
    char message[SENTENCE_BYTES + 32];
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
