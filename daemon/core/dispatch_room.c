/* SPDX-License-Identifier: MIT */
/*
 * dispatch_room.c - Allocate and Lease: what is asked for is placed, or refused with a sentence
 */
#include "daemon/core/dispatch_room.h"

#include "daemon/core/dispatch_changes.h"
#include "daemon/core/no_room.h"
#include "daemon/core/queue.h"
#include "daemon/core/refuse.h"
#include "daemon/core/replay.h"
#include "daemon/core/report.h"
#include "proto/limits.h"
#include "proto/text.h"

/* Whether the client is to open no slab that would be nearly empty. */
static bool is_tight(const struct call *call)
{
    return accounts_is_tight(&call->core->accounts, call->peer->client,
                             call->core->config.quota_bytes);
}

static int answer_allocated(const struct call *call, uint64_t offset, bool known_zero)
{
    struct reply *reply = call->reply;
    kmem__allocated__init(&reply->body.allocated);
    reply->body.allocated.offset = offset;
    reply->body.allocated.known_zero = known_zero;
    reply->body.allocated.direct_only =
        (call->peer->placement.budgets & call->core->budgets.denying) != 0;
    reply->body.allocated.tight = is_tight(call);
    reply->response.body_case = KMEM__RESPONSE__BODY_ALLOCATED;
    reply->response.allocated = &reply->body.allocated;
    return DISPATCH_OK;
}

static int answer_leased(struct reply *reply)
{
    reply->response.body_case = KMEM__RESPONSE__BODY_LEASED;
    reply->response.leased = &reply->body.leased;
    return DISPATCH_OK;
}

/* What the rules forbid. */
static void refuse_by_rule(const struct call *call, enum refusal_why why)
{
    const struct placement_request *request = &call->peer->placement;
    const bool is_block = request->n_pages == 0;
    struct state_counters *counters = call->core->state.counters;
    counters->refusals_quota += is_block && !request->may_again;
    counters->leases_refused += !is_block;
    counters->leases_refused_quota += !is_block;
    if (!is_block || !request->may_again) {
        refuse_note_placement(call, why);
    }
}

static void refuse_over_quota(const struct call *call)
{
    const struct placement_request *request = &call->peer->placement;
    refuse_by_rule(call, request->bar.kind == BAR_USER   ? WHY_QUOTA_OF_USER
                         : request->bar.kind == BAR_UNIT ? WHY_QUOTA_OF_UNIT
                                                         : WHY_QUOTA);
    report_quota(call->core, call->peer->client, &request->bar, request->num_bytes, call->reply);
}

static int answer_placed(const struct call *call, const struct placement *found)
{
    const struct placement_request *request = &call->peer->placement;
    core_note_peak(call->core);
    if (request->n_pages == 0) {
        note_text(call, CHANGE_ALLOCATED, found->off.bytes, request->num_bytes, request->reason,
                  request->n_reason_bytes);
        return answer_allocated(call, found->off.bytes, found->is_zero);
    }
    note_text(call, CHANGE_LEASED, (uint64_t)found->page << PAGE_SHIFT,
              (uint64_t)found->n_pages << PAGE_SHIFT, NULL, 0);
    kmem__leased__init(&call->reply->body.leased);
    call->reply->body.leased.page = found->page;
    call->reply->body.leased.n_pages = found->n_pages;
    call->reply->body.leased.tight = is_tight(call);
    return answer_leased(call->reply);
}

/* Whether it can not be had however long it waits. */
static bool is_hopeless(const struct core *core, const struct client *client,
                        const struct placement_request *request)
{
    const uint64_t room_bytes = (uint64_t)direct_pages_for(request->num_bytes) << PAGE_SHIFT;
    const uint64_t most_bytes = core_segment_bytes(core) - PAGE_BYTES;
    for (uint32_t i = 0; i < core->accounts.rules->n_budgets; i++) {
        if ((request->budgets & core->budgets.denying & UINT32_C(1) << i) != 0 &&
            request->num_bytes > core->accounts.rules->budgets[i].max_bytes) {
            return true;
        }
    }
    return room_bytes > most_bytes ||
           room_bytes > most_bytes - accounts_promised(&core->accounts, client) ||
           (request->bar.kind != BAR_NONE && request->num_bytes > request->bar.limit_bytes);
}

static int answer_busy(const struct call *call, const char *why)
{
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_BUSY, "%s", why);
    return DISPATCH_OK;
}

/* What was placed or can not be: whether a request that waits goes on waiting for it. */
static bool waits_on(const struct call *call, int outcome)
{
    struct core *core = call->core;
    const struct placement_request *request = &call->peer->placement;
    const struct client *client = call->peer->client;
    const bool is_over = outcome == PLACEMENT_E_QUOTA || outcome == PLACEMENT_E_BUDGET;
    if (request->ticket == 0 || outcome == PLACEMENT_E_WAIT) {
        return false;
    }
    if (outcome == PLACEMENT_OK || !request->may_wait || is_hopeless(core, client, request)) {
        queue_leave(core, client, request->ticket);
        return false;
    }
    queue_bar(core, client, request->ticket, is_over);
    return true;
}

/* The block or the lease that the peer asks for, or that it waits for. */
static int place(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    struct placement found;
    if (accounts_may_have(&core->accounts, peer->client, core->config.quota_bytes,
                          peer->placement.num_bytes) &&
        shortage_is_due(&core->shortage)) {
        shortage_look(&core->shortage); /* and not behind it: it takes back what is unused */
    }
    const int outcome = placement_find(core, peer->client, &peer->placement, call->now, &found);
    if (waits_on(call, outcome)) {
        return answer_busy(call, "there is no room for it yet");
    }
    switch (outcome) {
    case PLACEMENT_OK:
        return answer_placed(call, &found);
    case PLACEMENT_E_WAIT:
        peer->next_step = place;
        return DISPATCH_PENDING;
    case PLACEMENT_E_QUOTA:
        refuse_over_quota(call);
        return DISPATCH_OK;
    case PLACEMENT_E_BUDGET:
        refuse_by_rule(call, WHY_BUDGET);
        report_budget(core, peer->placement.budget, peer->placement.num_bytes, call->reply);
        return DISPATCH_OK;
    case PLACEMENT_E_RESERVED:
        refuse_by_rule(call, WHY_RESERVED);
        report_reserved(core, peer->client, peer->placement.num_bytes, call->reply);
        return DISPATCH_OK;
    case PLACEMENT_E_STALE:
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "a thread of this process has not noticed yet that idle memory was taken from "
                    "it; direct blocks can be had");
        return DISPATCH_OK;
    default:
        no_room_refuse(call);
        return DISPATCH_OK;
    }
}

int dispatch_allocate(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    struct reply *reply = call->reply;
    const Kmem__Allocate *allocate = call->request->allocate;
    const ProtobufCBinaryData reason = allocate->reason;
    const uint64_t num_bytes = allocate->num_bytes;
    struct state_counters *counters = core->state.counters;
    if (num_bytes == 0 || num_bytes > core_segment_bytes(core)) {
        counters->refusals_invalid += num_bytes == 0;
        counters->refusals_too_large += num_bytes > 0;
        refuse_note_request(call, ASKED_BLOCK, num_bytes > 0 ? WHY_TOO_LARGE : WHY_INVALID,
                            num_bytes);
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%llu bytes can not be allocated from a segment of %llu%s",
                    (unsigned long long)num_bytes, (unsigned long long)core_segment_bytes(core),
                    num_bytes && num_bytes < core_most_bytes(core) ? "; see kmemctl resize" : "");
        return DISPATCH_OK;
    }
    if (reason.len > REASON_MAX_BYTES || !text_is_utf8(reason.data, reason.len)) {
        counters->refusals_invalid++;
        refuse_note_request(call, ASKED_BLOCK, WHY_INVALID, num_bytes);
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "the reason must be UTF-8 without NUL, at most %d bytes", REASON_MAX_BYTES);
        return DISPATCH_OK;
    }
    placement_init_block(&peer->placement, num_bytes, reason.data, reason.len);
    peer->placement.budgets =
        rules_budgets_of(core->accounts.rules, peer->placement.reason, reason.len);
    struct seg_off off;
    if (replay_allocated(call, num_bytes, &off)) {
        return answer_allocated(call, off.bytes, false); /* it may have been written to */
    }
    peer->placement.may_again = allocate->may_again;
    peer->placement.shareable = allocate->shareable;
    peer->placement.sequence = call->request->sequence;
    peer->placement.ticket = allocate->ticket;
    peer->placement.may_wait = allocate->wait_ms > 0;
    if (allocate->ticket != 0) {
        const int r = queue_ask(core, peer->client, allocate->ticket, num_bytes,
                                peer->placement.budgets, call->now.ms);
        if (r == QUEUE_E_BEHIND && peer->placement.may_wait) {
            return answer_busy(call, "others have waited for longer");
        }
        if (r == QUEUE_E_FULL) {
            peer->placement.ticket = 0; /* it does not wait: as many do as can */
        } else if (r != 0) {
            queue_leave(core, peer->client, allocate->ticket);
            no_room_refuse(call);
            return DISPATCH_OK;
        }
    }
    return place(call);
}

int dispatch_lease(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    const Kmem__Lease *lease = call->request->lease;
    const uint32_t n_pages = lease->n_pages;
    uint32_t want_pages = lease->want_pages > n_pages ? lease->want_pages : n_pages;
    if (n_pages == 0 || n_pages > core->pages.n_pages || n_pages > LEASE_MAX_PAGES) {
        refuse_note_request(call, ASKED_LEASE, n_pages == 0 ? WHY_INVALID : WHY_TOO_LARGE,
                            (uint64_t)n_pages << PAGE_SHIFT);
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%u pages can not be leased from a segment of %u; at most %d at a time",
                    n_pages, core->pages.n_pages, LEASE_MAX_PAGES);
        return DISPATCH_OK;
    }
    want_pages = want_pages < LEASE_MAX_PAGES ? want_pages : LEASE_MAX_PAGES;
    kmem__leased__init(&call->reply->body.leased);
    if (replay_leased(call, &call->reply->body.leased)) {
        return answer_leased(call->reply);
    }
    placement_init_lease(&peer->placement, n_pages, want_pages);
    peer->placement.sequence = call->request->sequence;
    return place(call);
}
