/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_query.h"

#include <string.h>

#include "proto/text.h"

static void question(struct kmem_query *query)
{
    query->n_questions++;
    if (query->before_answer) {
        query->before_answer(query);
    }
}

int kmem_query_usage(struct kmem_query *query, kmem_statistic_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_statistics; i++) {
        int r = each(&query->daemon, &query->statistics[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_ledger(struct kmem_query *query, enum kmem_group_by by, kmem_ledger_fn each,
                      void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_ledgers[by]; i++) {
        int r = each(&query->ledgers[by][i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_blocks(struct kmem_query *query, kmem_block_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_blocks; i++) {
        int r = each(&query->blocks[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_clients(struct kmem_query *query, kmem_client_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_clients; i++) {
        int r = each(&query->clients[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_obituaries(struct kmem_query *query, kmem_obituary_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_obituaries; i++) {
        int r = each(&query->obituaries[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_holders(struct kmem_query *query, uint64_t offset, kmem_holder_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_holders; i++) {
        const struct kmem_holder *holder = &query->holders[i];
        int r = offset == 0 || holder->offset == offset ? each(holder, user) : 0;
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_names(struct kmem_query *query, kmem_name_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_names; i++) {
        int r = each(&query->names[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

/* The real ones are these two as well. */
char *kmem_query_escape(const char *text, char *buffer, size_t buffer_bytes)
{
    return text_escape(text, strlen(text), buffer, buffer_bytes);
}

char *kmem_query_format_bytes(uint64_t num_bytes, char *buffer, size_t buffer_bytes)
{
    return text_format_bytes(num_bytes, buffer, buffer_bytes);
}
