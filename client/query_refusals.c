/* SPDX-License-Identifier: MIT */
/*
 * query_refusals.c - what was refused, and how often
 */
#include "client/query_parts.h"

static int refusals_page(const Kmem__RefusalsReport *report, kmem_refusal_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_refusals; i++) {
        const Kmem__Refusal *said = report->refusals[i];
        const struct kmem_refusal refusal = {
            .number = said->number,
            .asked = said->asked,
            .why = said->why,
            .pid = said->pid,
            .uid = said->uid,
            .command = said->command,
            .reason = said->reason,
            .n_times = said->n_times,
            .first_ms_ago = said->first_ms_ago,
            .last_ms_ago = said->last_ms_ago,
            .num_bytes = said->num_bytes,
            .free_bytes = said->free_bytes,
            .largest_extent_bytes = said->largest_extent_bytes,
            .used = said->used,
            .limit = said->limit,
        };
        r = each(&refusal, user);
    }
    return r;
}

KMEM_MUST_USE static int refusals_ask(struct kmem_query *query, uint64_t from_number,
                                      const Kmem__RefusalsReport **ret_report)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Refusals refusals = KMEM__REFUSALS__INIT;
    request.body_case = KMEM__REQUEST__BODY_REFUSALS;
    request.refusals = &refusals;
    refusals.from_number = from_number;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_REFUSALS, &response);
    *ret_report = r == 0 ? response->refusals : NULL;
    return r;
}

KMEM_MUST_USE static int refusals_rows(struct kmem_query *query, kmem_refusal_fn each, void *user)
{
    const Kmem__RefusalsReport *report;
    uint64_t from_number = 0;
    for (;;) {
        int r = refusals_ask(query, from_number, &report);
        r = r ? r : refusals_page(report, each, user);
        if (r != 0 || !report->more) {
            return r;
        }
        if (report->next_number <= from_number) {
            return kmem__query_fail_to_move_on(query);
        }
        from_number = report->next_number;
    }
}

int kmem_query_refusals(struct kmem_query *query, kmem_refusal_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_refusals");
    return r < 0 ? r : kmem__query_end(query, refusals_rows(query, each, user));
}

KMEM_MUST_USE static int count_rows(struct kmem_query *query, kmem_refusal_count_fn each,
                                    void *user)
{
    const Kmem__RefusalsReport *report;
    int r = refusals_ask(query, 0, &report);
    for (size_t i = 0; r == 0 && i < report->n_counts; i++) {
        const struct kmem_refusal_count count = {
            .asked = report->counts[i]->asked,
            .why = report->counts[i]->why,
            .text = report->counts[i]->text,
            .n_times = report->counts[i]->n_times,
        };
        r = each(&count, user);
    }
    return r;
}

int kmem_query_refusal_counts(struct kmem_query *query, kmem_refusal_count_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_refusal_counts");
    return r < 0 ? r : kmem__query_end(query, count_rows(query, each, user));
}
