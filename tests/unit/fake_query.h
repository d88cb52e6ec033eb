/* SPDX-License-Identifier: MIT */
/*
 * fake_query.h - <kmem/query.h> without a daemon
 *
 * Answers from arrays that the test fills in. Rows come in the order of the arrays; a callback that
 * returns non-zero ends the call, as the real one documents. With `error` set, every question fails
 * after the rows that there are.
 */
#ifndef TESTS_UNIT_FAKE_QUERY_H
#define TESTS_UNIT_FAKE_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include <kmem/observe.h>
#include <kmem/history.h>
#include <kmem/query.h>

struct kmem_query {
    struct kmem_daemon daemon;
    const struct kmem_statistic *statistics;
    size_t n_statistics;
    const struct kmem_ledger_row *ledgers[6]; /* by enum kmem_group_by */
    size_t n_ledgers[6];
    const struct kmem_block *blocks;
    size_t n_blocks;
    bool selects_nothing;  /* an older daemon: kmem_query_blocks_where() is -EPROTONOSUPPORT */
    unsigned n_selections; /* how often kmem_query_blocks_where() has answered */
    const struct kmem_client *clients;
    size_t n_clients;
    const struct kmem_obituary *obituaries;
    size_t n_obituaries;
    const struct kmem_holder *holders;
    size_t n_holders;
    const struct kmem_name *names;
    size_t n_names;
    const struct kmem_limit *limits;
    size_t n_limits;
    const struct kmem_setting_change *setting_changes;
    size_t n_setting_changes;
    const struct kmem_refusal *refusals;
    size_t n_refusals;
    const struct kmem_refusal_count *refusal_counts;
    size_t n_refusal_counts;
    const struct kmem_pages *pages; /* the same for all sizes of cells */
    size_t n_pages;
    const struct kmem_byte *bytes; /* that of the offset, or none */
    size_t n_bytes;
    const struct kmem_change *changes; /* numbered from 1 */
    size_t n_changes;
    uint64_t n_missed; /* before these, as each answer says; so is this: */
    int began_anew;
    const struct kmem_history_row *history;
    size_t n_history;
    int history_error; /* an older daemon ends the connection; 0: it does not */
    const struct kmem_lifetimes *lifetimes;
    size_t n_lifetimes;
    struct kmem_history_filter history_filter; /* what was asked for last */
    int error;            /* what each question ends with; 0 or a negative errno */
    unsigned n_questions; /* how many have been asked */
    /* Called before each question is answered; may change all of the above. NULL: nothing moves. */
    void (*before_answer)(struct kmem_query *query);
};

#endif
