/* SPDX-License-Identifier: MIT */
/*
 * query_limits.c - the daemon's limits, and what of each is in use
 */
#include "client/query_parts.h"

KMEM_MUST_USE static int limits_rows(struct kmem_query *query, kmem_limit_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Limits limits = KMEM__LIMITS__INIT;
    request.body_case = KMEM__REQUEST__BODY_LIMITS;
    request.limits = &limits;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_LIMITS, &response);
    for (size_t i = 0; r == 0 && i < response->limits->n_limits; i++) {
        const Kmem__Limit *said = response->limits->limits[i];
        const struct kmem_limit limit = {
            .name = said->name,
            .unit = kmem__query_unit(said->unit),
            .text = said->text,
            .used = said->used,
            .limit = said->limit,
        };
        r = each(&limit, user);
    }
    return r;
}

int kmem_query_limits(struct kmem_query *query, kmem_limit_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_limits");
    return r < 0 ? r : kmem__query_end(query, limits_rows(query, each, user));
}
