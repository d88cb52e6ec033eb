/* SPDX-License-Identifier: MIT */
/*
 * call.h - one request of one peer, and what its handler needs
 */
#ifndef DAEMON_CORE_CALL_H
#define DAEMON_CORE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/core/placement.h"
#include "daemon/core/reply.h"
#include "daemon/core/resize.h"
#include "daemon/core/roles.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"
#include "proto/share.h"

enum peer_role { PEER_UNKNOWN, PEER_OBSERVER, PEER_READER, PEER_MEMBER, PEER_LEAVING };

enum {
    DISPATCH_OK,       /* the reply is complete */
    DISPATCH_JOINED,   /* so is this one; the descriptors go with it. If the client had
                         another connection, that has been replaced: close it */
    DISPATCH_PENDING,  /* call dispatch_continue() until it says otherwise; take no other request */
    DISPATCH_WAITING,  /* likewise, but not before core_config.wake(), or peer.wait.until_ms */
    DISPATCH_WATCHING, /* likewise, and the reply is complete: send it, unless the peer has not read
                          the last one; the first is sent in any case */
    DISPATCH_CLOSE,    /* the reply is complete; send it and close the connection */
};

struct call;

/** call_fn - answer a request, or make the next step of an answer. Return: DISPATCH_x. */
typedef int (*call_fn)(const struct call *call);

/* A Next, while its answer waits, or a Watch: the request itself is gone. */
struct next_request {
    uint64_t sequence;
    uint64_t after; /* of a Watch: what was told last; 0: the name means nothing */
    bool write;
    bool only_wait;
    bool has_released; /* let go of a block, of: */
    bool kept;         /* that others hold */
    bool stays;        /* it is what the name means now as well: it is held on */
    bool unwritten;    /* that no other than its owner has held for writing */
    uint64_t released_bytes;
    uint8_t n_name_bytes;
    uint8_t n_reason_bytes;
    char name[SHARE_NAME_MAX_BYTES];
    char reason[REASON_MAX_BYTES];
};

/* One end of one connection, as the core sees it. */
struct peer {
    struct client_identity identity;
    uint64_t nonce;  /* by which the client is known again, if it becomes one */
    unsigned may_be; /* roles: the shell found these when it connected; 0: it may ask for nothing */
    enum peer_role role;
    struct client *client;              /* of a member or reader, until it leaves or dies */
    uint32_t generation;                /* the client's */
    bool wants_way;                     /* it can come back by one: ways.h */
    bool watches;                       /* and asks for nothing else */
    call_fn next_step;                  /* of the answer that is pending; NULL: none is */
    call_fn report;                     /* is made when the reader's look is complete */
    uint64_t pending_id;                /* of the request that is answered in steps */
    uint32_t pending_slot;              /* where a report on clients begins */
    uint64_t pending_change;            /* where one on changes does */
    struct scan_reader reader;          /* of the look at all blocks that its answer needs */
    struct placement_request placement; /* what it asked for last, until that is answered */
    struct wait wait;                   /* of an answer that waits */
    struct next_request next;           /* likewise */
    struct resize_request resize;       /* of a Resize that goes on */
    uint32_t resize_pages;              /* and the size that it asked for */
};

struct call {
    struct core *core;
    struct peer *peer;
    const Kmem__Request *request; /* NULL: the answer to an earlier one goes on */
    struct now now;
    struct reply *reply;
};

/**
 * peer_init() - a process has connected
 * @nonce:  random, not 0
 */
void peer_init(struct peer *peer, const struct client_identity *identity, uint64_t nonce);

/** peer_may_administer() - whether it may change settings: roles.h */
static inline bool peer_may_administer(const struct peer *peer)
{
    return (peer->may_be & ROLE_ADMIN) != 0;
}

/** peer_fini() - the connection has ended; the client, if it lives, does not end with it */
void peer_fini(struct core *core, struct peer *peer);

/** call_refuse() - the peer does not speak this protocol. Return: DISPATCH_CLOSE. */
int call_refuse(const struct call *call, const char *sentence);

#endif
