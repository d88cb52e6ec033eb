/* SPDX-License-Identifier: MIT */
/*
 * report_history.c - points of the history, oldest first, with the series that were asked for
 *
 * A series that had its place later than a point has no figures there: they are in the row of all
 * reasons that have none, which is what the others leave of the sum.
 */
#include "daemon/core/report.h"

#include <assert.h>
#include <string.h>

#include "proto/glob.h"

/* The rest, behind all that have a place. */
#define REST HISTORY_SERIES
/* An index, and three varints of at most 40 bits. */
#define FIGURE_BYTES_ON_WIRE 19

/* Which series are asked for, and their indices in the report. */
struct wanted {
    uint32_t n;
    uint32_t places[HISTORY_SERIES + 1];
};

static bool is_wanted(const Kmem__History *asked, const char *reason, size_t n_bytes)
{
    uint32_t n_steps;
    return glob_matches((const char *)asked->reason.data, asked->reason.len, reason, n_bytes,
                        &n_steps);
}

static void want(struct wanted *wanted, uint32_t place, const char *reason, size_t n_bytes,
                 struct reply *reply)
{
    Kmem__HistoryReport *report = &reply->body.history;
    static_assert((HISTORY_SERIES + 1) * (REPLY_ROW_BYTES + REASON_MAX_BYTES) <
                      RESPONSE_MAX_BYTES - REPLY_ROW_BYTES,
                  "all of them fit");
    const bool fits = reply_row_fits(reply, n_bytes);
    KMEM_ASSERT(fits);
    report->series[report->n_series++] = reply_string(reply, reason, n_bytes);
    wanted->places[wanted->n++] = place;
}

static void wanted_init(struct wanted *wanted, const struct history *history,
                        const Kmem__History *asked, struct reply *reply)
{
    *wanted = (struct wanted){.n = 0};
    if (asked->reason.len == 0) {
        return;
    }
    reply->body.history.series = reply_take(reply, (HISTORY_SERIES + 1) * sizeof(char *));
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        const struct state_series *series = &history->series[place];
        if (series_since(series) != 0 && is_wanted(asked, series->text, series->n_bytes)) {
            want(wanted, place, series->text, series->n_bytes, reply);
        }
    }
    if (is_wanted(asked, OTHER_REASONS, strlen(OTHER_REASONS))) {
        want(wanted, REST, OTHER_REASONS, strlen(OTHER_REASONS), reply);
    }
}

static void row_add(Kmem__HistoryPoint *row, uint32_t index, uint64_t num_bytes, uint64_t n_blocks,
                    uint64_t peak_bytes)
{
    row->series[row->n_series++] = index;
    row->series_bytes[row->n_series_bytes++] = num_bytes;
    row->series_blocks[row->n_series_blocks++] = n_blocks;
    row->series_peak_bytes[row->n_series_peak_bytes++] = peak_bytes;
}

static uint64_t less(uint64_t number, uint64_t by)
{
    return number > by ? number - by : 0;
}

/* What the series leave of the sum. Its peak is not known, but that it was as much. */
static void row_add_rest(Kmem__HistoryPoint *row, uint32_t index, const struct history *history,
                         const struct state_point *point)
{
    uint64_t num_bytes = point->num_bytes;
    uint64_t n_blocks = point->n_blocks;
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        if (history_has(history, point, place)) {
            num_bytes = less(num_bytes, FIGURE_BYTES(point->last[place]));
            n_blocks = less(n_blocks, FIGURE_BLOCKS(point->last[place]));
        }
    }
    row_add(row, index, num_bytes, n_blocks, num_bytes);
}

static void row_add_series(Kmem__HistoryPoint *row, const struct wanted *wanted,
                           const struct history *history, const struct state_point *point,
                           struct reply *reply)
{
    row->series = reply_take(reply, wanted->n * sizeof(*row->series));
    row->series_bytes = reply_take(reply, wanted->n * sizeof(uint64_t));
    row->series_blocks = reply_take(reply, wanted->n * sizeof(uint64_t));
    row->series_peak_bytes = reply_take(reply, wanted->n * sizeof(uint64_t));
    for (uint32_t i = 0; i < wanted->n; i++) {
        const uint32_t place = wanted->places[i];
        if (place == REST) {
            row_add_rest(row, i, history, point);
        } else if (history_has(history, point, place)) {
            row_add(row, i, FIGURE_BYTES(point->last[place]), FIGURE_BLOCKS(point->last[place]),
                    FIGURE_BYTES(point->most[place]));
        }
    }
}

static Kmem__HistoryPoint *point_row(const struct wanted *wanted, const struct history *history,
                                     const struct state_point *point, uint64_t now_ms,
                                     struct reply *reply)
{
    Kmem__HistoryPoint *row = reply_take(reply, sizeof(*row));
    kmem__history_point__init(row);
    row->number = state_load(&point->number);
    row->ms_ago = less(now_ms, point->at_ms);
    row->span_ms = point->span_ms;
    row->n_looks = point->n_looks;
    row->num_bytes = point->num_bytes;
    row->n_blocks = point->n_blocks;
    row->peak_bytes = point->peak_bytes;
    if (wanted->n > 0) {
        row_add_series(row, wanted, history, point, reply);
    }
    return row;
}

static bool is_young_enough(const struct state_point *point, uint64_t max_age_ms, uint64_t now_ms)
{
    return max_age_ms == 0 || less(now_ms, point->at_ms) <= max_age_ms;
}

void report_history(const struct core *core, const Kmem__History *asked, uint64_t now_ms,
                    struct reply *reply)
{
    const struct history *history = &core->history;
    const bool by_minute = asked->step == KMEM__HISTORY_STEP__STEP_MINUTE;
    const struct history_ring *ring = by_minute ? &history->minutes : &history->seconds;
    Kmem__HistoryReport *report = &reply->body.history;
    struct state_point open;
    struct wanted wanted;
    kmem__history_report__init(report);
    wanted_init(&wanted, history, asked, reply);
    report->points = reply_take(reply, REPLY_ROWS_MAX * sizeof(*report->points));
    /* The last of minutes is the one that is not over yet. */
    const struct state_point *last =
        by_minute && history_open_minute(history, &open) ? &open : NULL;
    const struct state_point *point = history_next(ring, asked->from_number);
    point = point || (last && state_load(&last->number) < asked->from_number) ? point : last;
    while (point) {
        const struct state_point *next = history_next(ring, state_load(&point->number) + 1);
        if (is_young_enough(point, asked->max_age_ms, now_ms)) {
            if (report->n_points == REPLY_ROWS_MAX ||
                !reply_row_fits(reply, (size_t)wanted.n * FIGURE_BYTES_ON_WIRE)) {
                break;
            }
            report->points[report->n_points++] = point_row(&wanted, history, point, now_ms, reply);
        }
        point = next || point == last ? next : last;
    }
    report->more = point != NULL;
    report->next_number = point ? state_load(&point->number) : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_HISTORY;
    reply->response.history = report;
}
