/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_query.h"

#include <errno.h>
#include <string.h>

#include "proto/glob.h"
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

static bool selects(const struct kmem_block_filter *filter, const struct kmem_block *block)
{
    uint32_t n_steps;
    const bool detail = filter->reason && strchr(filter->reason, '#');
    const size_t n_bytes = detail ? strlen(block->reason) : strcspn(block->reason, "#");
    return (!filter->by_pid || filter->pid == block->pid) &&
           (!filter->by_uid || filter->uid == block->uid) &&
           (!filter->reason || glob_matches(filter->reason, strlen(filter->reason), block->reason,
                                            n_bytes, &n_steps)) &&
           (filter->older_than_ms == 0 || block->age_ms > filter->older_than_ms) &&
           block->num_bytes > filter->larger_than &&
           (filter->sharing == KMEM_SHARING_ANY ||
            block->shared == (filter->sharing == KMEM_SHARING_SHARED));
}

int kmem_query_blocks_where(struct kmem_query *query, const struct kmem_block_filter *filter,
                            kmem_block_fn each, void *user)
{
    question(query);
    if (query->selects_nothing) {
        return -EPROTONOSUPPORT;
    }
    query->n_selections++;
    for (size_t i = 0; i < query->n_blocks; i++) {
        int r = selects(filter, &query->blocks[i]) ? each(&query->blocks[i], user) : 0;
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_limits(struct kmem_query *query, kmem_limit_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_limits; i++) {
        int r = each(&query->limits[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_reload(struct kmem_query *query, kmem_setting_change_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_setting_changes; i++) {
        int r = each(&query->setting_changes[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_refusals(struct kmem_query *query, kmem_refusal_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_refusals; i++) {
        int r = each(&query->refusals[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_refusal_counts(struct kmem_query *query, kmem_refusal_count_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_refusal_counts; i++) {
        int r = each(&query->refusal_counts[i], user);
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

int kmem_query_lifetimes(struct kmem_query *query, kmem_lifetimes_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_lifetimes; i++) {
        int r = each(&query->lifetimes[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_history(struct kmem_query *query, const struct kmem_history_filter *filter,
                       kmem_history_fn each, void *user)
{
    question(query);
    query->history_filter = *filter;
    if (query->history_error) {
        return query->history_error;
    }
    for (size_t i = 0; i < query->n_history; i++) {
        int r = each(&query->history[i], user);
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

int kmem_query_pages(struct kmem_query *query, uint64_t cell_bytes, kmem_pages_fn each, void *user)
{
    (void)cell_bytes;
    question(query);
    for (size_t i = 0; i < query->n_pages; i++) {
        int r = each(&query->pages[i], user);
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

int kmem_query_at(struct kmem_query *query, uint64_t offset, kmem_byte_fn each, void *user)
{
    question(query);
    for (size_t i = 0; i < query->n_bytes; i++) {
        int r = query->bytes[i].offset == offset ? each(&query->bytes[i], user) : 0;
        if (r != 0) {
            return r;
        }
    }
    return query->error;
}

/* Never waits: with the last change it ends as `error` says. */
int kmem_query_changes(struct kmem_query *query, struct kmem_change_position *position,
                       unsigned wait_ms, kmem_change_fn each, void *user)
{
    (void)wait_ms;
    position->number = position->number == KMEM_CHANGES_FROM_NOW ? 1 : position->number;
    question(query);
    position->n_missed = query->n_missed;
    position->began_anew = query->began_anew;
    for (size_t i = 0; i < query->n_changes; i++) {
        const struct kmem_change *change = &query->changes[i];
        int r = change->number >= position->number ? each(change, user) : 0;
        if (r != 0) {
            return r;
        }
    }
    position->number = query->n_changes + 1;
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
