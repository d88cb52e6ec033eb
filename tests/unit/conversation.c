/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "proto/limits.h"
#include "tests/unit/conversation.h"
#include "tests/unit/statistic.h"
#include "tests/unit/unit.h"

uint64_t conversation_asked;

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
    if (request->body_case < 64) { /* a test may ask for what is no request */
        conversation_asked |= UINT64_C(1) << request->body_case;
    }
    request->id = conversation->next_id++;
    request->sequence = conversation->sequence;
    const int outcome = dispatch(conversation->core, peer, request, conversation_now(conversation),
                                 conversation->reply);
    return outcome_check(conversation, request->id, outcome);
}

int ask_hello(struct conversation *conversation, struct peer *peer, uint32_t version, int role)
{
    struct request request;
    (void)request_hello(&request, (Kmem__Role)role, 0);
    request.hello.version = version;
    return ask_request(conversation, peer, &request.base);
}

int ask_resume(struct conversation *conversation, struct peer *peer, uint64_t nonce)
{
    return ask_request(conversation, peer,
                       request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, nonce));
}

int ask_allocate(struct conversation *conversation, struct peer *peer, uint64_t num_bytes,
                 const void *reason, size_t n_reason_bytes)
{
    return ask_request(conversation, peer,
                       request_allocate(NEW_REQUEST, num_bytes, reason, n_reason_bytes));
}

int ask_release(struct conversation *conversation, struct peer *peer, uint64_t offset)
{
    return ask_request(conversation, peer, request_release(NEW_REQUEST, offset));
}

int ask_size_of(struct conversation *conversation, struct peer *peer, uint64_t offset)
{
    return ask_request(conversation, peer, request_size_of(NEW_REQUEST, offset));
}

int ask_usage(struct conversation *conversation, struct peer *peer)
{
    return ask_request(conversation, peer, request_usage(NEW_REQUEST));
}

int ask_ledger(struct conversation *conversation, struct peer *peer, int by, uint32_t first_row)
{
    return ask_request(conversation, peer,
                       request_ledger(NEW_REQUEST, (Kmem__GroupBy)by, first_row));
}

int ask_blocks(struct conversation *conversation, struct peer *peer, uint64_t from_offset)
{
    return ask_request(conversation, peer, request_blocks(NEW_REQUEST, from_offset));
}

int ask_clients(struct conversation *conversation, struct peer *peer, uint32_t from_slot)
{
    return ask_request(conversation, peer, request_clients(NEW_REQUEST, from_slot));
}

int ask_obituaries(struct conversation *conversation, struct peer *peer, uint64_t from_number)
{
    return ask_request(conversation, peer, request_obituaries(NEW_REQUEST, from_number));
}

int ask_lease(struct conversation *conversation, struct peer *peer, uint32_t n_pages,
              uint32_t want_pages)
{
    return ask_request(conversation, peer, request_lease(NEW_REQUEST, n_pages, want_pages));
}

int ask_goodbye(struct conversation *conversation, struct peer *peer)
{
    return ask_request(conversation, peer, request_goodbye(NEW_REQUEST));
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
    peer->may_be = ROLES_ALL;
}

void peer_open_member(struct conversation *conversation, struct peer *peer, uint32_t pid)
{
    peer_open(peer, pid);
    assert_int_equal(ask_hello(conversation, peer, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER),
                     DISPATCH_JOINED);
}

void peer_open_reader(struct conversation *conversation, struct peer *peer, uint32_t pid)
{
    peer_open(peer, pid);
    assert_int_equal(ask_hello(conversation, peer, PROTOCOL_VERSION, KMEM__ROLE__ROLE_READER),
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

/* ------------------------------------------------------------------- the one of most tests ---- */

struct conversation talk;
struct peer alice;
struct peer bob;

void talk_begin(uint32_t n_pages, uint32_t limit)
{
    conversation_init(&talk, n_pages, limit);
    peer_open_member(&talk, &alice, 1);
    peer_open_member(&talk, &bob, 2);
}

int talk_teardown(void **state)
{
    assert_int_equal(core_check(talk.core), 0);
    peer_close(&talk, &alice);
    peer_close(&talk, &bob);
    conversation_fini(&talk);
    return 0;
}

uint64_t talk_statistic(const char *name)
{
    assert_int_equal(ask_usage(&talk, &alice), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_USAGE);
    return statistic_of(talk.reply->response.usage, name);
}

uint64_t talk_offset(void)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
    return talk.reply->response.allocated->offset;
}
