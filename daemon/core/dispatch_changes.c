/* SPDX-License-Identifier: MIT */
/*
 * dispatch_changes.c - the stream of changes
 *
 * An answer has what there is from a number on, as far as it goes into one response. Where there is
 * nothing, it may wait for the next change, on the list of a bell that no name has: waits.h. It is
 * woken by the first; what comes until it asks again it gets together.
 */
#include "daemon/core/dispatch_changes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/block_iter.h"

/* Varints beside what was counted for it, and words. */
#define CHANGE_EXTRA_BYTES 64

/* ---------------------------------------------------------------------------------- noting -- */

void note_text(const struct call *call, enum change_kind kind, uint64_t offset, uint64_t num_bytes,
               const void *text, size_t n_text_bytes)
{
    const struct change_facts facts = {.kind = kind, .offset = offset, .num_bytes = num_bytes};
    core_note_change(call->core, &call->peer->client->identity, &facts, text, n_text_bytes);
}

void note_block(const struct call *call, enum change_kind kind, const struct block *block)
{
    char reason[REASON_MAX_BYTES];
    const size_t n_reason_bytes = block_reason(call->core, block, reason);
    note_text(call, kind, block->off.bytes, block->num_bytes, reason, n_reason_bytes);
}

void note_refused(const struct call *call, const struct refusal_facts *refused, const void *reason,
                  size_t n_reason_bytes)
{
    const struct change_facts facts = {
        .kind = CHANGE_REFUSED,
        .num_bytes = refused->num_bytes,
        .asked = refused->asked,
        .why = refused->why,
    };
    core_note_change(call->core, &call->peer->identity, &facts, reason, n_reason_bytes);
}

/* --------------------------------------------------------------------------------- telling -- */

static char *word(struct reply *reply, const char *text)
{
    return reply_string(reply, text, strlen(text));
}

static Kmem__Change *change_row(const struct change *change, uint64_t now_ms, struct reply *reply)
{
    const bool is_name = change->kind == CHANGE_PUBLISHED || change->kind == CHANGE_UNPUBLISHED;
    Kmem__Change *row = reply_take(reply, sizeof(*row));
    kmem__change__init(row);
    row->number = change->number;
    row->kind = word(reply, change_word(change->kind));
    row->ms_ago = now_ms > change->at_ms ? now_ms - change->at_ms : 0;
    row->pid = change->pid;
    row->uid = change->uid;
    row->command = word(reply, change->command);
    row->offset = change->offset;
    row->num_bytes = change->num_bytes;
    row->n_blocks = change->n_blocks;
    *(is_name ? &row->name : &row->reason) =
        reply_string(reply, change->text, change->n_text_bytes);
    if (change->kind == CHANGE_REFUSED) {
        char why[64];
        (void)snprintf(why, sizeof(why), "%s %s", refusal_asked_word(change->asked),
                       refusal_why_word(change->why)); /* fits */
        row->why = word(reply, why);
    }
    return row;
}

static int tell(const struct call *call, uint64_t from_number)
{
    struct changes *changes = &call->core->changes;
    struct reply *reply = call->reply;
    Kmem__ChangesReport *report = &reply->body.changes;
    const struct change *change = changes_next(changes, from_number);
    kmem__changes_report__init(report);
    report->changes = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__Change *));
    report->server = changes->server;
    if (change && from_number > 0) {
        report->n_missed = change->number - from_number;
    }
    static_assert(REPLY_ROWS_MAX * (REPLY_ROW_BYTES + CHANGE_EXTRA_BYTES) > RESPONSE_MAX_BYTES,
                  "what fits is less than REPLY_ROWS_MAX");
    while (change && reply_row_fits(reply, change->n_text_bytes + strlen(change->command) +
                                               CHANGE_EXTRA_BYTES)) {
        report->changes[report->n_changes++] = change_row(change, call->now.ms, reply);
        change = changes_next(changes, change->number + 1);
    }
    changes->n_told = changes->n_written;
    report->more = change != NULL;
    report->next_number = change ? change->number : changes->n_written + 1;
    reply->response.body_case = KMEM__RESPONSE__BODY_CHANGES;
    reply->response.changes = report;
    return DISPATCH_OK;
}

/* Something has been done, or the time is up. */
static int tell_or_wait(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    waits_remove(&core->waits, &peer->wait);
    if (changes_next(&core->changes, peer->pending_change) || call->now.ms >= peer->wait.until_ms) {
        return tell(call, peer->pending_change);
    }
    waits_add(&core->waits, &peer->wait, CHANGES_BELL);
    peer->next_step = tell_or_wait;
    return DISPATCH_WAITING;
}

int dispatch_changes(const struct call *call)
{
    const Kmem__Changes *asked = call->request->changes;
    const uint64_t next = call->core->changes.n_written + 1;
    const uint64_t wait_ms =
        asked->wait_ms < CHANGES_WAIT_MAX_MS ? asked->wait_ms : CHANGES_WAIT_MAX_MS;
    if (asked->from_now) {
        return tell(call, next);
    }
    /* A number that this server has not come to is another's: there is nothing before it here. */
    call->peer->pending_change = asked->from_number < next ? asked->from_number : next;
    call->peer->wait.until_ms = call->now.ms + wait_ms;
    return tell_or_wait(call);
}
