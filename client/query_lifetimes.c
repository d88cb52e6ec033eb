/* SPDX-License-Identifier: MIT */
/*
 * query_lifetimes.c - live blocks by age and released ones by lifetime
 */
#include <errno.h>
#include <string.h>

#include <kmem/history.h>

#include "client/query_parts.h"

static void ranges_copy(uint64_t *ret_ranges, const uint64_t *said, size_t n_said)
{
    for (size_t i = 0; i < KMEM_LIFETIME_RANGES; i++) {
        ret_ranges[i] = i < n_said ? said[i] : 0;
    }
}

static int lifetimes_page(const Kmem__LifetimesReport *report, kmem_lifetimes_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_rows; i++) {
        const Kmem__LifetimesRow *said = report->rows[i];
        struct kmem_lifetimes row = {
            .reason = said->reason,
            .n_blocks = said->n_blocks,
            .num_bytes = said->num_bytes,
            .oldest_ms = said->oldest_ms,
        };
        ranges_copy(row.blocks_by_age, said->blocks_by_age, said->n_blocks_by_age);
        ranges_copy(row.bytes_by_age, said->bytes_by_age, said->n_bytes_by_age);
        ranges_copy(row.released_by_age, said->released_by_age, said->n_released_by_age);
        r = each(&row, user);
    }
    return r;
}

KMEM_MUST_USE static int lifetimes_rows(struct kmem_query *query, kmem_lifetimes_fn each,
                                        void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Lifetimes lifetimes = KMEM__LIFETIMES__INIT;
    request.body_case = KMEM__REQUEST__BODY_LIFETIMES;
    request.lifetimes = &lifetimes;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_LIFETIMES, &response);
        r = r ? r : lifetimes_page(response->lifetimes, each, user);
        if (r != 0 || !response->lifetimes->more) {
            return r;
        }
        if (response->lifetimes->n_rows == 0) {
            return kmem__query_fail_to_move_on(query);
        }
        lifetimes.first_row += (uint32_t)response->lifetimes->n_rows;
    }
}

int kmem_query_lifetimes(struct kmem_query *query, kmem_lifetimes_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_lifetimes");
    return r < 0 ? r : kmem__query_end(query, lifetimes_rows(query, each, user));
}
