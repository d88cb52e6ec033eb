/* SPDX-License-Identifier: MIT */
/*
 * dispatch.c - one function a request
 *
 * A peer goes one way: UNKNOWN -> OBSERVER, READER or MEMBER, and from the last two to LEAVING.
 * Hello decides, once.
 * A request that does not fit the role is refused and, like bytes that are no request at all, ends
 * the connection: whoever sends it does not speak this protocol, and what follows can not be
 * trusted to begin where it seems to.
 *
 * Numbers and strings in requests are a stranger's. Each is compared with its limit here, before
 * the core sees it; the core asserts the same again.
 */
#include "daemon/core/dispatch.h"

#include "daemon/core/dispatch_blocks.h"
#include "daemon/core/dispatch_changes.h"
#include "daemon/core/dispatch_share.h"
#include "daemon/core/handshake.h"
#include "daemon/core/no_room.h"
#include "daemon/core/refuse.h"
#include "daemon/core/scan.h"
#include "daemon/core/replay.h"
#include "daemon/core/report.h"
#include "daemon/core/report_pages.h"
#include "daemon/core/report_shares.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/text.h"

/* ----------------------------------------------------------------------------------- goodbye -- */

static int farewell(const struct call *call)
{
    struct peer *peer = call->peer;
    struct reply *reply = call->reply;
    const struct client *client = peer->client;
    if (client->client_state != CLIENT_UNUSED && client->generation == peer->generation) {
        peer->next_step = farewell; /* until reap() has taken all of it back */
        return DISPATCH_PENDING;
    }
    peer->client = NULL;
    kmem__farewell__init(&reply->body.farewell);
    reply->response.body_case = KMEM__RESPONSE__BODY_FAREWELL;
    reply->response.farewell = &reply->body.farewell;
    return DISPATCH_CLOSE;
}

static int on_goodbye(const struct call *call)
{
    core_end(call->core, call->peer->client, true, call->now.ms);
    KMEM_CRASH_POINT("server.goodbye");
    call->peer->role = PEER_LEAVING;
    return farewell(call);
}

/* ------------------------------------------------------------------------ blocks and leases -- */

static int answer_allocated(const struct call *call, uint64_t offset, bool known_zero)
{
    struct reply *reply = call->reply;
    kmem__allocated__init(&reply->body.allocated);
    reply->body.allocated.offset = offset;
    reply->body.allocated.known_zero = known_zero;
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

static void refuse_over_quota(const struct call *call)
{
    const struct placement_request *request = &call->peer->placement;
    const bool is_block = request->n_pages == 0;
    struct state_counters *counters = call->core->state.counters;
    counters->refusals_quota += is_block && !request->may_again;
    counters->leases_refused += !is_block;
    counters->leases_refused_quota += !is_block;
    if (!is_block || !request->may_again) {
        refuse_note_placement(call, WHY_QUOTA);
    }
    report_quota(call->core, call->peer->client, request->num_bytes, call->reply);
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
    return answer_leased(call->reply);
}

/* The block or the lease that the peer asks for, or that it waits for. */
static int place(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    struct placement found;
    if (client_may_have(peer->client, core->config.quota_bytes, peer->placement.num_bytes) &&
        shortage_is_due(&core->shortage)) {
        shortage_look(&core->shortage); /* and not behind it: it takes back what is unused */
    }
    switch (placement_find(core, peer->client, &peer->placement, call->now, &found)) {
    case PLACEMENT_OK:
        return answer_placed(call, &found);
    case PLACEMENT_E_WAIT:
        peer->next_step = place;
        return DISPATCH_PENDING;
    case PLACEMENT_E_QUOTA:
        refuse_over_quota(call);
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

static int on_allocate(const struct call *call)
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
                    "%llu bytes can not be allocated from a segment of %llu",
                    (unsigned long long)num_bytes, (unsigned long long)core_segment_bytes(core));
        return DISPATCH_OK;
    }
    if (reason.len > REASON_MAX_BYTES || !text_is_utf8(reason.data, reason.len)) {
        counters->refusals_invalid++;
        refuse_note_request(call, ASKED_BLOCK, WHY_INVALID, num_bytes);
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "the reason must be UTF-8 without NUL, at most %d bytes", REASON_MAX_BYTES);
        return DISPATCH_OK;
    }
    struct seg_off off;
    if (replay_allocated(call, num_bytes, &off)) {
        return answer_allocated(call, off.bytes, false); /* it may have been written to */
    }
    placement_init_block(&peer->placement, num_bytes, reason.data, reason.len);
    peer->placement.may_again = allocate->may_again;
    peer->placement.shareable = allocate->shareable;
    peer->placement.sequence = call->request->sequence;
    return place(call);
}

static int on_lease(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    const Kmem__Lease *lease = call->request->lease;
    const uint32_t n_pages = lease->n_pages;
    uint32_t want_pages = lease->want_pages > n_pages ? lease->want_pages : n_pages;
    if (n_pages == 0 || n_pages > core->state.n_pages || n_pages > LEASE_MAX_PAGES) {
        refuse_note_request(call, ASKED_LEASE, n_pages == 0 ? WHY_INVALID : WHY_TOO_LARGE,
                            (uint64_t)n_pages << PAGE_SHIFT);
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%u pages can not be leased from a segment of %u; at most %d at a time",
                    n_pages, core->state.n_pages, LEASE_MAX_PAGES);
        return DISPATCH_OK;
    }
    want_pages = want_pages < LEASE_MAX_PAGES ? want_pages : LEASE_MAX_PAGES;
    kmem__leased__init(&call->reply->body.leased);
    if (replay_leased(call, &call->reply->body.leased)) {
        return answer_leased(call->reply);
    }
    if (!client_may_have(peer->client, core->config.quota_bytes,
                         (uint64_t)want_pages << PAGE_SHIFT)) {
        want_pages = n_pages;
    }
    placement_init_lease(&peer->placement, n_pages, want_pages);
    peer->placement.sequence = call->request->sequence;
    return place(call);
}

/* ----------------------------------------------------------------------------------- queries -- */

static int report_step(const struct call *call)
{
    switch (scan_poll(call->core, &call->peer->reader, call->now.us)) {
    case SCAN_PENDING:
        call->peer->next_step = report_step;
        return DISPATCH_PENDING;
    case SCAN_READY:
        return call->peer->report(call);
    default:
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "there is no memory for a roll-up; try again");
        return DISPATCH_OK;
    }
}

/* Asks for a look at all blocks; the report is made when it is complete. */
static int report_begin(const struct call *call, enum scan_kind kind, call_fn report)
{
    call->peer->report = report;
    scan_ask(call->core, &call->peer->reader, kind);
    return report_step(call);
}

static int tell_usage(const struct call *call)
{
    report_usage(call->core, call->peer->reader.scan, call->now.ms, call->reply);
    scans_leave(&call->core->scans, &call->peer->reader);
    return DISPATCH_OK;
}

static int on_usage(const struct call *call)
{
    return report_begin(call, SCAN_LEASED, tell_usage);
}

static int tell_clients(const struct call *call)
{
    struct peer *peer = call->peer;
    report_clients(call->core, peer->reader.scan, peer->pending_slot, call->now.ms, call->reply);
    scans_leave(&call->core->scans, &peer->reader);
    return DISPATCH_OK;
}

static int on_clients(const struct call *call)
{
    call->peer->pending_slot = call->request->clients->from_slot;
    return report_begin(call, SCAN_LEASED, tell_clients);
}

/* From the roll-up that is kept, which is forgotten with its last row. */
static int tell_ledger_from(const struct call *call, uint32_t first_row)
{
    struct scan_reader *reader = &call->peer->reader;
    report_ledger(call->core, reader->scan, first_row, call->now.ms, call->reply);
    if (call->reply->body.ledger.more) {
        scan_keep(call->core, reader, call->now.us);
    } else {
        scans_leave(&call->core->scans, reader);
    }
    return DISPATCH_OK;
}

static int tell_ledger(const struct call *call)
{
    return tell_ledger_from(call, 0);
}

static int on_ledger(const struct call *call)
{
    const Kmem__Ledger *ledger = call->request->ledger;
    enum scan_kind kind;
    switch (ledger->by) {
    case KMEM__GROUP_BY__GROUP_BY_REASON:
        kind = SCAN_BY_REASON;
        break;
    case KMEM__GROUP_BY__GROUP_BY_CLIENT:
        kind = SCAN_BY_CLIENT;
        break;
    case KMEM__GROUP_BY__GROUP_BY_UID:
        kind = SCAN_BY_UID;
        break;
    case KMEM__GROUP_BY__GROUP_BY_UNIT:
        kind = SCAN_BY_UNIT;
        break;
    case KMEM__GROUP_BY__GROUP_BY_SIZE:
        kind = SCAN_BY_SIZE;
        break;
    case KMEM__GROUP_BY__GROUP_BY_AGE:
        kind = SCAN_BY_AGE;
        break;
    case _KMEM__GROUP_BY_IS_INT_SIZE:
    default:
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID, "the ledger has no grouping %d",
                    (int)ledger->by);
        return DISPATCH_OK;
    }
    if (ledger->first_row == 0) {
        return report_begin(call, kind, tell_ledger);
    }
    if (!call->peer->reader.keeps) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "row %u of a roll-up that is not kept: begin with first_row 0",
                    ledger->first_row);
        return DISPATCH_OK;
    }
    return tell_ledger_from(call, ledger->first_row);
}

static int tell_lifetimes_from(const struct call *call, uint32_t first_row)
{
    struct scan_reader *reader = &call->peer->reader;
    report_lifetimes(call->core, reader->scan, first_row, call->now.ms, call->reply);
    if (call->reply->body.lifetimes.more) {
        scan_keep(call->core, reader, call->now.us);
    } else {
        scans_leave(&call->core->scans, reader);
    }
    return DISPATCH_OK;
}

static int tell_lifetimes(const struct call *call)
{
    return tell_lifetimes_from(call, 0);
}

static int on_lifetimes(const struct call *call)
{
    const uint32_t first_row = call->request->lifetimes->first_row;
    const struct scan_reader *reader = &call->peer->reader;
    if (first_row == 0) {
        return report_begin(call, SCAN_BY_LIFETIME, tell_lifetimes);
    }
    if (!reader->keeps || reader->kind != SCAN_BY_LIFETIME) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "row %u of a look that is not kept: begin with first_row 0", first_row);
        return DISPATCH_OK;
    }
    return tell_lifetimes_from(call, first_row);
}

static int on_blocks(const struct call *call)
{
    const Kmem__Blocks *blocks = call->request->blocks;
    const struct seg_off from = {blocks->from_offset};
    struct block_filter filter;
    switch (blocks->filter ? block_filter_init(&filter, blocks->filter) : BLOCK_FILTER_OK) {
    case BLOCK_FILTER_OK:
        report_blocks(call->core, from, blocks->filter ? &filter : NULL, call->now.ms, call->reply);
        break;
    case BLOCK_FILTER_E_REASON:
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "a pattern for reasons must be UTF-8 without NUL, at most %d bytes",
                    GLOB_MAX_BYTES);
        break;
    default:
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "there are no blocks of kind %d and sharing %d", (int)blocks->filter->kind,
                    (int)blocks->filter->sharing);
        break;
    }
    return DISPATCH_OK;
}

static int on_holders(const struct call *call)
{
    const Kmem__Holders *holders = call->request->holders;
    const struct holders_page from = {
        .share = holders->from_share,
        .holder = holders->from_holder,
        .offset = {holders->offset},
    };
    report_holders(call->core, &from, call->now.ms, call->reply);
    return DISPATCH_OK;
}

static int on_names(const struct call *call)
{
    report_names(call->core, call->request->names->from_name, call->reply);
    return DISPATCH_OK;
}

static int on_obituaries(const struct call *call)
{
    report_obituaries(call->core, call->request->obituaries->from_number, call->now.ms,
                      call->reply);
    return DISPATCH_OK;
}

static int on_refusals(const struct call *call)
{
    report_refusals(call->core, call->request->refusals->from_number, call->now.ms, call->reply);
    return DISPATCH_OK;
}

static int on_history(const struct call *call)
{
    const Kmem__History *history = call->request->history;
    if (history->reason.len > GLOB_MAX_BYTES ||
        !text_is_utf8(history->reason.data, history->reason.len)) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "a pattern for reasons must be UTF-8 without NUL, at most %d bytes",
                    GLOB_MAX_BYTES);
    } else if (history->step != KMEM__HISTORY_STEP__STEP_SECOND &&
               history->step != KMEM__HISTORY_STEP__STEP_MINUTE) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID, "there is no history by step %d",
                    (int)history->step);
    } else {
        report_history(call->core, history, call->now.ms, call->reply);
    }
    return DISPATCH_OK;
}

static int on_limits(const struct call *call)
{
    report_limits(call->core, call->reply);
    return DISPATCH_OK;
}

static int on_pages(const struct call *call)
{
    const Kmem__Pages *pages = call->request->pages;
    if (pages->cell_bytes % PAGE_BYTES != 0) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "a cell of %llu bytes is no multiple of a page, %llu",
                    (unsigned long long)pages->cell_bytes, (unsigned long long)PAGE_BYTES);
    } else {
        report_pages(call->core, pages, call->now.ms, call->reply);
    }
    return DISPATCH_OK;
}

static int on_at(const struct call *call)
{
    report_at(call->core, call->request->at->offset, call->now.ms, call->reply);
    return DISPATCH_OK;
}

/* -------------------------------------------------------------------------------- the table -- */

/* Which roles may ask a request. */
#define MAY_ASK(role) (1U << (role))
#define STRANGERS MAY_ASK(PEER_UNKNOWN)
#define MEMBERS MAY_ASK(PEER_MEMBER)
#define OBSERVERS MAY_ASK(PEER_OBSERVER)
#define HOLDERS (MAY_ASK(PEER_READER) | MAY_ASK(PEER_MEMBER))
#define ALL_WELCOME (OBSERVERS | HOLDERS)

struct rule {
    unsigned may_ask; /* roles; none: the request is unknown */
    call_fn handler;
};

#define RULE(request, may_ask, handler)                                                            \
    case KMEM__REQUEST__BODY_##request:                                                            \
        return (struct rule)                                                                       \
        {                                                                                          \
            may_ask, handler                                                                       \
        }

/* A request without a row here does not compile. */
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch-enum"
static struct rule rule_of(Kmem__Request__BodyCase request)
{
    switch (request) {
        RULE(HELLO, STRANGERS, hello_answer);
        RULE(ALLOCATE, MEMBERS, on_allocate);
        RULE(RELEASE, HOLDERS, dispatch_release);
        RULE(SIZE_OF, HOLDERS, dispatch_size_of);
        RULE(LEASE, MEMBERS, on_lease);
        RULE(GOODBYE, HOLDERS, on_goodbye);
        RULE(USAGE, ALL_WELCOME, on_usage);
        RULE(LEDGER, ALL_WELCOME, on_ledger);
        RULE(BLOCKS, ALL_WELCOME, on_blocks);
        RULE(CLIENTS, ALL_WELCOME, on_clients);
        RULE(OBITUARIES, ALL_WELCOME, on_obituaries);
        RULE(SHARE, MEMBERS, dispatch_share);
        RULE(ATTACH, HOLDERS, dispatch_attach);
        RULE(RELEASE_MANY, HOLDERS, dispatch_release_many);
        RULE(TRANSFER, MEMBERS, dispatch_transfer);
        RULE(PUBLISH, MEMBERS, dispatch_publish);
        RULE(UNPUBLISH, MEMBERS, dispatch_unpublish);
        RULE(NEXT, HOLDERS, dispatch_next);
        RULE(WATCH, OBSERVERS, dispatch_watch);
        RULE(HOLDERS, ALL_WELCOME, on_holders);
        RULE(NAMES, ALL_WELCOME, on_names);
        RULE(REFUSALS, ALL_WELCOME, on_refusals);
        RULE(LIMITS, ALL_WELCOME, on_limits);
        RULE(PAGES, ALL_WELCOME, on_pages);
        RULE(AT, ALL_WELCOME, on_at);
        RULE(CHANGES, ALL_WELCOME, dispatch_changes);
        RULE(HISTORY, ALL_WELCOME, on_history);
        RULE(LIFETIMES, ALL_WELCOME, on_lifetimes);
    case KMEM__REQUEST__BODY__NOT_SET:
    case _KMEM__REQUEST__BODY__CASE_IS_INT_SIZE:
    default:
        return (struct rule){.handler = NULL};
    }
}
#pragma GCC diagnostic pop

static const char *why_not(const struct rule *rule, enum peer_role role)
{
    if (role == PEER_UNKNOWN) {
        return "the first request must be Hello";
    }
    if (!rule->handler) {
        return "a request of a kind that this daemon does not know";
    }
    if (rule->may_ask == OBSERVERS) {
        return "a name is watched over a connection of its own, as an observer";
    }
    return rule->may_ask == STRANGERS ? "Hello was said already"
                                      : "only a member of the segment may ask that";
}

/* It speaks this protocol, and asks for what its role does not have. */
static int refuse_reader(const struct call *call)
{
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_DENIED,
                "this process has joined segment \"%s\" as a reader, which attaches, finds and "
                "waits, and allocates, shares and names nothing; join as a member for that",
                call->core->config.segment_name);
    return DISPATCH_OK;
}

/* A change that comes after the one that is known to be answered. */
static bool is_answered(const struct call *call)
{
    const uint64_t sequence = call->request->sequence;
    const uint64_t last = call->peer->client->sequence;
    if (sequence == 0 || sequence >= last) {
        return false;
    }
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                "sequence number %llu comes after %llu: that change has been answered",
                (unsigned long long)sequence, (unsigned long long)last);
    return true;
}

int dispatch(struct core *core, struct peer *peer, const Kmem__Request *request, struct now now,
             struct reply *reply)
{
    const struct call call = {core, peer, request, now, reply};
    core->state.counters->requests++;
    core->changes.now_ms = now.ms;
    reply_reset(reply, request ? request->id : 0);
    if (!request) {
        return call_refuse(&call, "what was sent is not a request");
    }
    peer->pending_id = request->id;
    const struct rule rule = rule_of(request->body_case);
    if (rule.may_ask == MEMBERS && peer->role == PEER_READER) {
        return refuse_reader(&call);
    }
    if ((rule.may_ask & MAY_ASK(peer->role)) == 0) {
        return call_refuse(&call, why_not(&rule, peer->role));
    }
    if (rule.may_ask == MEMBERS || rule.may_ask == HOLDERS) {
        sharing_deliver(core, peer->client); /* what had found no room */
        if (is_answered(&call)) {
            return DISPATCH_OK;
        }
    }
    return rule.handler(&call);
}

int dispatch_continue(struct core *core, struct peer *peer, struct now now, struct reply *reply)
{
    const struct call call = {.core = core, .peer = peer, .now = now, .reply = reply};
    const call_fn step = peer->next_step;
    KMEM_ASSERT(step != NULL);
    peer->next_step = NULL;
    core->changes.now_ms = now.ms;
    reply_reset(reply, peer->pending_id);
    return step(&call);
}
