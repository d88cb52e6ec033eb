/* SPDX-License-Identifier: MIT */
/*
 * handshake.c - who becomes a client, and who is one again
 *
 * A Hello comes over a connection, whose peer the kernel has named, or over a client's own way back
 * (ways.c), which the daemon gave to that client alone; there the nonce is all that it needs.
 */
#include "daemon/core/handshake.h"

#include <string.h>

#include "daemon/core/dispatch_changes.h"
#include "daemon/core/refuse.h"
#include "daemon/core/report.h"
#include "proto/limits.h"

static int welcome(const struct call *call, bool resumed)
{
    const struct core *core = call->core;
    const struct client *client = call->peer->client;
    const char *name = core->config.segment_name;
    Kmem__Welcome *body = &call->reply->body.welcome;
    kmem__welcome__init(body);
    body->version = PROTOCOL_VERSION;
    body->segment_name = reply_string(call->reply, name, strlen(name));
    body->segment_bytes = core_most_bytes(core);
    body->page_bytes = PAGE_BYTES;
    body->instance = core->config.instance;
    body->granule_bytes = core->config.granule_bytes;
    if (client) {
        body->slot = client->slot;
        body->n_descriptors = WELCOME_DESCRIPTORS;
        body->resume_nonce = client->nonce;
        body->resumed = resumed;
        body->dumps = core->config.dumps;
        body->walled =
            client->identity.is_reader && readers_are_walled(&core->clients, client->identity.uid);
    }
    call->reply->response.body_case = KMEM__RESPONSE__BODY_WELCOME;
    call->reply->response.welcome = body;
    return client ? DISPATCH_JOINED : DISPATCH_OK;
}

static enum peer_role role_of(const struct client *client)
{
    return client->identity.is_reader ? PEER_READER : PEER_MEMBER;
}

/* Of one that joins. */
static unsigned role_asked(const Kmem__Hello *hello)
{
    return hello->role == KMEM__ROLE__ROLE_READER ? ROLE_READER : ROLE_MEMBER;
}

/* A client stays what it joined as, whatever its user and groups may be now. */
static int role_check(const struct peer *peer, const Kmem__Hello *hello)
{
    const unsigned may_be = peer->may_be;
    if (hello->resume_nonce != 0 || (may_be & role_asked(hello)) != 0) {
        return 0;
    }
    return may_be == 0                   ? CLIENTS_E_NO_ROLE
           : (may_be & ROLE_READER) != 0 ? CLIENTS_E_ONLY_READS
                                         : CLIENTS_E_ONLY_OBSERVES;
}

static int refuse_join(const struct call *call, int why)
{
    refuse_note_join(call, why);
    report_join_refused(call->core, why, call->peer->identity.uid, call->reply);
    return DISPATCH_CLOSE;
}

static int observe(const struct call *call)
{
    if ((call->peer->may_be & ROLE_OBSERVER) == 0) {
        return refuse_join(call, CLIENTS_E_NO_ROLE);
    }
    call->peer->role = PEER_OBSERVER;
    return welcome(call, false);
}

static int join_or_resume(const struct call *call)
{
    struct peer *peer = call->peer;
    const uint64_t nonce = call->request->hello->resume_nonce;
    return nonce != 0
               ? core_resume(call->core, &peer->identity, nonce, &peer->client)
               : core_join(call->core, &peer->identity, peer->nonce, call->now.ms, &peer->client);
}

static int join(const struct call *call)
{
    struct peer *peer = call->peer;
    const Kmem__Hello *hello = call->request->hello;
    const bool resumes = hello->resume_nonce != 0;
    peer->identity.program = hello->program;
    peer->identity.copy = hello->copy;
    peer->identity.is_reader = hello->role == KMEM__ROLE__ROLE_READER;
    peer->wants_way = hello->wants_way;
    int r = role_check(peer, hello);
    r = r ? r : join_or_resume(call);
    if (r) {
        return refuse_join(call, r);
    }
    peer->generation = peer->client->generation;
    peer->role = role_of(peer->client);
    if (!resumes) {
        note_text(call, CHANGE_JOINED, 0, 0, NULL, 0);
    }
    return welcome(call, resumes);
}

static bool version_is_spoken(const Kmem__Hello *hello, struct reply *reply)
{
    const bool is_spoken = PROTOCOL_MAJOR(hello->version) == PROTOCOL_MAJOR(PROTOCOL_VERSION);
    if (!is_spoken) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_VERSION,
                    "this daemon speaks version %u.%u of the protocol, not %u.%u; "
                    "use the library that came with it",
                    PROTOCOL_MAJOR(PROTOCOL_VERSION), PROTOCOL_VERSION & 0xffff,
                    PROTOCOL_MAJOR(hello->version), hello->version & 0xffff);
    }
    return is_spoken;
}

int hello_answer(const struct call *call)
{
    const Kmem__Hello *hello = call->request->hello;
    if (!version_is_spoken(hello, call->reply)) {
        return DISPATCH_CLOSE;
    }
    if (hello->role == KMEM__ROLE__ROLE_MEMBER || hello->role == KMEM__ROLE__ROLE_READER) {
        return join(call);
    }
    if (hello->role == KMEM__ROLE__ROLE_OBSERVER) {
        return observe(call);
    }
    return call_refuse(call, "Hello without a role that this daemon knows");
}

int hello_return(struct core *core, uint32_t slot, const Kmem__Request *request, struct peer *peer,
                 struct reply *reply)
{
    const struct call call = {.core = core, .peer = peer, .request = request, .reply = reply};
    core->state.counters->requests++;
    reply_reset(reply, request ? request->id : 0);
    if (!request || request->body_case != KMEM__REQUEST__BODY_HELLO ||
        (request->hello->role != KMEM__ROLE__ROLE_MEMBER &&
         request->hello->role != KMEM__ROLE__ROLE_READER)) {
        return call_refuse(&call, "on its way back a client says Hello, as a member or a reader");
    }
    if (!version_is_spoken(request->hello, reply)) {
        return DISPATCH_CLOSE;
    }
    struct client *client;
    const int r = core_return(core, slot, request->hello->resume_nonce,
                              request->hello->role == KMEM__ROLE__ROLE_READER, &client);
    if (r) {
        report_join_refused(core, r, 0, reply);
        return DISPATCH_CLOSE;
    }
    peer_init(peer, &client->identity, client->nonce);
    peer->role = role_of(client);
    peer->client = client;
    peer->generation = client->generation;
    return welcome(&call, true);
}
