/* SPDX-License-Identifier: MIT */
/*
 * query_history.c - what was live before now
 */
#include <errno.h>
#include <string.h>

#include <kmem/history.h>

#include "client/query_parts.h"
#include "proto/limits.h"

static int point_rows(const Kmem__HistoryReport *report, const Kmem__HistoryPoint *said,
                      kmem_history_fn each, void *user)
{
    struct kmem_history_row row = {
        .number = said->number,
        .ms_ago = said->ms_ago,
        .span_ms = said->span_ms,
        .num_bytes = said->num_bytes,
        .n_blocks = said->n_blocks,
        .peak_bytes = said->peak_bytes,
        .n_looks = said->n_looks,
    };
    int r = each(&row, user);
    for (size_t i = 0; r == 0 && i < said->n_series; i++) {
        row.reason = report->series[said->series[i]];
        row.num_bytes = said->series_bytes[i];
        row.n_blocks = said->series_blocks[i];
        row.peak_bytes = said->series_peak_bytes[i];
        r = each(&row, user);
    }
    return r;
}

/* Whether each figure of a point has its series, and each series its figures. */
static bool point_is_whole(const Kmem__HistoryReport *report, const Kmem__HistoryPoint *said)
{
    bool is_whole = said->n_series_bytes == said->n_series &&
                    said->n_series_blocks == said->n_series &&
                    said->n_series_peak_bytes == said->n_series;
    for (size_t i = 0; i < said->n_series; i++) {
        is_whole = is_whole && said->series[i] < report->n_series;
    }
    return is_whole;
}

static int history_fail(struct kmem_query *query)
{
    int r = kmem__conn_lose(&query->conn, &query->failure, EPROTO,
                            "sent a point of the history that does not fit its series");
    kmem__query_record(query, query->call);
    return r;
}

static int history_page(struct kmem_query *query, const Kmem__HistoryReport *report,
                        kmem_history_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_points; i++) {
        r = point_is_whole(report, report->points[i])
                ? point_rows(report, report->points[i], each, user)
                : history_fail(query);
    }
    return r;
}

KMEM_MUST_USE static int history_rows(struct kmem_query *query,
                                      const struct kmem_history_filter *said, kmem_history_fn each,
                                      void *user)
{
    struct kmem_history_filter wanted;
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__History history = KMEM__HISTORY__INIT;
    const size_t least_bytes =
        offsetof(struct kmem_history_filter, max_age_ms) + sizeof(said->max_age_ms);
    int r =
        kmem__query_filter(query, said, said->struct_bytes, least_bytes, &wanted, sizeof(wanted));
    request.body_case = KMEM__REQUEST__BODY_HISTORY;
    request.history = &history;
    history.step = (Kmem__HistoryStep)wanted.step;
    history.max_age_ms = wanted.max_age_ms;
    if (wanted.reason != NULL) {
        history.reason.data = (uint8_t *)(uintptr_t)wanted.reason;
        history.reason.len = strnlen(wanted.reason, GLOB_MAX_BYTES + 1);
    }
    while (r == 0) {
        r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_HISTORY, &response);
        r = r ? r : history_page(query, response->history, each, user);
        if (r != 0 || !response->history->more) {
            return r;
        }
        if (response->history->next_number <= history.from_number) {
            return kmem__query_fail_to_move_on(query);
        }
        history.from_number = response->history->next_number;
    }
    return r;
}

int kmem_query_history(struct kmem_query *query, const struct kmem_history_filter *filter,
                       kmem_history_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_history");
    return r < 0 ? r : kmem__query_end(query, history_rows(query, filter, each, user));
}
