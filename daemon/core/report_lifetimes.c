/* SPDX-License-Identifier: MIT */
/*
 * report_lifetimes.c - live blocks by age and released ones by lifetime, reason by reason
 */
#include "daemon/core/report.h"

#include <string.h>

#include "daemon/core/tick.h"

/* Three arrays of varints, of at most 10 bytes each. */
#define ARRAYS_BYTES ((size_t)3 * (LIFETIME_RANGES * 10 + 3))

static uint64_t *array_dup(struct reply *reply, const uint64_t *array)
{
    uint64_t *copy = reply_take(reply, LIFETIME_RANGES * sizeof(*copy));
    memcpy(copy, array, LIFETIME_RANGES * sizeof(*copy));
    return copy;
}

static Kmem__LifetimesRow *lifetimes_row(const struct core *core, const struct rollup_group *group,
                                         uint32_t now, struct reply *reply)
{
    const size_t n_bytes = strlen(group->key);
    const struct lifetimes_kept *kept = lifetimes_find(&core->lifetimes, group->key, n_bytes);
    Kmem__LifetimesRow *row = reply_take(reply, sizeof(*row));
    kmem__lifetimes_row__init(row);
    row->reason = reply_string(reply, group->key, n_bytes);
    row->n_blocks = group->n_blocks;
    row->num_bytes = group->num_bytes;
    row->oldest_ms = tick_age_ms(group->oldest, now);
    row->n_blocks_by_age = row->n_bytes_by_age = row->n_released_by_age = LIFETIME_RANGES;
    row->blocks_by_age = array_dup(reply, group->ages->n_blocks);
    row->bytes_by_age = array_dup(reply, group->ages->num_bytes);
    row->released_by_age = array_dup(reply, group->ages->n_released);
    for (uint32_t range = 0; kept && range < LIFETIME_RANGES; range++) {
        row->released_by_age[range] += kept->n[range];
    }
    return row;
}

void report_lifetimes(const struct core *core, const struct scan *scan, uint32_t first_row,
                      uint64_t now_ms, struct reply *reply)
{
    const size_t n_groups = rollup_n_groups(scan->rollup);
    const uint32_t now = core_tick(core, now_ms);
    Kmem__LifetimesReport *report = &reply->body.lifetimes;
    kmem__lifetimes_report__init(report);
    report->rows = reply_take(reply, REPLY_ROWS_MAX * sizeof(*report->rows));
    size_t index = first_row;
    for (; index < n_groups; index++) {
        const struct rollup_group *group = rollup_group(scan->rollup, index);
        if (!reply_row_fits(reply, strlen(group->key) + ARRAYS_BYTES)) {
            break;
        }
        report->rows[report->n_rows++] = lifetimes_row(core, group, now, reply);
    }
    report->more = index < n_groups;
    reply->response.body_case = KMEM__RESPONSE__BODY_LIFETIMES;
    reply->response.lifetimes = report;
}
