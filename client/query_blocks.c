/* SPDX-License-Identifier: MIT */
/*
 * query_blocks.c - the live blocks, all or those that the daemon is asked to select
 *
 * A million of them are some two thousand pages. The daemon makes a page while the caller prints
 * the one before: together they take as long as the slower of the two.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "client/query_parts.h"
#include "proto/limits.h"

struct kmem_block kmem__query_block(const Kmem__Block *said)
{
    return (struct kmem_block){
        .offset = said->offset,
        .num_bytes = said->num_bytes,
        .reason = said->reason,
        .pid = said->pid,
        .uid = said->uid,
        .command = said->command,
        .age_ms = said->age_ms,
        .leased = said->leased,
        .shared = said->shared,
        .n_holders = said->n_holders,
        .n_names = said->n_names,
    };
}

static int blocks_page(const Kmem__BlocksReport *report, kmem_block_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_blocks; i++) {
        const struct kmem_block block = kmem__query_block(report->blocks[i]);
        r = each(&block, user);
    }
    return r;
}

/* It would hand on what was not asked for. */
static int blocks_fail_unfiltered(struct kmem_query *query)
{
    int r = kmem__failure_set(&query->failure, EPROTONOSUPPORT,
                              "the daemon is older than this library, and selects no blocks");
    kmem__query_record(query, query->call);
    return r;
}

/* Hands the rows of a page on, and goes on to the next one. Return: 0; or how the answer ends. */
KMEM_MUST_USE static int blocks_next(struct kmem_query *query, Kmem__Request *request,
                                     kmem_block_fn each, void *user,
                                     const Kmem__Response **ret_response)
{
    const Kmem__BlocksReport *report = (*ret_response)->blocks;
    if (report->next_offset <= request->blocks->from_offset) {
        const int r = blocks_page(report, each, user);
        return r != 0 ? r : kmem__query_fail_to_move_on(query);
    }
    request->blocks->from_offset = report->next_offset;
    const int asked = kmem__query_ask_ahead(query, request);
    const int r = blocks_page(report, each, user);
    if (r != 0) {
        kmem__query_drop(query, asked, KMEM__RESPONSE__BODY_BLOCKS);
        return r;
    }
    return kmem__query_hear(query, asked, request, KMEM__RESPONSE__BODY_BLOCKS, ret_response);
}

KMEM_MUST_USE static int blocks_rows(struct kmem_query *query, Kmem__BlockFilter *filter,
                                     kmem_block_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Blocks blocks = KMEM__BLOCKS__INIT;
    request.body_case = KMEM__REQUEST__BODY_BLOCKS;
    request.blocks = &blocks;
    blocks.filter = filter;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_BLOCKS, &response);
    while (r == 0) {
        if (filter != NULL && !response->blocks->filtered) {
            return blocks_fail_unfiltered(query);
        }
        if (!response->blocks->more) {
            return blocks_page(response->blocks, each, user);
        }
        r = blocks_next(query, &request, each, user, &response);
    }
    return r;
}

int kmem_query_blocks(struct kmem_query *query, kmem_block_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_blocks");
    return r < 0 ? r : kmem__query_end(query, blocks_rows(query, NULL, each, user));
}

KMEM_MUST_USE static int blocks_rows_where(struct kmem_query *query,
                                           const struct kmem_block_filter *said, kmem_block_fn each,
                                           void *user)
{
    struct kmem_block_filter wanted;
    Kmem__BlockFilter filter = KMEM__BLOCK_FILTER__INIT;
    const size_t least_bytes = offsetof(struct kmem_block_filter, sharing) + sizeof(said->sharing);
    int r =
        kmem__query_filter(query, said, said->struct_bytes, least_bytes, &wanted, sizeof(wanted));
    if (r < 0) {
        return r;
    }
    filter.by_pid = wanted.by_pid != 0;
    filter.pid = wanted.pid;
    filter.by_uid = wanted.by_uid != 0;
    filter.uid = wanted.uid;
    if (wanted.reason != NULL) {
        filter.reason.data = (uint8_t *)(uintptr_t)wanted.reason;
        filter.reason.len = strnlen(wanted.reason, GLOB_MAX_BYTES + 1);
    }
    filter.older_than_ms = wanted.older_than_ms;
    filter.larger_than = wanted.larger_than;
    filter.kind = (Kmem__BlockKind)wanted.kind;
    filter.sharing = (Kmem__BlockSharing)wanted.sharing;
    return blocks_rows(query, &filter, each, user);
}

int kmem_query_blocks_where(struct kmem_query *query, const struct kmem_block_filter *filter,
                            kmem_block_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_blocks_where");
    return r < 0 ? r : kmem__query_end(query, blocks_rows_where(query, filter, each, user));
}
