/* SPDX-License-Identifier: MIT */
/*
 * dispatch_blocks.c - Release, ReleaseMany, SizeOf: of the caller's own blocks, and of shared ones
 *
 * A request that comes again must not let go of a block twice, and its answer says what the first
 * one said: whether others keep the block, because its owner takes home what they do not. So that
 * is written into the client's intent before it is done; of many, how many were begun, and a bit
 * for each.
 */
#include "daemon/core/dispatch_blocks.h"

#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/dispatch_changes.h"
#include "daemon/core/released.h"
#include "daemon/core/replay.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/text.h"

static_assert(SHARE_MANY_MAX <= 64, "a bit for each fits an intent");

/* --------------------------------------------------------------------------------- refusing -- */

static int refuse_at(const struct call *call, Kmem__ErrorCode code, const char *format,
                     struct seg_off off)
{
    reply_error(call->reply, code, format, (unsigned long long)off.bytes);
    call->reply->body.error.offset = off.bytes;
    return DISPATCH_OK;
}

/* It is shared, and the caller does not hold it; it may have, before. */
static void refuse_shared(const struct call *call, const struct block *block, const char *reason)
{
    const struct core *core = call->core;
    const uint32_t share = shares_at(&core->shares, block->off);
    const bool is_own = SHARE_OWNER(shares_word(&core->shares, share)) == call->peer->client->slot;
    reply_error(
        call->reply, is_own ? KMEM__ERROR_CODE__ERROR_RELEASED : KMEM__ERROR_CODE__ERROR_FOREIGN,
        "the shared block at offset %llu (%llu bytes, \"%s\") is %s; attach it first",
        (unsigned long long)block->off.bytes, (unsigned long long)block->num_bytes, reason,
        is_own ? "not held by this process any more, which has released it or handed it over"
               : "not held by this process");
}

static void refuse_found(const struct call *call, int why, struct seg_off off,
                         const struct block *block, const char *reason)
{
    const struct core *core = call->core;
    char pid[PID_TEXT_BYTES];
    if (why == DIRECT_E_INTERIOR) {
        reply_error(
            call->reply, KMEM__ERROR_CODE__ERROR_INTERIOR,
            "offset %llu lies %llu bytes inside the block at offset %llu "
            "(%llu bytes, \"%s\"), not at its start",
            (unsigned long long)off.bytes, (unsigned long long)(off.bytes - block->off.bytes),
            (unsigned long long)block->off.bytes, (unsigned long long)block->num_bytes, reason);
    } else if (shares_at(&core->shares, block->off) != 0) {
        refuse_shared(call, block, reason);
    } else {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_FOREIGN,
                    "the block at offset %llu (%llu bytes, \"%s\") belongs to process %s",
                    (unsigned long long)block->off.bytes, (unsigned long long)block->num_bytes,
                    reason,
                    client_pid_text(clients_get(&core->clients, block->slot)->identity.pid, pid));
    }
}

/* What a direct block's place is not may be another client's leased block. */
static int look_among_leased(const struct call *call, int why, struct seg_off off,
                             struct block *block)
{
    struct block leased;
    struct slab slab;
    if ((why != DIRECT_E_WILD && why != DIRECT_E_RELEASED) ||
        !block_find_leased(call->core, off, &leased, &slab) ||
        leased.slot == call->peer->client->slot) {
        return why;
    }
    *block = leased;
    return off.bytes == leased.off.bytes ? DIRECT_E_FOREIGN : DIRECT_E_INTERIOR;
}

int dispatch_refuse_block(const struct call *call, int why, struct seg_off off,
                          const struct block *block)
{
    struct reply *reply = call->reply;
    struct block found = *block;
    why = look_among_leased(call, why, off, &found);
    call->core->state.counters->misuses++;
    if (why == DIRECT_E_WILD) {
        return refuse_at(call, KMEM__ERROR_CODE__ERROR_WILD, "offset %llu lies in no block", off);
    }
    if (why == DIRECT_E_RELEASED) {
        return refuse_at(call, KMEM__ERROR_CODE__ERROR_RELEASED,
                         "the block at offset %llu has been released already", off);
    }
    char text[REASON_MAX_BYTES];
    const size_t n_reason_bytes = block_reason(call->core, &found, text);
    char escaped[4 * REASON_MAX_BYTES + 1];
    refuse_found(call, why, off, &found,
                 text_escape(text, n_reason_bytes, escaped, sizeof(escaped)));
    reply->body.error.offset = found.off.bytes;
    reply->body.error.num_bytes = found.num_bytes;
    reply->body.error.reason = reply_string(reply, text, n_reason_bytes);
    return DISPATCH_OK;
}

/* ------------------------------------------------------------------------------- letting go -- */

bool dispatch_holds(const struct call *call, uint32_t share)
{
    const struct shares *shares = &call->core->shares;
    const uint32_t slot = call->peer->client->slot;
    if (!shares_is_live(shares, share)) {
        return false; /* an intent's, perhaps, whose record is not in use any more */
    }
    const uint64_t word = shares_word(shares, share);
    const uint32_t hold = shares_hold_of(shares, share, slot);
    return (SHARE_OWNER(word) == slot && (word & SHARE_OWNER_HOLDS) != 0) ||
           (hold != 0 && (shares_hold_word(shares, hold) & HOLD_GIVEN) == 0);
}

int dispatch_look(const struct call *call, struct seg_off off, struct released *ret_released,
                  struct block *ret_block)
{
    const struct core *core = call->core;
    if (!sharing_is_shared(core, off)) {
        const int r = direct_find(&core->direct, call->peer->client, off, ret_block);
        *ret_released = (struct released){.num_bytes = r == 0 ? ret_block->num_bytes : 0};
        return r;
    }
    const struct sharing of = {.core = call->core, .client = call->peer->client};
    enum let_go let_go = LET_GO_FREED;
    const int r = sharing_look(&of, off, &let_go, ret_block);
    *ret_released =
        (struct released){.num_bytes = ret_block->num_bytes, .kept = let_go == LET_GO_KEPT};
    return r;
}

int dispatch_let_go(const struct call *call, struct seg_off off, uint64_t sequence,
                    struct released *ret_released, struct block *ret_block)
{
    struct core *core = call->core;
    struct client *client = call->peer->client;
    if (!sharing_is_shared(core, off)) {
        const int r = direct_release(&core->direct, client, off, sequence, ret_block);
        *ret_released = (struct released){.num_bytes = r == 0 ? ret_block->num_bytes : 0};
        if (r == 0) {
            note_block(call, CHANGE_RELEASED, ret_block);
            released_note(core, ret_block, call->now.ms);
        }
        return r;
    }
    const struct sharing of = {core, client, sequence, core_tick(core, call->now.ms)};
    enum let_go let_go = LET_GO_FREED;
    const uint64_t word = shares_word(&core->shares, shares_at(&core->shares, off));
    const int r = sharing_release(&of, off, &let_go, ret_block);
    *ret_released =
        (struct released){ret_block->num_bytes, let_go == LET_GO_KEPT, (word & SHARE_WRITTEN) == 0};
    if (r == 0) {
        note_block(call, let_go == LET_GO_KEPT ? CHANGE_LET_GO : CHANGE_RELEASED, ret_block);
    }
    if (r == 0 && let_go == LET_GO_FREED && (word & SHARE_LEASED) == 0) {
        released_note(core, ret_block, call->now.ms);
    }
    return r;
}

Kmem__Released *dispatch_released(const struct call *call, const struct released *released)
{
    Kmem__Released *row = reply_take(call->reply, sizeof(*row));
    kmem__released__init(row);
    row->num_bytes = released->num_bytes;
    row->kept = released->kept;
    row->unwritten = released->unwritten;
    return row;
}

/* --------------------------------------------------------------------------------- requests -- */

int dispatch_release(const struct call *call)
{
    struct reply *reply = call->reply;
    struct block block = {.slot = SLOT_NONE};
    struct released released;
    struct intent intent;
    const struct seg_off off = {call->request->release->offset};
    /* Validated when it came first: if there is nothing to release any more, that is done. */
    const bool done = replay_of(call, INTENT_RELEASE, &intent) && intent.at == off.bytes;
    const int r = dispatch_let_go(call, off, call->request->sequence, &released, &block);
    if (r && !done) {
        return dispatch_refuse_block(call, r, off, &block);
    }
    if (r) {
        released = (struct released){.kept = intent.n_pages == SHARING_INTENT(LET_GO_KEPT)};
    }
    reply->response.body_case = KMEM__RESPONSE__BODY_RELEASED;
    reply->response.released = dispatch_released(call, &released);
    return DISPATCH_OK;
}

int dispatch_size_of(const struct call *call)
{
    struct reply *reply = call->reply;
    struct block block = {.slot = SLOT_NONE};
    struct released released;
    const struct seg_off off = {call->request->size_of->offset};
    const int r = dispatch_look(call, off, &released, &block);
    if (r) {
        return dispatch_refuse_block(call, r, off, &block);
    }
    kmem__sized__init(&reply->body.sized);
    reply->body.sized.num_bytes = block.num_bytes;
    reply->response.body_case = KMEM__RESPONSE__BODY_SIZED;
    reply->response.sized = &reply->body.sized;
    return DISPATCH_OK;
}

/* How far the release of many blocks has come: as their intent has it. */
struct many {
    uint32_t n_begun; /* those before the last of them are released */
    uint64_t kept;    /* a bit for each that others hold */
};

/* One of many. Return: 0 or a DIRECT_E_x. */
static int release_one(const struct call *call, uint32_t index, struct many *many,
                       struct released *ret_released, struct block *ret_block)
{
    const struct seg_off off = {call->request->release_many->offsets[index]};
    const uint64_t bit = UINT64_C(1) << index;
    const bool is_begun = index < many->n_begun;
    int r = index + 1 < many->n_begun ? DIRECT_E_RELEASED
                                      : dispatch_look(call, off, ret_released, ret_block);
    if (r && is_begun) {
        *ret_released = (struct released){.kept = (many->kept & bit) != 0};
        return 0;
    }
    if (r) {
        return r;
    }
    many->kept = ret_released->kept ? many->kept | bit : many->kept & ~bit;
    many->n_begun = index + 1;
    const struct intent intent = {INTENT_RELEASE_MANY, many->n_begun, many->kept};
    clients_intend(&call->core->clients, call->peer->client->slot, call->request->sequence,
                   &intent);
    KMEM_CRASH_POINT("server.release.many");
    return dispatch_let_go(call, off, 0, ret_released, ret_block);
}

/* What the reply says now, as a part of another one. */
static Kmem__Error *error_take(struct reply *reply)
{
    Kmem__Error *error = reply_take(reply, sizeof(*error));
    *error = reply->body.error;
    return error;
}

int dispatch_release_many(const struct call *call)
{
    struct reply *reply = call->reply;
    const Kmem__ReleaseMany *request = call->request->release_many;
    const size_t n_offsets = request->n_offsets;
    if (n_offsets == 0 || n_offsets > SHARE_MANY_MAX) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%zu blocks can not be released in one request: 1 to %d can; ask for each %d "
                    "of them",
                    n_offsets, SHARE_MANY_MAX, SHARE_MANY_MAX);
        return DISPATCH_OK;
    }
    struct intent intent;
    const bool replays = replay_of(call, INTENT_RELEASE_MANY, &intent);
    struct many many = {replays ? intent.n_pages : 0, replays ? intent.at : 0};
    Kmem__Released **rows = reply_take(reply, n_offsets * sizeof(Kmem__Released *));
    Kmem__Error *refused = NULL;
    uint32_t n = 0;
    for (; n < n_offsets; n++) {
        struct released released;
        struct block block = {.slot = SLOT_NONE};
        const int r = release_one(call, n, &many, &released, &block);
        if (r) {
            (void)dispatch_refuse_block(call, r, (struct seg_off){request->offsets[n]}, &block);
            refused = error_take(reply);
            break;
        }
        rows[n] = dispatch_released(call, &released);
    }
    kmem__released_many__init(&reply->body.released_many);
    reply->body.released_many.n_released = n;
    reply->body.released_many.released = rows;
    reply->body.released_many.refused = refused;
    reply->response.body_case = KMEM__RESPONSE__BODY_RELEASED_MANY;
    reply->response.released_many = &reply->body.released_many;
    return DISPATCH_OK;
}
