/* SPDX-License-Identifier: MIT */
/*
 * session.h - one connection: bytes in, frames, requests, responses, bytes out
 *
 * A session has one current request. While its answer is being made, or waits for the
 * peer to read, nothing more is read: a peer that asks and never listens fills its own socket, and
 * costs the daemon one response at the most.
 *
 * What has arrived is served when it is the session's turn (users.h), some requests in a turn; what
 * is left waits for the next one, and the socket with it once the input is full.
 */
#ifndef DAEMON_SERVER_SESSION_H
#define DAEMON_SERVER_SESSION_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "daemon/core/dispatch.h"
#include "daemon/core/users.h"
#include "proto/attributes.h"
#include "proto/limits.h"

struct session_host;

/*
 * 4, or 100 us: a peer that sends one request after the other costs the loop one wait more for each
 * four of them, and delays each other peer by as much, once. A question may cost as much as the
 * four, and more than the time: then it is the only one.
 */
#define TURN_REQUESTS_MAX 4
#define TURN_SESSION_US 100

struct session {
    uv_pipe_t pipe;   /* first: libuv hands it back */
    uv_timer_t timer; /* Hello must come before it fires; from then on an observer's question */
    struct session_host *host;
    struct session *next; /* all sessions of the host */
    struct session *prev;
    struct charge charge; /* of none that is being refused */
    uint64_t n_turn;      /* of the loop, in which it was served last */
    uint64_t heard_ms;    /* when its last request was served */
    struct peer peer;
    int pidfd;             /* of the peer, until it joins; -1: none */
    int way_fds[2];        /* server's and peer's end of a way back, until it is sent; -1: none */
    unsigned handles_open; /* freed when the last is closed */
    bool reading;          /* libuv hands over what arrives */
    bool input_ended;      /* nothing more arrives; what has arrived is served */
    bool hung_up;          /* is closed when it is its turn */
    const char *last_word; /* what it is told then; NULL: nothing */
    bool pending;          /* the answer takes several steps */
    bool waits;            /* likewise, and the next one is made when the session is woken */
    bool tells;            /* it was told once what it watches */
    bool writing;
    bool closing_after_write;
    bool closing;
    uv_write_t write;
    unsigned char *unsent; /* the rest of a response that the socket did not take */
    size_t n_input;
    unsigned char input[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
};

/** session_new() - not open; free() it, or session_open() it. Return: NULL without memory. */
KMEM_MUST_USE struct session *session_new(struct session_host *host);

/**
 * session_open() - a session for a connection; session_read_start() reads from it
 * @fd:  the server's end of the connection; the session's from now on, also on error
 * Return: 0; or a negative errno, and the session is gone.
 */
KMEM_MUST_USE int session_open(struct session *session, int fd);

/**
 * session_answer() - send the server's reply, with the descriptors of a Welcome or without
 * Return: 0 or a negative errno, which means nothing where the session is closed in any case.
 */
int session_answer(struct session *session, bool with_files);

/** session_may_log() - whether a line may be written that peers can cause as often as they like */
bool session_may_log(struct session *session);

/** session_is_out_of_descriptors() - whether that is what an error means */
static inline bool session_is_out_of_descriptors(int error)
{
    return error == -EMFILE || error == -ENFILE;
}

/** session_close_pidfd() - it is not needed any more */
void session_close_pidfd(struct session *session);

/** session_read_start() - take what the peer sends, from now on */
void session_read_start(struct session *session);

/** session_drop_way() - the peer goes without */
void session_drop_way(struct session *session);

/** sessions_wake() - waits_fn: what a session's answer has waited for has come, perhaps */
void sessions_wake(struct wait *wait, void *user);

/** session_turn() - it is its turn: some of what has arrived is served, or its answer goes on */
void session_turn(struct session *session);

/**
 * session_hang_up() - close it when it is its turn: many may end at once
 * @last_word:  a sentence of static life that its peer is told; NULL: nothing
 */
void session_hang_up(struct session *session, const char *last_word);

/** session_close() - end the connection; the session frees itself when libuv has let go */
void session_close(struct session *session);

#endif
