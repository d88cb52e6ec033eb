/* SPDX-License-Identifier: MIT */
/*
 * dispatch.c - one function a request
 *
 * A peer goes one way: UNKNOWN -> OBSERVER or MEMBER, and MEMBER -> LEAVING. Hello decides, once.
 * A request that does not fit the role is refused and, like bytes that are no request at all, ends
 * the connection: whoever sends it does not speak this protocol, and what follows can not be
 * trusted to begin where it seems to.
 *
 * Numbers and strings in requests are a stranger's. Each is compared with its limit here, before
 * the core sees it; the core asserts the same again.
 */
#include "daemon/core/dispatch.h"

#include <string.h>

#include "daemon/core/handshake.h"
#include "daemon/core/no_room.h"
#include "daemon/core/replay.h"
#include "daemon/core/tick.h"
#include "daemon/core/walk.h"
#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/text.h"

void peer_init(struct peer *peer, const struct client_identity *identity, uint64_t nonce)
{
    *peer = (struct peer){.identity = *identity, .nonce = nonce};
    peer->reader.uid = identity->uid;
    peer->reader.pid = identity->pid;
}

void peer_fini(struct core *core, struct peer *peer)
{
    scan_leave(core, &peer->reader);
    /* Of one that is leaving, the slot may be another's by now. */
    if (peer->client && peer->client->generation == peer->generation) {
        peer->client->connected = false;
    }
    peer->client = NULL;
}

static int refuse_protocol(struct core *core, struct reply *reply, const char *sentence)
{
    core->state.counters->protocol_errors++;
    reply_error(reply, KMEM__ERROR_CODE__ERROR_PROTOCOL, "%s", sentence);
    return DISPATCH_CLOSE;
}

/* ----------------------------------------------------------------------------------- goodbye -- */

static int on_goodbye(struct core *core, struct peer *peer, struct now now)
{
    core_end(core, peer->client, true, now.ms);
    KMEM_CRASH_POINT("server.goodbye");
    peer->role = PEER_LEAVING;
    return DISPATCH_PENDING;
}

static int continue_goodbye(struct peer *peer, struct reply *reply)
{
    const struct client *client = peer->client;
    if (client->client_state != CLIENT_UNUSED && client->generation == peer->generation) {
        return DISPATCH_PENDING; /* until core_reap() has taken all of it back */
    }
    peer->client = NULL;
    kmem__farewell__init(&reply->body.farewell);
    reply->response.body_case = KMEM__RESPONSE__BODY_FAREWELL;
    reply->response.farewell = &reply->body.farewell;
    return DISPATCH_CLOSE;
}

/* ------------------------------------------------------------------------------------ blocks -- */

static int answer_allocated(uint64_t offset, bool known_zero, struct reply *reply)
{
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

static void refuse_over_quota(struct core *core, const struct peer *peer, struct reply *reply)
{
    const bool is_block = peer->placement.n_pages == 0;
    core->state.counters->refusals_quota += is_block && !peer->placement.may_again;
    core->state.counters->leases_refused += !is_block;
    report_quota(core, peer->client, peer->placement.num_bytes, reply);
}

/* The block or the lease that the peer asks for, or that it waits for. */
static int find_room(struct core *core, struct peer *peer, struct now now, struct reply *reply)
{
    struct placement found;
    if (core_may_have(core, peer->client, peer->placement.num_bytes) &&
        shortage_is_due(&core->shortage)) {
        shortage_look(&core->shortage); /* and not behind it: it takes back what is unused */
    }
    const int r = placement_find(core, peer->client, &peer->placement, now, &found);
    if (r == PLACEMENT_E_WAIT) {
        return DISPATCH_PENDING;
    }
    if (r == PLACEMENT_E_QUOTA) {
        refuse_over_quota(core, peer, reply);
        return DISPATCH_OK;
    }
    if (r == PLACEMENT_E_STALE) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "a thread of this process has not noticed yet that idle memory was taken from "
                    "it; direct blocks can be had");
        return DISPATCH_OK;
    }
    if (r) {
        no_room_refuse(core, peer, now, reply);
        return DISPATCH_OK;
    }
    core_note_peak(core);
    if (peer->placement.n_pages == 0) {
        return answer_allocated(found.off.bytes, found.is_zero, reply);
    }
    kmem__leased__init(&reply->body.leased);
    reply->body.leased.page = found.page;
    reply->body.leased.n_pages = found.n_pages;
    return answer_leased(reply);
}

static int on_allocate(struct core *core, struct peer *peer, const Kmem__Allocate *allocate,
                       struct now now, struct reply *reply)
{
    const ProtobufCBinaryData reason = allocate->reason;
    const uint64_t num_bytes = allocate->num_bytes;
    struct state_counters *counters = core->state.counters;
    if (num_bytes == 0 || num_bytes > core_segment_bytes(core)) {
        counters->refusals_invalid += num_bytes == 0;
        counters->refusals_too_large += num_bytes > 0;
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%llu bytes can not be allocated from a segment of %llu",
                    (unsigned long long)num_bytes, (unsigned long long)core_segment_bytes(core));
        return DISPATCH_OK;
    }
    if (reason.len > REASON_MAX_BYTES || !text_is_utf8(reason.data, reason.len)) {
        counters->refusals_invalid++;
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "the reason must be UTF-8 without NUL, at most %d bytes", REASON_MAX_BYTES);
        return DISPATCH_OK;
    }
    struct seg_off off;
    if (replay_allocated(core, peer->client, num_bytes, &off)) {
        return answer_allocated(off.bytes, false, reply); /* it may have been written to */
    }
    placement_init_block(&peer->placement, num_bytes, reason.data, reason.len);
    peer->placement.may_again = allocate->may_again;
    return find_room(core, peer, now, reply);
}

/* What a direct block's place is not may be another client's leased block. */
static int look_among_leased(const struct core *core, const struct client *client, int why,
                             struct seg_off off, struct direct_block *ret_block)
{
    struct direct_block leased;
    if ((why != DIRECT_E_WILD && why != DIRECT_E_RELEASED) || !walk_find(core, off, &leased) ||
        leased.slot == client->slot) {
        return why;
    }
    *ret_block = leased;
    return off.bytes == leased.off.bytes ? DIRECT_E_FOREIGN : DIRECT_E_INTERIOR;
}

/* An error that names the block, where there is one. */
static void refuse_block(struct core *core, int why, uint64_t offset,
                         const struct direct_block *block, struct reply *reply)
{
    core->state.counters->misuses++;
    if (why == DIRECT_E_WILD || why == DIRECT_E_RELEASED) {
        const bool wild = why == DIRECT_E_WILD;
        reply_error(reply, wild ? KMEM__ERROR_CODE__ERROR_WILD : KMEM__ERROR_CODE__ERROR_RELEASED,
                    wild ? "offset %llu lies in no block"
                         : "the block at offset %llu has been released already",
                    (unsigned long long)offset);
        reply->body.error.offset = offset;
        return;
    }
    char text[REASON_MAX_BYTES];
    const size_t n_reason_bytes = walk_reason(core, block, text);
    char escaped[4 * REASON_MAX_BYTES + 1];
    (void)text_escape(text, n_reason_bytes, escaped, sizeof(escaped)); /* its buffer */
    if (why == DIRECT_E_INTERIOR) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INTERIOR,
                    "offset %llu lies %llu bytes inside the block at offset %llu "
                    "(%llu bytes, \"%s\"), not at its start",
                    (unsigned long long)offset, (unsigned long long)(offset - block->off.bytes),
                    (unsigned long long)block->off.bytes, (unsigned long long)block->num_bytes,
                    escaped);
    } else {
        char pid[PID_TEXT_BYTES];
        const struct client_identity *holder = &clients_get(&core->clients, block->slot)->identity;
        reply_error(reply, KMEM__ERROR_CODE__ERROR_FOREIGN,
                    "the block at offset %llu (%llu bytes, \"%s\") belongs to process %s",
                    (unsigned long long)offset, (unsigned long long)block->num_bytes, escaped,
                    client_pid_text(holder->pid, pid));
    }
    reply->body.error.offset = block->off.bytes;
    reply->body.error.num_bytes = block->num_bytes;
    reply->body.error.reason = reply_string(reply, text, n_reason_bytes);
}

/* ------------------------------------------------------------------------------------ leases -- */

static int on_lease(struct core *core, struct peer *peer, const Kmem__Lease *lease, struct now now,
                    struct reply *reply)
{
    const uint32_t n_pages = lease->n_pages;
    uint32_t want_pages = lease->want_pages > n_pages ? lease->want_pages : n_pages;
    if (n_pages == 0 || n_pages > core->state.n_pages || n_pages > LEASE_MAX_PAGES) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%u pages can not be leased from a segment of %u; at most %d at a time",
                    n_pages, core->state.n_pages, LEASE_MAX_PAGES);
        return DISPATCH_OK;
    }
    want_pages = want_pages < LEASE_MAX_PAGES ? want_pages : LEASE_MAX_PAGES;
    kmem__leased__init(&reply->body.leased);
    if (replay_leased(core, peer->client, &reply->body.leased)) {
        return answer_leased(reply);
    }
    if (!core_may_have(core, peer->client, (uint64_t)want_pages << PAGE_SHIFT)) {
        want_pages = n_pages;
    }
    placement_init_lease(&peer->placement, n_pages, want_pages);
    return find_room(core, peer, now, reply);
}

static int on_return(struct core *core, const struct peer *peer, const Kmem__Return *range,
                     struct reply *reply)
{
    uint32_t end;
    const uint32_t most = range->n_pages < LEASE_MAX_PAGES ? range->n_pages : LEASE_MAX_PAGES;
    if (!checked_add(range->page, most, &end)) {
        end = UINT32_MAX;
    }
    kmem__returned__init(&reply->body.returned);
    reply->body.returned.n_pages = leases_return(&core->leases, peer->client, range->page, end);
    reply->response.body_case = KMEM__RESPONSE__BODY_RETURNED;
    reply->response.returned = &reply->body.returned;
    return DISPATCH_OK;
}

static int on_release(struct core *core, const struct peer *peer, const Kmem__Release *release,
                      struct reply *reply)
{
    struct direct_block block;
    struct intent intent;
    const struct seg_off off = {release->offset};
    /* Validated when it came first: if there is nothing to release any more, that is done. */
    const bool done =
        replay_of(core, peer->client, INTENT_RELEASE, &intent) && intent.at == off.bytes;
    int r = direct_release(&core->direct, peer->client, off, &block);
    if (r && !done) {
        r = look_among_leased(core, peer->client, r, off, &block);
        refuse_block(core, r, off.bytes, &block, reply);
        return DISPATCH_OK;
    }
    kmem__released__init(&reply->body.released);
    /* Of a block that was released before this, nothing is known any more. */
    reply->body.released.num_bytes = r == 0 ? block.num_bytes : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_RELEASED;
    reply->response.released = &reply->body.released;
    return DISPATCH_OK;
}

static int on_size_of(struct core *core, const struct peer *peer, const Kmem__SizeOf *size_of,
                      struct reply *reply)
{
    struct direct_block block;
    const struct seg_off off = {size_of->offset};
    int r = direct_find(&core->direct, peer->client, off, &block);
    if (r) {
        r = look_among_leased(core, peer->client, r, off, &block);
        refuse_block(core, r, off.bytes, &block, reply);
        return DISPATCH_OK;
    }
    kmem__sized__init(&reply->body.sized);
    reply->body.sized.num_bytes = block.num_bytes;
    reply->response.body_case = KMEM__RESPONSE__BODY_SIZED;
    reply->response.sized = &reply->body.sized;
    return DISPATCH_OK;
}

/* ----------------------------------------------------------------------------------- queries -- */

static int refuse_scan(struct reply *reply)
{
    reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY, "there is no memory for a roll-up; try again");
    return DISPATCH_OK;
}

/* Answers from the roll-up that is kept, and forgets it with its last row. */
static void answer_ledger(struct core *core, struct peer *peer, uint32_t first_row, struct now now,
                          struct reply *reply)
{
    report_ledger(core, peer->reader.scan, first_row, now.ms, reply);
    if (reply->body.ledger.more) {
        scan_keep(core, &peer->reader, now.us);
    } else {
        scan_leave(core, &peer->reader);
    }
}

static int begin_scan(struct core *core, struct peer *peer, enum scan_kind kind, struct now now,
                      struct reply *reply)
{
    scan_ask(core, &peer->reader, kind);
    return dispatch_continue(core, peer, now, reply);
}

static int on_ledger(struct core *core, struct peer *peer, const Kmem__Ledger *ledger,
                     struct now now, struct reply *reply)
{
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
    case _KMEM__GROUP_BY_IS_INT_SIZE:
    default:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "the ledger has no grouping %d",
                    (int)ledger->by);
        return DISPATCH_OK;
    }
    if (ledger->first_row > 0 && !peer->reader.keeps) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "row %u of a roll-up that is not kept: begin with first_row 0",
                    ledger->first_row);
        return DISPATCH_OK;
    }
    if (ledger->first_row > 0) {
        answer_ledger(core, peer, ledger->first_row, now, reply);
        return DISPATCH_OK;
    }
    return begin_scan(core, peer, kind, now, reply);
}

static int continue_scan(struct core *core, struct peer *peer, struct now now, struct reply *reply)
{
    const int r = scan_poll(core, &peer->reader, now.us);
    if (r != SCAN_READY) {
        return r == SCAN_PENDING ? DISPATCH_PENDING : refuse_scan(reply);
    }
    if (peer->reader.kind != SCAN_LEASED) {
        answer_ledger(core, peer, 0, now, reply);
        return DISPATCH_OK;
    }
    if (peer->asks_usage) {
        report_usage(core, peer->reader.scan, now.ms, reply);
    } else {
        report_clients(core, peer->reader.scan, peer->pending_slot, now.ms, reply);
    }
    scan_leave(core, &peer->reader);
    return DISPATCH_OK;
}

int dispatch_continue(struct core *core, struct peer *peer, struct now now, struct reply *reply)
{
    reply_reset(reply, peer->pending_id);
    if (peer->role == PEER_LEAVING) {
        return continue_goodbye(peer, reply);
    }
    if (peer->placement.waits || peer->placement.reclaims) {
        return find_room(core, peer, now, reply);
    }
    return continue_scan(core, peer, now, reply);
}

static int on_member_request(struct core *core, struct peer *peer, const Kmem__Request *request,
                             struct now now, struct reply *reply)
{
    if (peer->role != PEER_MEMBER) {
        return refuse_protocol(core, reply, "only a member of the segment may ask that");
    }
    peer->client->current = request->sequence;
    if (request->sequence != 0 && request->sequence < peer->client->sequence) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "sequence number %llu comes after %llu: that change has been answered",
                    (unsigned long long)request->sequence,
                    (unsigned long long)peer->client->sequence);
        return DISPATCH_OK;
    }
    if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        return on_allocate(core, peer, request->allocate, now, reply);
    }
    if (request->body_case == KMEM__REQUEST__BODY_RELEASE) {
        return on_release(core, peer, request->release, reply);
    }
    if (request->body_case == KMEM__REQUEST__BODY_SIZE_OF) {
        return on_size_of(core, peer, request->size_of, reply);
    }
    if (request->body_case == KMEM__REQUEST__BODY_LEASE) {
        return on_lease(core, peer, request->lease, now, reply);
    }
    if (request->body_case == KMEM__REQUEST__BODY_RETURN_PAGES) {
        return on_return(core, peer, request->return_pages, reply);
    }
    return on_goodbye(core, peer, now);
}

static int on_request(struct core *core, struct peer *peer, const Kmem__Request *request,
                      struct now now, struct reply *reply)
{
    switch (request->body_case) {
    case KMEM__REQUEST__BODY_ALLOCATE:
    case KMEM__REQUEST__BODY_RELEASE:
    case KMEM__REQUEST__BODY_SIZE_OF:
    case KMEM__REQUEST__BODY_LEASE:
    case KMEM__REQUEST__BODY_RETURN_PAGES:
    case KMEM__REQUEST__BODY_GOODBYE:
        return on_member_request(core, peer, request, now, reply);
    case KMEM__REQUEST__BODY_USAGE:
        peer->asks_usage = true;
        return begin_scan(core, peer, SCAN_LEASED, now, reply);
    case KMEM__REQUEST__BODY_LEDGER:
        return on_ledger(core, peer, request->ledger, now, reply);
    case KMEM__REQUEST__BODY_BLOCKS:
        report_blocks(core, (struct seg_off){request->blocks->from_offset}, now.ms, reply);
        return DISPATCH_OK;
    case KMEM__REQUEST__BODY_CLIENTS:
        peer->asks_usage = false;
        peer->pending_slot = request->clients->from_slot;
        return begin_scan(core, peer, SCAN_LEASED, now, reply);
    case KMEM__REQUEST__BODY_OBITUARIES:
        report_obituaries(core, request->obituaries->from_number, now.ms, reply);
        return DISPATCH_OK;
    case KMEM__REQUEST__BODY_HELLO:
        return refuse_protocol(core, reply, "Hello was said already");
    case KMEM__REQUEST__BODY__NOT_SET:
    case _KMEM__REQUEST__BODY__CASE_IS_INT_SIZE:
    default:
        return refuse_protocol(core, reply, "a request of a kind that this daemon does not know");
    }
}

int dispatch(struct core *core, struct peer *peer, const Kmem__Request *request, struct now now,
             struct reply *reply)
{
    core->state.counters->requests++;
    reply_reset(reply, request ? request->id : 0);
    if (!request) {
        return refuse_protocol(core, reply, "what was sent is not a request");
    }
    peer->pending_id = request->id;
    if (peer->role != PEER_UNKNOWN) {
        return on_request(core, peer, request, now, reply);
    }
    if (request->body_case != KMEM__REQUEST__BODY_HELLO) {
        return refuse_protocol(core, reply, "the first request must be Hello");
    }
    return hello_answer(core, peer, request->hello, now, reply);
}
