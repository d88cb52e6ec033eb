/* SPDX-License-Identifier: MIT */
/*
 * dispatch.h - what is done with a request
 *
 * Between the bytes of a session and the core: who may ask what, in which order, and what the
 * answer is. Takes no descriptor and no clock, so that a test, or a fuzzer, can hold whole
 * conversations.
 */
#ifndef DAEMON_CORE_DISPATCH_H
#define DAEMON_CORE_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/core/reply.h"
#include "daemon/core/report.h"
#include "daemon/core/placement.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"

enum peer_role { PEER_UNKNOWN, PEER_OBSERVER, PEER_MEMBER, PEER_LEAVING };

/* One end of one connection, as the core sees it. */
struct peer {
    struct client_identity identity;
    uint64_t nonce; /* by which the client is known again, if it becomes one */
    enum peer_role role;
    struct client *client;     /* of a member, until it leaves or dies */
    uint32_t generation;       /* the client's */
    bool wants_way;            /* it can come back by one: ways.h */
    struct scan_reader reader; /* of the look at all blocks that its answer needs */
    uint64_t pending_id;       /* of the request whose answer takes several steps */
    bool asks_usage;           /* else about clients */
    uint32_t pending_slot;     /* where a report on clients begins */
    struct placement_request
        placement; /* what it asked for last, while that waits or is about to be refused */
};

enum {
    DISPATCH_OK,      /* the reply is complete */
    DISPATCH_JOINED,  /* so is this one; the descriptors go with it. If the client had
                         another connection, that has been replaced: close it */
    DISPATCH_PENDING, /* call dispatch_continue() until it says otherwise; take no other request */
    DISPATCH_CLOSE,   /* the reply is complete; send it and close the connection */
};

/**
 * peer_init() - somebody has connected
 * @nonce:  random, not 0
 */
void peer_init(struct peer *peer, const struct client_identity *identity, uint64_t nonce);

/** peer_fini() - the connection has ended; the client, if it lives, does not end with it */
void peer_fini(struct core *core, struct peer *peer);

/** dispatch() - answer a request; NULL stands for bytes that were none */
KMEM_MUST_USE int dispatch(struct core *core, struct peer *peer, const Kmem__Request *request,
                           struct now now, struct reply *reply);

/** dispatch_continue() - go on with the answer that was pending */
KMEM_MUST_USE int dispatch_continue(struct core *core, struct peer *peer, struct now now,
                                    struct reply *reply);

#endif
