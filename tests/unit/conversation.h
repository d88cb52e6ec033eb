/* SPDX-License-Identifier: MIT */
/*
 * conversation.h - peers that talk to a core through dispatch(), without a socket
 *
 * Every response is encoded as a session would, so that one that does not fit its frame fails the
 * test.
 */
#ifndef TESTS_UNIT_CONVERSATION_H
#define TESTS_UNIT_CONVERSATION_H

#include <stdint.h>

#include "daemon/core/dispatch.h"
#include "tests/unit/fixture.h"
#include "tests/wire/request.h"

struct conversation {
    struct fixture fixture;
    struct core *core; /* the fixture's */
    struct reply *reply;
    uint64_t next_id;
    uint64_t sequence; /* of the requests that follow; 0: they have none */
};

/* A bit for each request that was asked, by its number in the protocol. */
extern uint64_t conversation_asked;

void conversation_init(struct conversation *conversation, uint32_t n_pages, uint32_t limit);

/** conversation_fini() - whoever said Hello has been closed before */
void conversation_fini(struct conversation *conversation);

/* The conversation of a test, in which processes 1 and 2 are members. */
extern struct conversation talk;
extern struct peer alice;
extern struct peer bob;

void talk_begin(uint32_t n_pages, uint32_t limit);
int talk_teardown(void **state);

/** talk_statistic() - as alice is told it */
uint64_t talk_statistic(const char *name);

/** talk_offset() - of the block that the response is about */
uint64_t talk_offset(void);

/** peer_open() - a connection of process `pid` that has not said Hello */
void peer_open(struct peer *peer, uint32_t pid);

/** peer_open_member() - one that has, as a member */
void peer_open_member(struct conversation *conversation, struct peer *peer, uint32_t pid);

/** peer_open_reader() - one that has, for reading only */
void peer_open_reader(struct conversation *conversation, struct peer *peer, uint32_t pid);

void peer_open_observer(struct conversation *conversation, struct peer *peer, uint32_t pid);

/** peer_close() - its connection ends */
void peer_close(struct conversation *conversation, struct peer *peer);

/* Each asks, and returns the outcome; the response is in conversation->reply. */
/** ask_request() - any request, which is given the next id */
int ask_request(struct conversation *conversation, struct peer *peer, Kmem__Request *request);
int ask_hello(struct conversation *conversation, struct peer *peer, uint32_t version, int role);
/** ask_resume() - Hello as a member that comes back */
int ask_resume(struct conversation *conversation, struct peer *peer, uint64_t nonce);
int ask_allocate(struct conversation *conversation, struct peer *peer, uint64_t num_bytes,
                 const void *reason, size_t n_reason_bytes);
int ask_release(struct conversation *conversation, struct peer *peer, uint64_t offset);
int ask_size_of(struct conversation *conversation, struct peer *peer, uint64_t offset);
int ask_usage(struct conversation *conversation, struct peer *peer);
int ask_ledger(struct conversation *conversation, struct peer *peer, int by, uint32_t first_row);
int ask_blocks(struct conversation *conversation, struct peer *peer, uint64_t from_offset);
int ask_clients(struct conversation *conversation, struct peer *peer, uint32_t from_slot);
int ask_obituaries(struct conversation *conversation, struct peer *peer, uint64_t from_number);
int ask_lease(struct conversation *conversation, struct peer *peer, uint32_t n_pages,
              uint32_t want_pages);
int ask_goodbye(struct conversation *conversation, struct peer *peer);
/** ask_nonsense() - bytes that are no request */
int ask_nonsense(struct conversation *conversation, struct peer *peer);
/** ask_continue() - one more step of a pending answer */
int ask_continue(struct conversation *conversation, struct peer *peer);

/** assert_error() - the response is this error, a sentence with these words in it */
void assert_error(const struct conversation *conversation, Kmem__ErrorCode code, const char *words);

/** assert_body() - the response is of this kind */
void assert_body(const struct conversation *conversation, Kmem__Response__BodyCase body_case);

#endif
