/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "tests/unit/conversation.h"

void conversation_init(struct conversation *conversation, uint32_t n_pages, uint32_t limit)
{
    fixture_init(&conversation->fixture, n_pages, limit);
    conversation->core = &conversation->fixture.core;
    conversation->reply = reply_new();
    conversation->next_id = 1;
    assert_non_null(conversation->reply);
}

void conversation_fini(struct conversation *conversation)
{
    conversation->reply = reply_free(conversation->reply);
    fixture_fini(&conversation->fixture);
}

static struct now conversation_now(const struct conversation *conversation)
{
    const uint64_t now_ms = conversation->fixture.now_ms;
    return (struct now){.ms = now_ms, .us = now_ms * 1000};
}

/* What holds for every outcome. */
static int outcome_check(const struct conversation *conversation, uint64_t id, int outcome)
{
    static unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
    if (outcome != DISPATCH_PENDING && outcome != DISPATCH_WAITING) {
        assert_int_equal(conversation->reply->response.id, id);
        assert_int_not_equal(conversation->reply->response.body_case,
                             KMEM__RESPONSE__BODY__NOT_SET);
        assert_true(frame_encode(&conversation->reply->response.base, frame, sizeof(frame)) > 0);
    }
    return outcome;
}

int ask_request(struct conversation *conversation, struct peer *peer, Kmem__Request *request)
{
    request->id = conversation->next_id++;
    request->sequence = conversation->sequence;
    const int outcome = dispatch(conversation->core, peer, request, conversation_now(conversation),
                                 conversation->reply);
    return outcome_check(conversation, request->id, outcome);
}

#define ASK(body, name)                                                                            \
    Kmem__Request request = KMEM__REQUEST__INIT;                                                   \
    request.body_case = KMEM__REQUEST__BODY_##name;                                                \
    request.body = &body

int ask_hello(struct conversation *conversation, struct peer *peer, uint32_t version, int role)
{
    Kmem__Hello hello = KMEM__HELLO__INIT;
    ASK(hello, HELLO);
    hello.version = version;
    hello.role = (Kmem__Role)role;
    return ask_request(conversation, peer, &request);
}

int ask_resume(struct conversation *conversation, struct peer *peer, uint64_t nonce)
{
    Kmem__Hello hello = KMEM__HELLO__INIT;
    ASK(hello, HELLO);
    hello.version = PROTOCOL_VERSION;
    hello.role = KMEM__ROLE__ROLE_MEMBER;
    hello.resume_nonce = nonce;
    return ask_request(conversation, peer, &request);
}

int ask_allocate(struct conversation *conversation, struct peer *peer, uint64_t num_bytes,
                 const void *reason, size_t n_reason_bytes)
{
    unsigned char bytes[4096];
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    ASK(allocate, ALLOCATE);
    assert_true(n_reason_bytes <= sizeof(bytes));
    if (n_reason_bytes > 0) {
        memcpy(bytes, reason, n_reason_bytes);
        allocate.reason = (ProtobufCBinaryData){n_reason_bytes, bytes};
    }
    allocate.num_bytes = num_bytes;
    return ask_request(conversation, peer, &request);
}

int ask_release(struct conversation *conversation, struct peer *peer, uint64_t offset)
{
    Kmem__Release release = KMEM__RELEASE__INIT;
    ASK(release, RELEASE);
    release.offset = offset;
    return ask_request(conversation, peer, &request);
}

int ask_size_of(struct conversation *conversation, struct peer *peer, uint64_t offset)
{
    Kmem__SizeOf size_of = KMEM__SIZE_OF__INIT;
    ASK(size_of, SIZE_OF);
    size_of.offset = offset;
    return ask_request(conversation, peer, &request);
}

int ask_usage(struct conversation *conversation, struct peer *peer)
{
    Kmem__Usage usage = KMEM__USAGE__INIT;
    ASK(usage, USAGE);
    return ask_request(conversation, peer, &request);
}

int ask_ledger(struct conversation *conversation, struct peer *peer, int by, uint32_t first_row)
{
    Kmem__Ledger ledger = KMEM__LEDGER__INIT;
    ASK(ledger, LEDGER);
    ledger.by = (Kmem__GroupBy)by;
    ledger.first_row = first_row;
    return ask_request(conversation, peer, &request);
}

int ask_blocks(struct conversation *conversation, struct peer *peer, uint64_t from_offset)
{
    Kmem__Blocks blocks = KMEM__BLOCKS__INIT;
    ASK(blocks, BLOCKS);
    blocks.from_offset = from_offset;
    return ask_request(conversation, peer, &request);
}

int ask_clients(struct conversation *conversation, struct peer *peer, uint32_t from_slot)
{
    Kmem__Clients clients = KMEM__CLIENTS__INIT;
    ASK(clients, CLIENTS);
    clients.from_slot = from_slot;
    return ask_request(conversation, peer, &request);
}

int ask_obituaries(struct conversation *conversation, struct peer *peer, uint64_t from_number)
{
    Kmem__Obituaries obituaries = KMEM__OBITUARIES__INIT;
    ASK(obituaries, OBITUARIES);
    obituaries.from_number = from_number;
    return ask_request(conversation, peer, &request);
}

int ask_lease(struct conversation *conversation, struct peer *peer, uint32_t n_pages,
              uint32_t want_pages)
{
    Kmem__Lease lease = KMEM__LEASE__INIT;
    ASK(lease, LEASE);
    lease.n_pages = n_pages;
    lease.want_pages = want_pages;
    return ask_request(conversation, peer, &request);
}

int ask_goodbye(struct conversation *conversation, struct peer *peer)
{
    Kmem__Goodbye goodbye = KMEM__GOODBYE__INIT;
    ASK(goodbye, GOODBYE);
    return ask_request(conversation, peer, &request);
}

int ask_nonsense(struct conversation *conversation, struct peer *peer)
{
    const int outcome = dispatch(conversation->core, peer, NULL, conversation_now(conversation),
                                 conversation->reply);
    return outcome_check(conversation, 0, outcome);
}

int ask_continue(struct conversation *conversation, struct peer *peer)
{
    const int outcome = dispatch_continue(conversation->core, peer, conversation_now(conversation),
                                          conversation->reply);
    return outcome_check(conversation, peer->pending_id, outcome);
}

void peer_open(struct peer *peer, uint32_t pid)
{
    const struct client_identity identity = fixture_identity(pid);
    peer_init(peer, &identity, FIXTURE_NONCE(pid));
}

void peer_open_member(struct conversation *conversation, struct peer *peer, uint32_t pid)
{
    peer_open(peer, pid);
    assert_int_equal(ask_hello(conversation, peer, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_JOINED);
}

void peer_open_observer(struct conversation *conversation, struct peer *peer, uint32_t pid)
{
    peer_open(peer, pid);
    assert_int_equal(ask_hello(conversation, peer, PROTOCOL_VERSION, KMEM__ROLE__ROLE_OBSERVER),
                     DISPATCH_OK);
}

void peer_close(struct conversation *conversation, struct peer *peer)
{
    peer_fini(conversation->core, peer);
}

void assert_error(const struct conversation *conversation, Kmem__ErrorCode code, const char *words)
{
    assert_body(conversation, KMEM__RESPONSE__BODY_ERROR);
    const Kmem__Error *error = conversation->reply->response.error;
    assert_int_equal(error->code, code);
    if (strstr(error->message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error->message, words);
    }
}

void assert_body(const struct conversation *conversation, Kmem__Response__BodyCase body_case)
{
    assert_int_equal(conversation->reply->response.body_case, body_case);
}
