/* SPDX-License-Identifier: MIT */
/*
 * query_resize.c - another size for the segment
 *
 * The daemon answers within a second, and says whether it goes on; asking again waits for the rest.
 */
#include "client/query_parts.h"

KMEM_MUST_USE static int resize(struct kmem_query *query, uint64_t num_bytes)
{
    const Kmem__Response *response = NULL;
    int r;
    do {
        Kmem__Request request = KMEM__REQUEST__INIT;
        Kmem__Resize asked = KMEM__RESIZE__INIT;
        asked.num_bytes = num_bytes;
        request.body_case = KMEM__REQUEST__BODY_RESIZE;
        request.resize = &asked;
        r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_RESIZED, &response);
    } while (r == 0 && response->resized->pending);
    return r;
}

int kmem_query_resize(struct kmem_query *query, uint64_t num_bytes)
{
    int r = kmem__query_begin(query, "kmem_query_resize");
    return r < 0 ? r : kmem__query_end(query, resize(query, num_bytes));
}
