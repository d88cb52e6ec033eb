/* SPDX-License-Identifier: MIT */
/*
 * conn.h - one blocking connection to the daemon: a request, its response, a deadline
 */
#ifndef CLIENT_LINK_CONN_H
#define CLIENT_LINK_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "client/link/descriptor.h"
#include "client/link/locate.h"
#include "proto/attributes.h"
#include "proto/frame.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "proto/share.h"

struct conn;
struct notice_file;

enum share_kind {
    SHARE_SHARE,
    SHARE_ATTACH,
    SHARE_RELEASE, /* the blocks at the offsets of `handles`: ReleaseMany */
    SHARE_TRANSFER,
    SHARE_PUBLISH,
    SHARE_UNPUBLISH,
    SHARE_NEXT,
};

/* What is asked about shared blocks; a request of a kind uses what that is about. */
struct share_request {
    enum share_kind kind;
    bool write, keep, give, exclusive, read_only, only_wait;
    uint32_t n_handles;
    struct share_handle handles[SHARE_MANY_MAX];
    uint64_t offset; /* of the block; of SHARE_NEXT: what is let go of, or 0 */
    uint64_t after;
    uint32_t wait_ms; /* how long the answer of SHARE_NEXT may take, beside the call's own time */
    char name[SHARE_NAME_MAX_BYTES + 1];
    char reason[REASON_MAX_BYTES + 1];
};

/**
 * share_follow - the answer has come to a request whose caller did not wait for it
 * @request:   what was asked; becomes what is to be asked next, so that nothing is left behind
 * @response:  the answer; an Error if it was refused
 * Return: whether there is something to be asked.
 */
typedef bool (*share_follow)(struct share_request *request, const Kmem__Response *response);

/* What became of a connection, in words that go on from "it": "has ended". */
#define LOSS_BYTES 160

/*
 * What makes this process the same client over another connection. All zero: nothing does; a lost
 * connection is lost then.
 */
struct ticket {
    uint64_t nonce;    /* the daemon's word for this client, private; 0: it gave none */
    uint64_t sequence; /* of the next request that changes something */
    uint64_t instance; /* these three: what the daemon must say again */
    uint64_t segment_bytes;
    uint32_t slot;
    bool is_reader;             /* its role, which it says again */
    struct mark way;            /* by which to come back without the path; it may have none */
    uint64_t way_id;            /* of the last request on it */
    int timeout_ms;             /* for a call as a whole, however often its connection is lost */
    struct notice_file *notice; /* whether the segment has ended; NULL: it is not looked at */
    bool is_gone;               /* the daemon does not know this client any more */
    bool was_vain; /* no daemon came back in time: from now on one try, without waiting */
    /* A change that was asked for, and whose answer did not come in time; sequence 0: none. */
    struct in_doubt {
        uint64_t sequence;
        uint64_t offset;    /* of the block that was to be released; 0: one was to be allocated */
        uint64_t num_bytes; /* what was asked for then: these two */
        char reason[REASON_MAX_BYTES + 1];
    } in_doubt;
    /* Likewise of a request about shared blocks: see share_calls.h. settle NULL: none. */
    struct share_request share_in_doubt;
    uint64_t share_sequence;
    int (*settle)(struct conn *conn, struct failure *failure);
    share_follow follow;
};

/*
 * All of it in place, 1.1 MiB: no call of the library allocates memory for a message. What is not
 * touched costs nothing where the struct is mapped or calloc()ed: a client's answers touch one page
 * of each array.
 *
 * fd == -1: not connected, or lost if loss is not empty.
 */
struct conn {
    int fd;
    struct mark mark; /* of fd */
    bool is_way;      /* fd is the ticket's way: it stays open, and answers may be old ones */
    int timeout_ms;   /* how long to wait for an answer */
    int blocks_ms;    /* how long a recv() waits at most */
    int64_t until_ms; /* by kmem__monotonic_ms(): when calls.c gives the present call up */
    uint64_t last_id;
    bool is_cut;   /* lost to the daemon's end, to time or to a fault: another may do */
    bool is_ahead; /* the answer to the last request is to be read by kmem__conn_hear() */
    struct ticket ticket;
    char path[SOCKET_PATH_BYTES];
    char loss[LOSS_BYTES];
    struct arena arena;
    /* A request, then the response to it. */
    unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
    _Alignas(16) unsigned char arena_bytes[RESPONSE_ARENA_BYTES];
};

/*
 * 4: today's daemon sends one at most. What does not fit is seen (MSG_CTRUNC) and is an error.
 */
#define DESCRIPTORS_MAX 4

/* Descriptors that came with a response; begins empty. */
struct descriptors {
    int fd[DESCRIPTORS_MAX];
    unsigned int n_fds;
    bool is_truncated; /* there were more */
};

enum {
    CONN_OK,
    CONN_E_REFUSED, /* the response is the daemon's Error */
    CONN_E_OLD,     /* within conn.c: to a request that was given up before this one */
};

/**
 * kmem__conn_open() - take over a stream socket
 * @conn:        not open
 * @fd:          a socket, not necessarily connected; the conn's from now on, also on error
 * @path:        where the daemon is, for messages
 * @timeout_ms:  how long to wait for an answer, 1 at least
 * @failure:     receives the sentence
 *
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int kmem__conn_open(struct conn *conn, int fd, const char *path, int timeout_ms,
                                  struct failure *failure);

/** kmem__conn_close() - close it without a word; allowed if it is closed already */
void kmem__conn_close(struct conn *conn);

/**
 * kmem__conn_ask() - send a request and wait for its response
 * @conn:          open
 * @request:       its id is set here
 * @expected:      the only kind of response, beside Error, that answers this request
 * @descriptors:   receives the descriptors that come with it, close-on-exec, the caller's for
 *                 CONN_OK; NULL: there are none, and the kernel closes what comes all the same
 * @ret_response:  lives until the next request; written for CONN_OK and CONN_E_REFUSED
 * @failure:       receives the sentence of a fault
 *
 * Return: CONN_OK; CONN_E_REFUSED; or a fault, after which the connection is closed and every
 * further request is -ECONNRESET:
 *   -ECONNRESET  the daemon has ended, or the connection was lost before
 *   -ETIMEDOUT   it did not answer in time
 *   -EPROTO      it sent what is no response to this
 */
KMEM_MUST_USE int kmem__conn_ask(struct conn *conn, Kmem__Request *request,
                                 Kmem__Response__BodyCase expected, struct descriptors *descriptors,
                                 const Kmem__Response **ret_response, struct failure *failure);

/**
 * kmem__conn_lose() - give the connection up; no further request is sent
 * @conn:     open
 * @failure:  receives "the daemon at PATH it_did"
 * @error:    a positive errno
 * @it_did:   what the daemon did, from the verb on
 *
 * Return: -error.
 */
int kmem__conn_lose(struct conn *conn, struct failure *failure, int error, const char *it_did);

/** kmem__ticket_end() - this process is no client any more: forget all, close the way back */
void kmem__ticket_end(struct ticket *ticket);

/** kmem__descriptors_close() - close all of them */
void kmem__descriptors_close(struct descriptors *descriptors);

/** kmem__monotonic_ms() - a clock for deadlines: never set back, some milliseconds coarse */
int64_t kmem__monotonic_ms(void);

/**
 * kmem__conn_ask_ahead() - send a request, and go on with the last response, which stays as it is
 *
 * The only calls that may follow are kmem__conn_hear() and kmem__conn_close().
 * Return: 0 or a fault, as kmem__conn_ask() has it; then no answer is due.
 */
KMEM_MUST_USE int kmem__conn_ask_ahead(struct conn *conn, Kmem__Request *request,
                                       struct failure *failure);

/** kmem__conn_hear() - wait for the answer to it. Return: as kmem__conn_ask() has it. */
KMEM_MUST_USE int kmem__conn_hear(struct conn *conn, Kmem__Response__BodyCase expected,
                                  const Kmem__Response **ret_response, struct failure *failure);

/**
 * kmem__conn_ask_unread() - kmem__conn_ask() for a short answer, which stays in the socket
 * Return: as kmem__conn_ask(). No other request may follow.
 */
KMEM_MUST_USE int kmem__conn_ask_unread(struct conn *conn, Kmem__Request *request,
                                        Kmem__Response__BodyCase expected,
                                        const Kmem__Response **ret_response,
                                        struct failure *failure);

#endif
