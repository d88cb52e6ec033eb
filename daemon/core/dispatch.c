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

#include "daemon/core/dispatch_admin.h"
#include "daemon/core/dispatch_blocks.h"
#include "daemon/core/dispatch_changes.h"
#include "daemon/core/dispatch_resize.h"
#include "daemon/core/dispatch_room.h"
#include "daemon/core/dispatch_share.h"
#include "daemon/core/handshake.h"
#include "daemon/core/no_room.h"
#include "daemon/core/queue.h"
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
/* Beside them: whose user is named in `admins`, or is root, or the daemon's own. */
#define ADMINISTERS (1U << 31)

struct rule {
    unsigned may_ask; /* roles, and ADMINISTERS; none: the request is unknown */
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
        RULE(ALLOCATE, MEMBERS, dispatch_allocate);
        RULE(RELEASE, HOLDERS, dispatch_release);
        RULE(SIZE_OF, HOLDERS, dispatch_size_of);
        RULE(LEASE, MEMBERS, dispatch_lease);
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
        RULE(RELOAD, ALL_WELCOME | ADMINISTERS, dispatch_reload);
        RULE(RESIZE, ALL_WELCOME | ADMINISTERS, dispatch_resize);
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
    if ((rule.may_ask & ADMINISTERS) != 0 && !peer_may_administer(peer)) {
        return refuse_administration(&call);
    }
    if (rule.may_ask == MEMBERS || rule.may_ask == HOLDERS) {
        sharing_deliver(core, peer->client); /* what had found no room */
        if (is_answered(&call)) {
            return DISPATCH_OK;
        }
    }
    const int outcome = rule.handler(&call);
    queue_look(core);
    return outcome;
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
