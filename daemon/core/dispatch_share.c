/* SPDX-License-Identifier: MIT */
/*
 * dispatch_share.c - Share, Attach, Transfer
 *
 * Each is right if it comes again. Share has the same answer. So has Attach, but if it is refused
 * then, because a block is gone meanwhile, it has to let go of those that it had attached before:
 * its intent has a bit for each that was not held when it came first. Transfer writes down the
 * share's generation: if the caller does not hold that any more, it was handed over, whoever has it
 * by now.
 */
#include "daemon/core/dispatch_share.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/dispatch_changes.h"
#include "daemon/core/refuse.h"
#include "daemon/core/dispatch_blocks.h"
#include "daemon/core/replay.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/text.h"

#define OK DISPATCH_OK

/* A reason, escaped for a sentence. */
#define ESCAPED_REASON_BYTES (4 * REASON_MAX_BYTES + 1)

struct sharing dispatch_sharing(const struct call *call)
{
    return (struct sharing){
        .core = call->core,
        .client = call->peer->client,
        .now = core_tick(call->core, call->now.ms),
    };
}

bool dispatch_reason_is_good(const struct call *call, ProtobufCBinaryData reason)
{
    const bool is_good = reason.len <= REASON_MAX_BYTES && text_is_utf8(reason.data, reason.len);
    if (!is_good) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "the reason must be UTF-8 without NUL, at most %d bytes", REASON_MAX_BYTES);
    }
    return is_good;
}

/* Who has the most names. A look at each client: 10 us if there are 4,096. */
static const struct client *most_names(const struct core *core)
{
    const struct client *most = NULL;
    const struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        const uint32_t n = names_count_of(&core->names, client->slot);
        if (n > 0 && (!most || n > names_count_of(&core->names, most->slot))) {
            most = client;
        }
    }
    return most;
}

static void refuse_full_of_names(const struct call *call)
{
    const struct names *names = &call->core->names;
    const struct client *most = most_names(call->core);
    char whose[128] = "all of them are kept, and their publishers have ended";
    if (most) {
        const struct client_identity *identity = &most->identity;
        char pid[PID_TEXT_BYTES];
        char command[4 * COMMAND_BYTES + 1];
        (void)text_escape(identity->command, strlen(identity->command), command, sizeof(command));
        (void)snprintf(whose, sizeof(whose), "%u of them are those of process %s (%s, user %u)",
                       names_count_of(names, most->slot), client_pid_text(identity->pid, pid),
                       command, identity->uid);
    }
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_FULL,
                "%u names are in use, as many as can be: %s; unpublish some (kmemctl names), or "
                "start kmemd with a larger --names, up to %u",
                names->n_names, whose, SHARE_NAMES_MAX);
}

static void refuse_full_of_user(const struct call *call, int why)
{
    static const struct {
        enum cap cap;
        const char *sentence;
    } users[] = {
        [0] = /* SHARING_E_USER_SHARES */
        {CAP_SHARES, "user %u shares %u blocks, of the %u that --shares-per-uid lets one user; "
                     "release some (kmemctl holders), or start kmemd with a larger one"},
        [SHARING_E_USER_HOLDS - SHARING_E_USER_SHARES] =
            {CAP_HOLDS, "user %u holds shared blocks %u times, of the %u that --holds-per-uid lets "
                        "one user; release some (kmemctl holders), or start kmemd with a larger "
                        "one"},
        [SHARING_E_USER_NAMES - SHARING_E_USER_SHARES] =
            {CAP_NAMES, "user %u has %u names, of the %u that --names-per-uid lets one user; "
                        "unpublish some (kmemctl names), or start kmemd with a larger one"},
    };
    const struct caps *caps = &call->core->caps;
    const uint32_t uid = call->peer->identity.uid;
    const enum cap cap = users[why - SHARING_E_USER_SHARES].cap;
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_FULL,
                users[why - SHARING_E_USER_SHARES].sentence, uid, caps_count(caps, cap, uid),
                caps->limits[cap]);
}

int dispatch_refuse_full(const struct call *call, int why)
{
    const struct core *core = call->core;
    const bool holds = core->shares.n_holds >= HOLDS_MAX - 1;
    refuse_note_full(call, why);
    if (why != SHARING_E_FULL) {
        refuse_full_of_user(call, why);
    } else if (!holds && core->names.n_names >= core->names.limit) {
        refuse_full_of_names(call);
    } else {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_FULL,
                    "%u %s, as many as can be; release some of them (kmemctl holders)",
                    holds ? core->shares.n_holds : core->shares.n_shares,
                    holds ? "times a shared block is held" : "blocks are shared");
    }
    return OK;
}

/* ----------------------------------------------------------------------------------- handles -- */

static Kmem__Handle *handle_row(const struct call *call, const struct share_handle *handle)
{
    Kmem__Handle *row = reply_take(call->reply, sizeof(*row));
    kmem__handle__init(row);
    row->instance = handle->instance;
    row->generation = handle->generation;
    row->tag = handle->tag;
    row->offset = handle->offset;
    row->num_bytes = handle->num_bytes;
    return row;
}

static int answer_shared(const struct call *call, const struct share_handle *handle)
{
    Kmem__Shared *shared = &call->reply->body.shared;
    kmem__shared__init(shared);
    shared->handle = handle_row(call, handle);
    call->reply->response.body_case = KMEM__RESPONSE__BODY_SHARED;
    call->reply->response.shared = shared;
    return OK;
}

Kmem__AttachedBlock *dispatch_attached(const struct call *call, const struct attached *attached)
{
    Kmem__AttachedBlock *row = reply_take(call->reply, sizeof(*row));
    kmem__attached_block__init(row);
    row->offset = attached->handle.offset;
    row->num_bytes = attached->handle.num_bytes;
    row->generation = attached->handle.generation;
    row->tag = attached->handle.tag;
    row->is_own = attached->is_own;
    row->is_writable = attached->is_writable;
    return row;
}

/* Sharing it failed: the block is not the caller's, or no record is left. */
static int refuse_share(const struct call *call, int why, struct seg_off off,
                        const struct block *block)
{
    return sharing_is_full(why) ? dispatch_refuse_full(call, why)
                                : dispatch_refuse_block(call, why, off, block);
}

int dispatch_share(const struct call *call)
{
    const Kmem__Share *share = call->request->share;
    const struct sharing of = dispatch_sharing(call);
    const struct seg_off off = {share->offset};
    struct share_handle handle;
    struct block block = {.slot = SLOT_NONE};
    const bool is_shared = sharing_is_shared(call->core, off);
    const int r = sharing_share(&of, off, share->read_only, &handle, &block);
    if (r == 0 && !is_shared) {
        note_block(call, CHANGE_SHARED, &block);
    }
    return r ? refuse_share(call, r, off, &block) : answer_shared(call, &handle);
}

/* ------------------------------------------------------------------------------------ attach -- */

static struct share_handle handle_of(const Kmem__Handle *handle)
{
    return (struct share_handle){handle->instance, handle->generation, handle->tag, handle->offset,
                                 handle->num_bytes};
}

void dispatch_refuse_read_only(const struct call *call, uint32_t share)
{
    const struct core *core = call->core;
    const struct state_share *record = shares_record(&core->shares, share);
    size_t n_bytes;
    const char *reason = reasons_text(&core->reasons, record->reason, &n_bytes);
    char escaped[ESCAPED_REASON_BYTES];
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_DENIED,
                "the block at offset %llu (%llu bytes, \"%s\") is shared for reading only; attach "
                "it without asking to write",
                (unsigned long long)record->offset, (unsigned long long)record->num_bytes,
                text_escape(reason, n_bytes, escaped, sizeof(escaped)));
}

bool dispatch_reader_may(const struct call *call, uint32_t share, bool write)
{
    const struct shares *shares = &call->core->shares;
    const bool is_offered = (shares_word(shares, share) & SHARE_OFFERED) != 0;
    if (!call->peer->client->identity.is_reader || (!write && !is_offered)) {
        return true;
    }
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_DENIED,
                write
                    ? "this process has joined as a reader, and can not attach the block at "
                      "offset %llu for writing; attach it for reading, or join as a member"
                    : "the block at offset %llu is handed over to the first that attaches it, who "
                      "then owns it, and a reader owns none; have a member attach it, or share it "
                      "with kmem_share()",
                (unsigned long long)shares_record(shares, share)->offset);
    call->reply->body.error.offset = shares_record(shares, share)->offset;
    return false;
}

/* Of several, which one is meant: "handle 3 of 5: ". */
static const char *which_handle(const Kmem__Attach *attach, size_t index, char *text,
                                size_t text_bytes)
{
    text[0] = '\0';
    if (attach->n_handles > 1) {
        (void)snprintf(text, text_bytes, "handle %zu of %zu: ", index + 1, attach->n_handles);
    }
    return text;
}

static void refuse_handle(const struct call *call, size_t index, int why)
{
    const Kmem__Attach *attach = call->request->attach;
    const struct core *core = call->core;
    const Kmem__Handle *handle = attach->handles[index];
    char which[64];
    (void)which_handle(attach, index, which, sizeof(which)); /* its buffer */
    if (why == SHARING_E_DENIED) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_DENIED,
                    "%sits tag is wrong; pass the handle on as it was given, all of it", which);
    } else if (handle->instance != core->state.header->instance) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_STALE,
                    "%sit is of another segment than \"%s\" (instance %llx, and not %llx); attach "
                    "it where it was made",
                    which, core->config.segment_name, (unsigned long long)handle->instance,
                    (unsigned long long)core->state.header->instance);
    } else {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_STALE,
                    "%sits block (offset %llu, %llu bytes) is gone, or never was; ask for a new "
                    "handle",
                    which, (unsigned long long)handle->offset,
                    (unsigned long long)handle->num_bytes);
    }
    call->reply->body.error.offset = handle->offset;
    call->reply->body.error.num_bytes = handle->num_bytes;
}

/* Whoever is its owner may, or was handed it, or will be now. */
static bool may_write(const struct shares *shares, uint32_t share, uint32_t slot)
{
    const uint64_t word = shares_word(shares, share);
    const uint32_t hold = shares_hold_of(shares, share, slot);
    return (word & SHARE_READ_ONLY) == 0 || (word & SHARE_OFFERED) != 0 ||
           SHARE_OWNER(word) == slot ||
           (hold != 0 && (shares_hold_word(shares, hold) & HOLD_OWNER) != 0);
}

/*
 * Whether each of them can be attached, before any is. Return: 0, or a SHARING_E_x with the reply;
 * ret_fresh has a bit for each that is not held yet.
 */
static int look_at_all(const struct call *call, uint64_t *ret_fresh)
{
    const Kmem__Attach *attach = call->request->attach;
    const struct shares *shares = &call->core->shares;
    const uint32_t slot = call->peer->client->slot;
    uint32_t n_records = 0;
    *ret_fresh = 0;
    for (size_t i = 0; i < attach->n_handles; i++) {
        const struct share_handle handle = handle_of(attach->handles[i]);
        uint32_t share;
        const int r = shares_find(shares, &handle, &share);
        if (r) {
            refuse_handle(call, i, r == SHARES_E_DENIED ? SHARING_E_DENIED : SHARING_E_STALE);
            return SHARING_E_STALE;
        }
        if (!dispatch_reader_may(call, share, attach->write)) {
            return SHARING_E_DENIED;
        }
        if (attach->write && !may_write(shares, share, slot)) {
            dispatch_refuse_read_only(call, share);
            return SHARING_E_DENIED;
        }
        /* What is offered and picked up stays picked up: its handle leads to it again. */
        const bool is_fresh =
            !dispatch_holds(call, share) && (shares_word(shares, share) & SHARE_OFFERED) == 0;
        *ret_fresh |= (uint64_t)is_fresh << i;
        n_records += shares_hold_of(shares, share, slot) == 0 &&
                     SHARE_OWNER(shares_word(shares, share)) != slot;
    }
    int r = n_records > HOLDS_MAX - 1 - shares->n_holds ? SHARING_E_FULL : 0;
    if (r == 0 &&
        n_records > caps_room(shares->caps, CAP_HOLDS, call->peer->client->identity.uid)) {
        r = SHARING_E_USER_HOLDS;
    }
    if (r) {
        (void)dispatch_refuse_full(call, r);
    }
    return r;
}

/* All or none: those that this request has attached are let go of. */
static void let_go_of_fresh(const struct call *call, uint64_t fresh)
{
    const Kmem__Attach *attach = call->request->attach;
    for (size_t i = 0; i < attach->n_handles; i++) {
        const struct share_handle handle = handle_of(attach->handles[i]);
        struct released released;
        struct block block;
        uint32_t share;
        if ((fresh >> i & 1) == 0 || shares_find(&call->core->shares, &handle, &share) ||
            !dispatch_holds(call, share)) {
            continue;
        }
        const int r = dispatch_let_go(call, (struct seg_off){handle.offset}, 0, &released, &block);
        KMEM_ASSERT(r == 0); /* it is held */
    }
}

/* Attaches each of them. Return: 0 or a SHARING_E_x, with the reply. */
static int attach_all(const struct call *call, Kmem__AttachedBlock **rows)
{
    const Kmem__Attach *attach = call->request->attach;
    const struct sharing of = dispatch_sharing(call);
    const struct sharing_reason reason = {(const char *)attach->reason.data, attach->reason.len};
    for (size_t i = 0; i < attach->n_handles; i++) {
        const struct share_handle handle = handle_of(attach->handles[i]);
        struct attached attached;
        const int r = sharing_attach(&of, &handle, attach->write, reason, &attached);
        if (sharing_is_full(r)) {
            (void)dispatch_refuse_full(call, r);
            return r;
        }
        if (r) {
            refuse_handle(call, i, r);
            return r;
        }
        KMEM_CRASH_POINT("server.attach.one");
        rows[i] = dispatch_attached(call, &attached);
    }
    return 0;
}

static void note_attached(const struct call *call, uint64_t fresh)
{
    const Kmem__Attach *attach = call->request->attach;
    for (size_t i = 0; i < attach->n_handles; i++) {
        if (fresh >> i & 1) {
            note_text(call, CHANGE_ATTACHED, attach->handles[i]->offset,
                      attach->handles[i]->num_bytes, attach->reason.data, attach->reason.len);
        }
    }
}

static int attach_known(const struct call *call)
{
    const Kmem__Attach *attach = call->request->attach;
    struct state_counters *counters = call->core->state.counters;
    Kmem__AttachedBlock **rows =
        reply_take(call->reply, attach->n_handles * sizeof(Kmem__AttachedBlock *));
    struct intent intent;
    uint64_t fresh;
    const bool replays = replay_of(call, INTENT_ATTACH, &intent);
    int r = look_at_all(call, &fresh);
    fresh |= replays ? intent.at : 0;
    if (r == 0) {
        intent = (struct intent){.kind = INTENT_ATTACH, .at = fresh};
        clients_intend(&call->core->clients, call->peer->client->slot, call->request->sequence,
                       &intent);
        KMEM_CRASH_POINT("server.attach.intended");
        r = attach_all(call, rows);
    } else if (!replays) {
        fresh = 0;
    }
    if (r) {
        counters->attaches_refused++;
        let_go_of_fresh(call, fresh);
        return OK;
    }
    counters->attaches += attach->n_handles;
    note_attached(call, fresh);
    kmem__attached__init(&call->reply->body.attached);
    call->reply->body.attached.n_blocks = attach->n_handles;
    call->reply->body.attached.blocks = rows;
    call->reply->response.body_case = KMEM__RESPONSE__BODY_ATTACHED;
    call->reply->response.attached = &call->reply->body.attached;
    return OK;
}

int dispatch_attach(const struct call *call)
{
    const Kmem__Attach *attach = call->request->attach;
    const bool is_possible = attach->n_handles > 0 && attach->n_handles <= SHARE_MANY_MAX;
    if (!is_possible) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "%zu handles can not be attached in one request: 1 to %d can; ask for each %d "
                    "of them",
                    attach->n_handles, SHARE_MANY_MAX, SHARE_MANY_MAX);
    }
    if (!is_possible || !dispatch_reason_is_good(call, attach->reason)) {
        call->core->state.counters->attaches_refused++;
        return OK;
    }
    return attach_known(call);
}

/* ---------------------------------------------------------------------------------- transfer -- */

/*
 * Whether the caller has handed a share of this generation over. Its handle, if somebody has it
 * still; else one that leads to nothing, as any handle of that block does by now.
 */
static bool was_transferred(const struct call *call, uint64_t generation,
                            struct share_handle *ret_handle)
{
    const struct shares *shares = &call->core->shares;
    const uint32_t share = (uint32_t)generation & ((UINT32_C(1) << SHARE_INDEX_BITS) - 1);
    *ret_handle = (struct share_handle){
        .instance = call->core->state.header->instance,
        .generation = generation,
        .offset = call->request->transfer->offset,
    };
    if (!shares_is_live(shares, share) || shares_record(shares, share)->generation != generation) {
        return true;
    }
    *ret_handle = shares_handle(shares, share);
    return !dispatch_holds(call, share);
}

static int refuse_transfer(const struct call *call, struct seg_off off, const struct block *block)
{
    const struct shares *shares = &call->core->shares;
    const uint32_t share = shares_at(shares, off);
    const uint32_t own = shares_hold_of(shares, share, call->peer->client->slot) != 0;
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_HELD,
                "the block at offset %llu (%llu bytes) can not be handed over: %u others hold it, "
                "and %u names mean it; let them go on with it, or have them release it first",
                (unsigned long long)off.bytes, (unsigned long long)block->num_bytes,
                shares_n_holds(shares, share) - own, shares_n_names(shares, share));
    call->reply->body.error.offset = off.bytes;
    call->reply->body.error.num_bytes = block->num_bytes;
    return OK;
}

/* As it is shared now, if it is: a transfer does not change that. */
static bool is_read_only(const struct core *core, struct seg_off off)
{
    const uint32_t share = shares_at(&core->shares, off);
    return share != 0 && (shares_word(&core->shares, share) & SHARE_READ_ONLY) != 0;
}

int dispatch_transfer(const struct call *call)
{
    const Kmem__Transfer *transfer = call->request->transfer;
    const struct sharing of = dispatch_sharing(call);
    const struct seg_off off = {transfer->offset};
    struct share_handle handle;
    struct block block = {.slot = SLOT_NONE};
    struct intent intent;
    if (replay_of(call, INTENT_TRANSFER, &intent) && was_transferred(call, intent.at, &handle)) {
        return answer_shared(call, &handle);
    }
    int r = sharing_share(&of, off, is_read_only(call->core, off), &handle, &block);
    if (r) {
        return refuse_share(call, r, off, &block);
    }
    intent = (struct intent){.kind = INTENT_TRANSFER, .at = handle.generation};
    clients_intend(&call->core->clients, of.client->slot, call->request->sequence, &intent);
    KMEM_CRASH_POINT("server.transfer.intended");
    r = sharing_transfer(&of, off, transfer->keep, &handle, &block);
    if (r == 0) {
        note_block(call, CHANGE_TRANSFERRED, &block);
    }
    KMEM_ASSERT(r == 0 || r == SHARING_E_HELD); /* it is shared, and the caller's to give */
    return r ? refuse_transfer(call, off, &block) : answer_shared(call, &handle);
}
