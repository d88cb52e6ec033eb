/* SPDX-License-Identifier: MIT */
/*
 * session.h - one connection: bytes in, frames, requests, responses, bytes out
 *
 * A session has one request in hand at a time. While its answer is being made, or waits for the
 * peer to read, nothing more is read: a peer that asks and never listens fills its own socket, and
 * costs the daemon one response at the most.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "daemon/dispatch.h"
#include "proto/attributes.h"
#include "proto/limits.h"

struct server;

struct session {
    uv_pipe_t pipe; /* first: libuv hands it back */
    uv_timer_t hello_timer;
    struct server *server;
    struct session *next; /* all sessions of the server */
    struct session *prev;
    struct session *next_pending; /* those whose answer takes several steps */
    struct peer peer;
    int pidfd;             /* of the peer, until it joins; -1: none */
    unsigned handles_open; /* freed when the last is closed */
    bool pending;
    bool writing;
    bool closing_after_write;
    bool closing;
    uv_write_t write;
    unsigned char *unsent; /* the rest of a response that the socket did not take */
    size_t n_input;
    unsigned char input[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
};

/**
 * session_accept() - take the next connection from the listening socket
 *
 * Refuses whoever may not join before a byte is read. Return: 0; -ENOMEM, and the connection still
 * waits; or another negative errno, and it is gone.
 */
KMEM_MUST_USE int session_accept(struct server *server, uv_stream_t *listening);

/** session_step() - go on with a pending answer; for server.c's idle work */
void session_step(struct session *session);

/** session_close() - end the connection; the session frees itself when libuv has let go */
void session_close(struct session *session);

#endif
