/* SPDX-License-Identifier: MIT */
/*
 * session.c - the way of a request
 *
 *      read -> frame complete? -> decode -> dispatch -> encode -> write at once, if the socket
 *                                              |                  takes it; else queue and stop
 *                                              v                  reading
 *                                           pending: stop reading, go on when idle
 *
 * The usual request costs three system calls here: epoll_wait, read, write. The response is written
 * from one buffer of the server; memory is taken only for what a full socket leaves over.
 */
#include "daemon/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/identity.h"
#include "daemon/loop.h"
#include "daemon/server.h"
#include "proto/crash_point.h"

/* 5 lines a second: enough to see that it happens, too few to fill a disk. */
#define REFUSALS_LOGGED 5

static void session_read_start(struct session *session);
static void session_serve(struct session *session);

static void session_handle_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;
    if (--session->handles_open > 0) {
        return;
    }
    if (session->pidfd >= 0) {
        (void)close(session->pidfd); /* nothing is written through it */
    }
    free(session->unsent);
    free(session);
}

void session_close(struct session *session)
{
    if (session->closing) {
        return;
    }
    session->closing = true;
    server_forget(session->server, session);
    peer_fini(&session->server->core, &session->peer);
    uv_close((uv_handle_t *)&session->hello_timer, session_handle_closed);
    uv_close((uv_handle_t *)&session->pipe, session_handle_closed);
}

static void session_written(uv_write_t *write, int status)
{
    struct session *session = write->data;
    session->writing = false;
    free(session->unsent);
    session->unsent = NULL;
    if (session->closing) {
        return;
    }
    if (status < 0 || session->closing_after_write) {
        session_close(session);
        return;
    }
    session_read_start(session);
    session_serve(session);
}

/* Sends what the socket did not take at once, from a copy. */
static int session_write_rest(struct session *session, const unsigned char *bytes, size_t n_bytes)
{
    session->unsent = malloc(n_bytes);
    if (!session->unsent) {
        return -ENOMEM;
    }
    memcpy(session->unsent, bytes, n_bytes);
    const uv_buf_t buffer = uv_buf_init((char *)session->unsent, (unsigned)n_bytes);
    session->write.data = session;
    session->writing = true;
    (void)uv_read_stop((uv_stream_t *)&session->pipe); /* always 0 */
    return uv_write(&session->write, (uv_stream_t *)&session->pipe, &buffer, 1, session_written);
}

/* The response with which the descriptors go: libuv sends no plain ones. */
static ssize_t session_send_with_files(struct session *session, const unsigned char *bytes,
                                       size_t n_bytes)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(WELCOME_DESCRIPTORS * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = n_bytes};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    struct server *server = session->server;
    const struct client *client = session->peer.client;
    int fds[WELCOME_DESCRIPTORS] = {server->segment_fd, -1, server->ledgers.clock_fd};
    _Atomic uint64_t *states; /* the client has it */
    int r = ledgers_open(&server->ledgers, client->slot, &fds[1], &states);
    if (r) {
        return r;
    }
    header->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(header), fds, sizeof(fds));
    uv_os_fd_t fd;
    r = uv_fileno((uv_handle_t *)&session->pipe, &fd);
    if (r) {
        return r;
    }
    const ssize_t n_sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n_sent < 0 ? -errno : n_sent;
}

/* Encodes and sends the server's reply. Return: 0, or a negative errno. */
static int session_answer(struct session *session, bool with_files)
{
    struct server *server = session->server;
    const size_t n_bytes = frame_encode(&server->reply->response.base, server->frame,
                                        FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    KMEM_ASSERT(n_bytes > 0); /* reply_row_fits() saw to it */
    if (with_files) {
        /* The first response on an empty socket: it is taken whole, or something is wrong. */
        const ssize_t n_sent = session_send_with_files(session, server->frame, n_bytes);
        return n_sent < 0 ? (int)n_sent : ((size_t)n_sent < n_bytes ? -EAGAIN : 0);
    }
    uv_buf_t buffer = uv_buf_init((char *)server->frame, (unsigned)n_bytes);
    const int n_written = uv_try_write((uv_stream_t *)&session->pipe, &buffer, 1);
    if (n_written < 0 && n_written != UV_EAGAIN) {
        return n_written;
    }
    const size_t n_sent = n_written < 0 ? 0 : (size_t)n_written;
    return n_sent == n_bytes
               ? 0
               : session_write_rest(session, server->frame + n_sent, n_bytes - n_sent);
}

/*
 * The kernel refuses descriptors that are in flight beyond RLIMIT_NOFILE of the sending user. That
 * passes; the client is asked to come again.
 */
static void session_join_failed(struct session *session, int error)
{
    struct server *server = session->server;
    log_warning("the descriptors of process %u can not be sent: %s", session->peer.identity.pid,
                strerror(-error));
    if (client_charged_bytes(session->peer.client) == 0) {
        /* One that came back with blocks stays, without its connection. */
        core_end(&server->core, session->peer.client, true, server_now().ms);
        server_work(server);
    }
    reply_error(server->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                "the kernel has too many descriptors in flight; try again");
    (void)session_answer(session, false); /* closed in any case */
    session_close(session);
}

static void session_finish(struct session *session, int outcome)
{
    if (outcome == DISPATCH_PENDING) {
        session->pending = true;
        (void)uv_read_stop((uv_stream_t *)&session->pipe); /* always 0 */
        server_wait(session->server, session);
        return;
    }
    if (outcome == DISPATCH_JOINED) {
        const int not_kept = server_joined(session->server, session);
        if (not_kept) {
            session_join_failed(session, not_kept);
        }
        if (session->closing) {
            return;
        }
    }
    if (core_has_dead(&session->server->core)) {
        server_work(session->server); /* Hello may have ended a client */
    }
    KMEM_CRASH_POINT("server.answering");
    const int r = session_answer(session, outcome == DISPATCH_JOINED);
    KMEM_CRASH_POINT("server.answered");
    if (r && outcome == DISPATCH_JOINED) {
        session_join_failed(session, r);
    } else if (r || (outcome == DISPATCH_CLOSE && !session->writing)) {
        session_close(session);
    } else if (outcome == DISPATCH_CLOSE) {
        session->closing_after_write = true;
    }
}

static void session_request(struct session *session, const unsigned char *payload,
                            size_t payload_bytes)
{
    struct server *server = session->server;
    arena_reset(&server->arena);
    const ProtobufCMessage *message =
        frame_decode(&server->arena, &kmem__request__descriptor, payload, payload_bytes);
    const int outcome = dispatch(&server->core, &session->peer, (const Kmem__Request *)message,
                                 server_now(), server->reply);
    if (session->peer.role != PEER_UNKNOWN) {
        (void)uv_timer_stop(&session->hello_timer); /* always 0 */
    }
    session_finish(session, outcome);
}

/* Serves the requests that have arrived whole, as far as answers can be sent. */
static void session_serve(struct session *session)
{
    size_t at = 0;
    while (!session->closing && !session->writing && !session->pending &&
           session->n_input - at >= FRAME_HEADER_BYTES) {
        const uint32_t length = frame_length(session->input + at);
        if (length > REQUEST_MAX_BYTES) {
            /* Refused before it is read: NULL stands for it. */
            session_finish(session, dispatch(&session->server->core, &session->peer, NULL,
                                             server_now(), session->server->reply));
            return;
        }
        if (session->n_input - at - FRAME_HEADER_BYTES < length) {
            break;
        }
        session_request(session, session->input + at + FRAME_HEADER_BYTES, length);
        at += FRAME_HEADER_BYTES + length;
    }
    if (at > 0) {
        memmove(session->input, session->input + at, session->n_input - at);
        session->n_input -= at;
    }
}

void session_step(struct session *session)
{
    struct server *server = session->server;
    const int outcome =
        dispatch_continue(&server->core, &session->peer, server_now(), server->reply);
    session->pending = false;
    session_finish(session, outcome);
    if (session->pending || session->closing || session->writing) {
        return;
    }
    session_read_start(session);
    session_serve(session);
}

static void session_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct session *session = (struct session *)handle;
    *buffer = uv_buf_init((char *)session->input + session->n_input,
                          (unsigned)(sizeof(session->input) - session->n_input));
}

static void session_read(uv_stream_t *stream, ssize_t n_bytes, const uv_buf_t *buffer)
{
    (void)buffer;
    struct session *session = (struct session *)stream;
    if (n_bytes < 0) {
        session_close(session);
        return;
    }
    session->n_input += (size_t)n_bytes;
    session_serve(session);
}

static void session_read_start(struct session *session)
{
    if (uv_read_start((uv_stream_t *)&session->pipe, session_allocate, session_read)) {
        session_close(session);
    }
}

static void session_hello_late(uv_timer_t *timer)
{
    struct session *session = timer->data;
    log_debug("process %u connected and did not say Hello within %d ms", session->peer.identity.pid,
              HELLO_TIMEOUT_MS);
    session_close(session);
}

/* Answers before anything was asked, and ends the connection. */
static void session_refuse(struct session *session, Kmem__ErrorCode code, const char *why)
{
    struct server *server = session->server;
    const struct client_identity *who = &session->peer.identity;
    if (log_limit_pass(&server->refusals_limit, REFUSALS_LOGGED, server_now().ms)) {
        log_warning("process %u of user %u is refused: %s", who->pid, who->uid, why);
    }
    reply_reset(server->reply, 0);
    reply_error(server->reply, code, "kmemd refuses process %u of user %u: %s", who->pid, who->uid,
                why);
    (void)session_answer(session, false); /* closed in any case */
    session_close(session);
}

static void session_begin(struct session *session)
{
    struct server *server = session->server;
    struct client_identity identity;
    uv_os_fd_t fd;
    KMEM_CRASH_POINT("server.accepted");
    int r = uv_fileno((uv_handle_t *)&session->pipe, &fd);
    if (r == 0) {
        r = loop_reserve(&server->loop, fd);
    }
    if (r == 0) {
        r = identity_read(fd, &identity);
    }
    uint64_t nonce = 0;
    if (r == 0 && getrandom(&nonce, sizeof(nonce), 0) < 0) {
        r = -errno;
    }
    nonce += nonce == 0; /* 0 stands for none */
    if (r) {
        session_close(session); /* it is gone, or in a pid namespace that is not visible here */
        return;
    }
    peer_init(&session->peer, &identity, nonce);
    if (!identity_may_join(fd, &identity, server->options->has_group, server->options->group)) {
        session_refuse(session, KMEM__ERROR_CODE__ERROR_DENIED,
                       "only root, the daemon's user and the group given with --group may join");
        return;
    }
    if (server->n_sessions > server->sessions_limit) {
        session_refuse(session, KMEM__ERROR_CODE__ERROR_LIMIT,
                       "there are as many connections as RLIMIT_NOFILE of kmemd allows");
        return;
    }
    session->pidfd = identity_pidfd(fd, &identity);
    if (session->pidfd < 0 ||
        uv_timer_start(&session->hello_timer, session_hello_late, HELLO_TIMEOUT_MS, 0)) {
        session_close(session);
        return;
    }
    session_read_start(session);
}

/* A session with its handles made; on the server's list. */
static int session_new(struct server *server, struct session **ret_session)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session) {
        return -ENOMEM;
    }
    session->server = server;
    session->pidfd = -1;
    int r = uv_pipe_init(&server->loop, &session->pipe, 0);
    if (r) {
        free(session);
        return r;
    }
    (void)uv_timer_init(&server->loop, &session->hello_timer); /* always 0 */
    session->pipe.data = session;
    session->hello_timer.data = session;
    session->handles_open = 2;
    session->next = server->sessions;
    if (session->next) {
        session->next->prev = session;
    }
    server->sessions = session;
    server->n_sessions++;
    *ret_session = session;
    return 0;
}

int session_accept(struct server *server, uv_stream_t *listening)
{
    struct session *session;
    int r = session_new(server, &session);
    if (r) {
        return r;
    }
    r = uv_accept(listening, (uv_stream_t *)&session->pipe);
    if (r) {
        session_close(session);
        return r;
    }
    session_begin(session);
    return 0;
}
