/* SPDX-License-Identifier: MIT */
/*
 * report_refusals.c - what was refused, to whom and why, oldest first; and how often by cause
 */
#include "daemon/core/report.h"

#include <assert.h>
#include <string.h>

/* More varints than most rows have, and words beside what was counted for it. */
#define REFUSAL_EXTRA_BYTES 96
/* What is written of a count. */
#define COUNT_TEXT_BYTES 64

static char *word(struct reply *reply, const char *text)
{
    return reply_string(reply, text, strlen(text));
}

static Kmem__Refusal *refusal_row(const struct refusal *refusal, uint64_t now_ms,
                                  struct reply *reply)
{
    const struct refusal_facts *facts = refusal_last(refusal);
    Kmem__Refusal *row = reply_take(reply, sizeof(*row));
    kmem__refusal__init(row);
    row->number = state_load(&refusal->number);
    row->asked = word(reply, refusal_asked_word(facts->asked));
    row->why = word(reply, refusal_why_word(facts->why));
    row->pid = refusal->pid;
    row->uid = refusal->uid;
    row->command = word(reply, refusal->command);
    row->reason = reply_string(reply, refusal->reason, refusal->n_reason_bytes);
    row->n_times = state_load(&refusal->n_times);
    row->first_ms_ago = now_ms - refusal->first_ms;
    row->last_ms_ago = now_ms - facts->at_ms;
    row->num_bytes = facts->num_bytes;
    row->free_bytes = facts->free_bytes;
    row->largest_extent_bytes = facts->largest_extent_bytes;
    row->used = facts->used;
    row->limit = facts->limit;
    return row;
}

/* Of all that there ever were: in the first page. */
static void report_counts(const struct refusals *refusals, struct reply *reply)
{
    Kmem__RefusalsReport *report = &reply->body.refusals;
    report->counts = reply_take(reply, sizeof(Kmem__RefusalCount *) * N_ASKED * N_WHY);
    for (uint32_t at = 0; at < N_ASKED * N_WHY; at++) {
        const enum refusal_asked asked = at / N_WHY;
        const enum refusal_why why = at % N_WHY;
        const uint64_t n_times = refusals_count(refusals, asked, why);
        if (n_times == 0) {
            continue;
        }
        static_assert(N_ASKED * N_WHY * (REPLY_ROW_BYTES + COUNT_TEXT_BYTES) <
                          RESPONSE_MAX_BYTES / 2,
                      "all of them fit, and rows beside them");
        const bool fits = reply_row_fits(reply, COUNT_TEXT_BYTES);
        KMEM_ASSERT(fits);
        Kmem__RefusalCount *row = reply_take(reply, sizeof(*row));
        kmem__refusal_count__init(row);
        row->asked = word(reply, refusal_asked_word(asked));
        row->why = word(reply, refusal_why_word(why));
        row->text = word(reply, refusal_why_text(why));
        row->n_times = n_times;
        report->counts[report->n_counts++] = row;
    }
}

void report_refusals(const struct core *core, uint64_t from_number, uint64_t now_ms,
                     struct reply *reply)
{
    const struct refusals *refusals = &core->refusals;
    Kmem__RefusalsReport *report = &reply->body.refusals;
    kmem__refusals_report__init(report);
    report->refusals = reply_take(reply, REFUSALS_KEPT * sizeof(Kmem__Refusal *));
    if (from_number == 0) {
        report_counts(refusals, reply);
    }
    const struct refusal *refusal = refusals_next(refusals, from_number);
    while (refusal && reply_row_fits(reply, refusal->n_reason_bytes + strlen(refusal->command) +
                                                REFUSAL_EXTRA_BYTES)) {
        report->refusals[report->n_refusals++] = refusal_row(refusal, now_ms, reply);
        refusal = refusals_next(refusals, state_load(&refusal->number) + 1);
    }
    report->more = refusal != NULL;
    report->next_number = refusal ? state_load(&refusal->number) : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_REFUSALS;
    reply->response.refusals = report;
}
