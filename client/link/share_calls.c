/* SPDX-License-Identifier: MIT */
/*
 * A call whose answer did not come in time does not know what became of its request. It is asked
 * for again, by its sequence number, before anything else is changed; the server answers as it
 * would have then. What that leaves behind, a hold that no caller knows of, is let go of:
 *
 *      Attach, Next     what was attached is released, unless this process holds it anyway
 *      ReleaseMany      its caller was told that the blocks are gone: they are, and what is to
 *                       come home does
 *      Transfer         its caller still has the block: the offer is taken back by attaching it
 *      Publish          it is published; if not, a block that was to be given is released
 *
 * What follows from an answer is known above (ticket.follow), for the holds are there.
 */
#include "client/link/share_calls.h"

#include <errno.h>
#include <string.h>

#include "client/link/ask.h"
#include "proto/crash_point.h"

/* A request, in the messages that it is made of. */
struct message {
    Kmem__Request base;
    union {
        Kmem__Share share;
        Kmem__Attach attach;
        Kmem__ReleaseMany release_many;
        Kmem__Transfer transfer;
        Kmem__Publish publish;
        Kmem__Unpublish unpublish;
        Kmem__Next next;
    };
    Kmem__Handle handles[SHARE_MANY_MAX];
    Kmem__Handle *handle_rows[SHARE_MANY_MAX];
    uint64_t offsets[SHARE_MANY_MAX];
};

static ProtobufCBinaryData text_of(const char *text)
{
    /* protobuf-c reads from what it declares writable. */
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void build_attach(struct message *message, const struct share_request *request)
{
    kmem__attach__init(&message->attach);
    for (uint32_t i = 0; i < request->n_handles; i++) {
        const struct share_handle *handle = &request->handles[i];
        Kmem__Handle *row = &message->handles[i];
        kmem__handle__init(row);
        row->instance = handle->instance;
        row->generation = handle->generation;
        row->tag = handle->tag;
        row->offset = handle->offset;
        row->num_bytes = handle->num_bytes;
        message->handle_rows[i] = row;
    }
    message->attach.n_handles = request->n_handles;
    message->attach.handles = message->handle_rows;
    message->attach.write = request->write;
    message->attach.reason = text_of(request->reason);
    message->base.body_case = KMEM__REQUEST__BODY_ATTACH;
    message->base.attach = &message->attach;
}

static void build_release(struct message *message, const struct share_request *request)
{
    kmem__release_many__init(&message->release_many);
    for (uint32_t i = 0; i < request->n_handles; i++) {
        message->offsets[i] = request->handles[i].offset;
    }
    message->release_many.n_offsets = request->n_handles;
    message->release_many.offsets = message->offsets;
    message->base.body_case = KMEM__REQUEST__BODY_RELEASE_MANY;
    message->base.release_many = &message->release_many;
}

static void build_publish(struct message *message, const struct share_request *request)
{
    kmem__publish__init(&message->publish);
    message->publish.offset = request->offset;
    message->publish.name = text_of(request->name);
    message->publish.give = request->give;
    message->publish.keep = request->keep;
    message->publish.exclusive = request->exclusive;
    message->base.body_case = KMEM__REQUEST__BODY_PUBLISH;
    message->base.publish = &message->publish;
}

static void build_next(struct message *message, const struct share_request *request)
{
    kmem__next__init(&message->next);
    message->next.name = text_of(request->name);
    message->next.after = request->after;
    message->next.write = request->write;
    message->next.reason = text_of(request->reason);
    message->next.release_offset = request->offset;
    message->next.only_wait = request->only_wait;
    message->next.wait_ms = request->wait_ms;
    message->base.body_case = KMEM__REQUEST__BODY_NEXT;
    message->base.next = &message->next;
}

/* Return: the kind of the answer. */
static Kmem__Response__BodyCase build(struct message *message, const struct share_request *request)
{
    kmem__request__init(&message->base);
    switch (request->kind) {
    case SHARE_ATTACH:
        build_attach(message, request);
        return KMEM__RESPONSE__BODY_ATTACHED;
    case SHARE_RELEASE:
        build_release(message, request);
        return KMEM__RESPONSE__BODY_RELEASED_MANY;
    case SHARE_TRANSFER:
        kmem__transfer__init(&message->transfer);
        message->transfer.offset = request->offset;
        message->transfer.keep = request->keep;
        message->base.body_case = KMEM__REQUEST__BODY_TRANSFER;
        message->base.transfer = &message->transfer;
        return KMEM__RESPONSE__BODY_SHARED;
    case SHARE_PUBLISH:
        build_publish(message, request);
        return KMEM__RESPONSE__BODY_PUBLISHED;
    case SHARE_UNPUBLISH:
        kmem__unpublish__init(&message->unpublish);
        message->unpublish.name = text_of(request->name);
        message->base.body_case = KMEM__REQUEST__BODY_UNPUBLISH;
        message->base.unpublish = &message->unpublish;
        return KMEM__RESPONSE__BODY_UNPUBLISHED;
    case SHARE_NEXT:
        build_next(message, request);
        return KMEM__RESPONSE__BODY_NEXTED;
    case SHARE_SHARE:
        break;
    }
    kmem__share__init(&message->share);
    message->share.offset = request->offset;
    message->share.read_only = request->read_only;
    message->base.body_case = KMEM__REQUEST__BODY_SHARE;
    message->base.share = &message->share;
    return KMEM__RESPONSE__BODY_SHARED;
}

/* ------------------------------------------------------------- whether an answer adds up ------ */

static bool block_adds_up(const struct segment *segment, const Kmem__AttachedBlock *block)
{
    const struct seg_off offset = {block->offset};
    return block->num_bytes > 0 && kmem__segment_has_room_at(segment, offset, block->num_bytes) &&
           block->generation != 0;
}

static bool attached_adds_up(const struct segment *segment, const struct share_request *request,
                             const Kmem__Attached *attached)
{
    bool adds_up = attached->n_blocks == request->n_handles;
    for (uint32_t i = 0; adds_up && i < request->n_handles; i++) {
        const Kmem__AttachedBlock *block = attached->blocks[i];
        adds_up = block_adds_up(segment, block) && block->offset == request->handles[i].offset &&
                  (block->is_writable || !request->write);
    }
    return adds_up;
}

static bool answer_adds_up(const struct segment *segment, const struct share_request *request,
                           const Kmem__Response *response)
{
    switch (request->kind) {
    case SHARE_ATTACH:
        return attached_adds_up(segment, request, response->attached);
    case SHARE_RELEASE:
        return response->released_many->n_released +
                   (response->released_many->refused != NULL ? 1 : 0) <=
               request->n_handles;
    case SHARE_SHARE:
    case SHARE_TRANSFER:
        return response->shared->handle != NULL &&
               response->shared->handle->offset == request->offset;
    case SHARE_NEXT:
        return request->only_wait ||
               (response->nexted->block != NULL && block_adds_up(segment, response->nexted->block));
    case SHARE_PUBLISH:
    case SHARE_UNPUBLISH:
        break;
    }
    return true;
}

/* ------------------------------------------------------------------------------------ asking -- */

KMEM_MUST_USE static int share_ask(struct conn *conn, uint64_t sequence,
                                   const struct share_request *request,
                                   const Kmem__Response **ret_response, struct failure *failure)
{
    struct message message;
    const Kmem__Response__BodyCase expected = build(&message, request);
    message.base.sequence = sequence;
    return kmem__ask(conn, &message.base, expected, ret_response, failure);
}

/* Return: 0, and nothing is in doubt; or a fault. */
KMEM_MUST_USE static int share_settle(struct conn *conn, struct failure *failure)
{
    struct ticket *ticket = &conn->ticket;
    bool goes_on = true;
    while (goes_on) {
        const Kmem__Response *response = NULL;
        const int r =
            share_ask(conn, ticket->share_sequence, &ticket->share_in_doubt, &response, failure);
        if (r < 0) {
            return r;
        }
        goes_on = ticket->follow(&ticket->share_in_doubt, response);
        ticket->share_sequence = kmem__ask_sequence(conn);
    }
    ticket->settle = NULL;
    return 0;
}

bool kmem__share_calls_is_doubtful(const struct conn *conn)
{
    return conn->ticket.settle != NULL;
}

int kmem__share_calls_ask(struct conn *conn, const struct segment *segment,
                          const struct share_request *request, const Kmem__Response **ret_response,
                          struct failure *failure)
{
    struct ticket *ticket = &conn->ticket;
    const uint64_t sequence = kmem__ask_sequence(conn);
    KMEM_CRASH_POINT("client.share.asked");
    conn->until_ms += request->wait_ms;
    const int r = share_ask(conn, sequence, request, ret_response, failure);
    if (kmem__ask_is_in_doubt(conn, r) && ticket->follow != NULL) {
        ticket->share_in_doubt = *request;
        ticket->share_in_doubt.wait_ms = 0;
        ticket->share_sequence = sequence;
        ticket->settle = share_settle;
    }
    if (r == CONN_OK && !answer_adds_up(segment, request, *ret_response)) {
        return kmem__conn_lose(conn, failure, EPROTO,
                               "sent an answer about shared blocks that "
                               "does not add up");
    }
    KMEM_CRASH_POINT("client.share.answered");
    return r;
}
