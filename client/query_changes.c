/* SPDX-License-Identifier: MIT */
/*
 * query_changes.c - what the daemon does
 *
 * The numbers of one server mean nothing to the next. So an answer of another server than the
 * position knows is thrown away, and that server is asked from its beginning.
 */
#include <string.h>

#include <kmem/observe.h>

#include "client/query_parts.h"
#include "proto/limits.h"

static int changes_page(const Kmem__ChangesReport *report, struct kmem_change_position *position,
                        kmem_change_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_changes; i++) {
        const Kmem__Change *said = report->changes[i];
        const struct kmem_change change = {
            .number = said->number,
            .kind = said->kind,
            .ms_ago = said->ms_ago,
            .pid = said->pid,
            .uid = said->uid,
            .command = said->command,
            .offset = said->offset,
            .num_bytes = said->num_bytes,
            .n_blocks = said->n_blocks,
            .reason = said->reason,
            .name = said->name,
            .why = said->why,
        };
        position->number = said->number + 1;
        r = each(&change, user);
    }
    return r;
}

KMEM_MUST_USE static int changes_ask(struct kmem_query *query,
                                     const struct kmem_change_position *position, unsigned wait_ms,
                                     const Kmem__ChangesReport **ret_report)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Changes changes = KMEM__CHANGES__INIT;
    const unsigned most_ms = (unsigned)query->conn.timeout_ms / 2;
    request.body_case = KMEM__REQUEST__BODY_CHANGES;
    request.changes = &changes;
    changes.from_now = position->number == KMEM_CHANGES_FROM_NOW;
    changes.from_number = changes.from_now ? 0 : position->number;
    changes.wait_ms = wait_ms < most_ms ? wait_ms : most_ms;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_CHANGES, &response);
    *ret_report = r == 0 ? response->changes : NULL;
    return r;
}

KMEM_MUST_USE static int changes_rows(struct kmem_query *query,
                                      struct kmem_change_position *position, unsigned wait_ms,
                                      kmem_change_fn each, void *user)
{
    const Kmem__ChangesReport *report;
    int r = changes_ask(query, position, wait_ms, &report);
    const bool is_another = r == 0 && position->server != 0 && position->server != report->server;
    if (is_another) {
        position->number = 0;
        r = changes_ask(query, position, 0, &report);
    }
    if (r != 0) {
        return r;
    }
    if (report->more && (report->n_changes == 0 || report->next_number <= position->number)) {
        return kmem__query_fail_to_move_on(query);
    }
    position->server = report->server;
    position->began_anew = is_another;
    position->n_missed = report->n_missed;
    position->more = report->more;
    const uint64_t next = report->next_number;
    r = changes_page(report, position, each, user);
    if (r == 0) {
        position->number = next;
    }
    return r;
}

int kmem_query_changes(struct kmem_query *query, struct kmem_change_position *position,
                       unsigned wait_ms, kmem_change_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_changes");
    return r < 0 ? r : kmem__query_end(query, changes_rows(query, position, wait_ms, each, user));
}
