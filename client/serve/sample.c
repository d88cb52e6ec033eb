/* SPDX-License-Identifier: MIT */
#include "client/serve/sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/utf8.h"

/* Some fifteen rows once a second: growing one by one costs nothing that matters. */
static void *grown(void *rows, size_t n_rows, size_t row_bytes)
{
    return reallocarray(rows, n_rows + 1, row_bytes);
}

static int add_limit(const struct kmem_limit *limit, void *user)
{
    struct sample *sample = user;
    struct sample_limit *limits = grown(sample->limits, sample->n_limits, sizeof(*limits));
    if (!limits) {
        return -ENOMEM;
    }
    sample->limits = limits;
    struct sample_limit *last = &limits[sample->n_limits++];
    *last = (struct sample_limit){
        .name = strdup(limit->name),
        .unit = strdup(limit->unit),
        .text = strdup(limit->text),
        .used = limit->used,
        .limit = limit->limit,
    };
    return last->name && last->unit && last->text ? 0 : -ENOMEM;
}

static int add_refusals(const struct kmem_refusal_count *count, void *user)
{
    struct sample *sample = user;
    struct sample_refusals *rows = grown(sample->refusals, sample->n_refusals, sizeof(*rows));
    if (!rows) {
        return -ENOMEM;
    }
    sample->refusals = rows;
    struct sample_refusals *last = &rows[sample->n_refusals++];
    *last = (struct sample_refusals){
        .asked = strdup(count->asked), .why = strdup(count->why), .n_times = count->n_times};
    return last->asked && last->why ? 0 : -ENOMEM;
}

static int add_reason(const struct kmem_ledger_row *row, void *user)
{
    char *key = utf8_dup_valid(row->key);
    const struct kmem_ledger_row valid = {
        .key = key,
        .n_blocks = row->n_blocks,
        .num_bytes = row->num_bytes,
        .oldest_ms = row->oldest_ms,
    };
    const int r = key ? groups_add(&valid, user) : -ENOMEM;
    free(key);
    return r;
}

/* Two reasons that differ in what is no UTF-8 only are one before they are counted. */
static int keep_largest(struct groups *reasons, size_t n_kept)
{
    groups_join(reasons);
    for (size_t i = n_kept; i < reasons->n_groups; i++) {
        char *other = strdup(SAMPLE_OTHER);
        if (!other) {
            return -ENOMEM;
        }
        free(reasons->groups[i].key);
        reasons->groups[i].key = other;
    }
    groups_join(reasons);
    return 0;
}

/* An older daemon does not know the question. */
static int unless_unknown(int r)
{
    return r == -EPROTONOSUPPORT ? 0 : r;
}

int sample_init(struct sample *sample, struct kmem_query *query, size_t n_reasons)
{
    *sample = (struct sample){.n_limits = 0};
    int r = figures_init(&sample->figures, query);
    if (r == 0) {
        r = unless_unknown(kmem_query_limits(query, add_limit, sample));
    }
    if (r == 0) {
        r = unless_unknown(kmem_query_refusal_counts(query, add_refusals, sample));
    }
    if (r == 0) {
        r = kmem_query_ledger(query, KMEM_BY_REASON, add_reason, &sample->reasons);
    }
    return r ? r : keep_largest(&sample->reasons, n_reasons);
}

void sample_fini(struct sample *sample)
{
    for (size_t i = 0; i < sample->n_limits; i++) {
        free(sample->limits[i].name);
        free(sample->limits[i].unit);
        free(sample->limits[i].text);
    }
    for (size_t i = 0; i < sample->n_refusals; i++) {
        free(sample->refusals[i].asked);
        free(sample->refusals[i].why);
    }
    free(sample->limits);
    free(sample->refusals);
    groups_fini(&sample->reasons);
    figures_fini(&sample->figures);
    *sample = (struct sample){.n_limits = 0};
}
