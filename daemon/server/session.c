/* SPDX-License-Identifier: MIT */
/*
 * session.c - the way of a request
 *
 *      read -> wait for the turn -> decode -> dispatch -> encode -> write at once, if the socket
 *                     ^                          |                  takes it; else queue and stop
 *                     |                          v                  reading
 *                     |------ pending: stop reading, go on in the next turn
 *                     '------ waiting: go on when it is woken, at the latest when its time is up;
 *                              watching: the same again and again, with a word each time
 *
 * Reading comes first, for all sockets that are ready; then sessions get their turns, a few
 * requests each (turns.h). A session that has more than that waits in the line again. Its
 * socket is read until the input is full: what else its peer sends waits in the kernel.
 *
 * The usual request costs three system calls here: epoll_wait, read, write. The response is written
 * from one buffer of the host; memory is taken only for what a full socket leaves over.
 */
#include "daemon/server/session.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/core/fair.h"
#include "daemon/core/sharing.h"
#include "daemon/server/loop.h"
#include "daemon/server/session_host.h"
#include "proto/crash_point.h"

static void session_go_on(struct session *session);

/* Whether a line may be written that peers can cause as often as they like. */
bool session_may_log(struct session *session)
{
    return log_limit_pass(&session->host->refusals_limit, REFUSALS_LOGGED_A_SECOND, loop_now().ms);
}

void session_close_pidfd(struct session *session)
{
    if (session->pidfd >= 0) {
        (void)close(session->pidfd); /* nothing is written through it */
        session->pidfd = -1;
    }
}

void session_drop_way(struct session *session)
{
    for (size_t i = 0; i < 2; i++) {
        if (session->way_fds[i] >= 0) {
            (void)close(session->way_fds[i]); /* nothing was written through it */
            session->way_fds[i] = -1;
        }
    }
}

static void session_handle_closed(uv_handle_t *handle)
{
    struct session *session = handle->data;
    if (--session->handles_open > 0) {
        return;
    }
    session_close_pidfd(session);
    session_drop_way(session);
    free(session->unsent);
    free(session);
}

/* It is on no list, and charged to nobody. */
static void session_forget(struct session *session)
{
    struct session_host *host = session->host;
    if (session->next) {
        session->next->prev = session->prev;
    }
    if (session->prev) {
        session->prev->next = session->next;
    } else {
        host->sessions = session->next;
    }
    host->n_sessions--;
    users_discharge(host->users, &session->charge);
    const struct client *client = session->peer.client;
    if (client && host->session_of[client->slot] == session) {
        host->session_of[client->slot] = NULL;
    }
}

void session_close(struct session *session)
{
    if (session->closing) {
        return;
    }
    session->closing = true;
    session_forget(session);
    peer_fini(session->host->core, &session->peer);
    uv_close((uv_handle_t *)&session->timer, session_handle_closed);
    uv_close((uv_handle_t *)&session->pipe, session_handle_closed);
}

static void session_read_stop(struct session *session)
{
    session->reading = false;
    (void)uv_read_stop((uv_stream_t *)&session->pipe); /* always 0 */
}

/* session_turn() is called when it is the session's turn: users.h */
static void session_wait(struct session *session)
{
    fair_add(&session->charge.fair);
    session_host_work(session->host); /* or the loop might wait for something to arrive */
}

void session_hang_up(struct session *session, const char *last_word)
{
    if (!session->closing) {
        session->host->core->state.counters->connections_dropped += last_word != NULL;
        session->hung_up = true;
        session->last_word = last_word;
        session_read_stop(session);
        session_wait(session);
    }
}

static void session_written(uv_write_t *write, int status)
{
    struct session *session = write->data;
    session->writing = false;
    free(session->unsent);
    session->unsent = NULL;
    users_unqueue(session->host->users, &session->charge);
    if (session->closing) {
        return;
    }
    if (status < 0 || session->closing_after_write) {
        session_close(session);
        return;
    }
    session_go_on(session);
}

/* Sends what the socket did not take at once, from a copy. */
static int session_write_rest(struct session *session, const unsigned char *bytes, size_t n_bytes)
{
    const int full = session_host_queue(session->host, &session->charge, session->peer.identity.pid,
                                        (uint32_t)n_bytes);
    session->unsent = full ? NULL : malloc(n_bytes);
    if (!session->unsent) {
        return full ? full : -ENOMEM;
    }
    memcpy(session->unsent, bytes, n_bytes);
    const uv_buf_t buffer = uv_buf_init((char *)session->unsent, (unsigned)n_bytes);
    session->write.data = session;
    session->writing = true;
    session_read_stop(session);
    return uv_write(&session->write, (uv_stream_t *)&session->pipe, &buffer, 1, session_written);
}

static uint32_t welcome_descriptors(const struct session *session)
{
    return session->way_fds[1] >= 0 ? WELCOME_DESCRIPTORS_MAX : WELCOME_DESCRIPTORS;
}

/* The response with which the descriptors go. */
static ssize_t session_send_with_files(const struct session *session, size_t n_bytes)
{
    uv_os_fd_t fd;
    const int r = uv_fileno((const uv_handle_t *)&session->pipe, &fd);
    return r ? r
             : session_host_welcome(session->host, fd, n_bytes, session->peer.client,
                                    session->way_fds[1]);
}

/* Encodes and sends the server's reply. Return: 0, or a negative errno. */
int session_answer(struct session *session, bool with_files)
{
    struct session_host *host = session->host;
    if (with_files) {
        host->reply->body.welcome.n_descriptors = welcome_descriptors(session);
    }
    const size_t n_bytes = session_host_encode(host);
    if (with_files) {
        /* The first response on an empty socket: it is taken whole, or something is wrong. */
        const ssize_t n_sent = session_send_with_files(session, n_bytes);
        session_drop_way(session); /* the peer has its end */
        return n_sent < 0 ? (int)n_sent : ((size_t)n_sent < n_bytes ? -EAGAIN : 0);
    }
    uv_buf_t buffer = uv_buf_init((char *)host->frame, (unsigned)n_bytes);
    const int n_written = uv_try_write((uv_stream_t *)&session->pipe, &buffer, 1);
    if (n_written < 0 && n_written != UV_EAGAIN) {
        return n_written;
    }
    const size_t n_sent = n_written < 0 ? 0 : (size_t)n_written;
    return n_sent == n_bytes ? 0
                             : session_write_rest(session, host->frame + n_sent, n_bytes - n_sent);
}

/*
 * The kernel refuses descriptors that are in flight beyond RLIMIT_NOFILE of the sending user, or
 * memory. That passes; the client is asked to come again. One that has closed its end, or does not
 * read, is told nothing.
 */
static void session_join_failed(struct session *session, int error)
{
    struct session_host *host = session->host;
    struct client *client = session->peer.client;
    if (session_may_log(session)) {
        char pid[PID_TEXT_BYTES];
        log_warning("process %s can not join: its descriptors can not be made or sent: %s",
                    client_pid_text(session->peer.identity.pid, pid), strerror(-error));
    }
    if (client_charged_bytes(client) == 0 && !sharing_has_any(host->core, client->slot)) {
        /* One that came back with blocks or holds stays, without its connection. */
        core_end(host->core, client, true, loop_now().ms);
        session_host_work(host);
    }
    if (session_is_out_of_descriptors(error)) {
        reply_error(host->reply, KMEM__ERROR_CODE__ERROR_LIMIT,
                    "kmemd has no descriptor left for another client: %s", strerror(-error));
    } else {
        reply_error(host->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "the system does not give what a client needs: %s; try again",
                    strerror(-error));
    }
    (void)session_answer(session, false); /* closed in any case */
    session_close(session);
}

/* A Hello may have ended a client: it has no connection any more, whoever has that. */
static void session_close_ended(const struct session_host *host)
{
    const struct client *client = clients_next(&host->core->clients, 0);
    for (; client && core_has_dead(host->core);
         client = clients_next(&host->core->clients, client->slot + 1)) {
        struct session *session = host->session_of[client->slot];
        if (client->client_state == CLIENT_ENDED && session && session->peer.role != PEER_LEAVING) {
            session_close(session);
        }
    }
}

/* The time that an answer may wait for is up. */
static void session_waited(uv_timer_t *timer)
{
    session_wait(timer->data);
}

/*
 * Nothing is done for the session until it is woken. Its socket is read on, as long as there is
 * room: else its end would not be seen.
 */
static void session_sleep(struct session *session)
{
    const uint64_t now_ms = loop_now().ms;
    const uint64_t until_ms = session->peer.wait.until_ms;
    session->pending = true;
    session->waits = true;
    if (until_ms == WAIT_FOR_EVER) {
        (void)uv_timer_stop(&session->timer); /* always 0 */
        return;
    }
    (void)uv_timer_start(&session->timer, session_waited, until_ms > now_ms ? until_ms - now_ms : 1,
                         0); /* it is not closing */
}

/* Whether the peer has not read all that it was sent: as the kernel counts it, or libuv has it. */
static bool session_is_unread(const struct session *session)
{
    uv_os_fd_t fd;
    int n_bytes = 0;
    return session->writing || (uv_fileno((const uv_handle_t *)&session->pipe, &fd) == 0 &&
                                ioctl(fd, SIOCOUTQ, &n_bytes) == 0 && n_bytes > 0);
}

/*
 * Says that a watched name has changed, unless the last word is unread: its reader has yet to look,
 * and will see this change as well. So nothing grows here for a peer that does not read.
 */
static void session_tell(struct session *session)
{
    const bool is_first = !session->tells;
    session->tells = true;
    if (is_first || !session_is_unread(session)) {
        const int r = session_answer(session, false);
        if (r) {
            session_close(session);
            return;
        }
    }
    session_sleep(session);
}

void sessions_wake(struct wait *wait, void *user)
{
    (void)user;
    struct peer *peer = (struct peer *)((char *)wait - offsetof(struct peer, wait));
    session_wait((struct session *)((char *)peer - offsetof(struct session, peer)));
}

static void session_finish(struct session *session, int outcome)
{
    if (outcome == DISPATCH_WAITING) {
        session_sleep(session);
        return;
    }
    if (outcome == DISPATCH_WATCHING) {
        session_tell(session);
        return;
    }
    if (outcome == DISPATCH_PENDING) {
        session->pending = true;
        session_read_stop(session);
        return;
    }
    if (outcome == DISPATCH_JOINED) {
        const int not_kept = session->host->joined(session, session->host->user);
        if (not_kept) {
            session_join_failed(session, not_kept);
            return;
        }
    }
    if (core_has_dead(session->host->core)) {
        session_host_work(session->host); /* Hello may have ended a client */
    }
    if (session->peer.role == PEER_UNKNOWN) {
        session_close_ended(session->host);
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

static void session_idle(uv_timer_t *timer)
{
    struct session *session = timer->data;
    const uint64_t idle_ms = loop_now().ms - session->heard_ms;
    if (!session->pending && idle_ms >= OBSERVER_TIMEOUT_MS) {
        session_hang_up(session, "nothing was asked over this connection for a minute: "
                                 "kmemd closes it, and takes another one");
        return;
    }
    const uint64_t rest_ms = session->pending ? OBSERVER_TIMEOUT_MS : OBSERVER_TIMEOUT_MS - idle_ms;
    (void)uv_timer_start(timer, session_idle, rest_ms, 0); /* it is not closing */
}

/* Hello was said, and the peer is what it will be. */
static void session_greeted(struct session *session)
{
    struct session_host *host = session->host;
    (void)uv_timer_stop(&session->timer); /* always 0 */
    if (session->peer.role == PEER_OBSERVER) {
        session_close_pidfd(session); /* that its process has ended is of no interest */
        users_charge_observer(host->users, &session->charge);
        (void)uv_timer_start(&session->timer, session_idle, OBSERVER_TIMEOUT_MS, 0); /* likewise */
    } else {
        users_charge_client(host->users, &session->charge);
    }
}

static void session_request(struct session *session, const unsigned char *payload,
                            size_t payload_bytes, struct now now)
{
    struct session_host *host = session->host;
    const bool is_greeted = session->peer.role != PEER_UNKNOWN;
    arena_reset(&host->arena);
    const ProtobufCMessage *message =
        frame_decode(&host->arena, &kmem__request__descriptor, payload, payload_bytes);
    const int outcome =
        dispatch(host->core, &session->peer, (const Kmem__Request *)message, now, host->reply);
    session->heard_ms = now.ms;
    if (!is_greeted && session->peer.role != PEER_UNKNOWN) {
        session_greeted(session);
    }
    session_finish(session, outcome);
}

/* Whether a request has arrived whole at that place, or the length of one that is refused. */
static bool session_has_frame(const struct session *session, size_t at)
{
    const size_t n_bytes = session->n_input - at;
    if (n_bytes < FRAME_HEADER_BYTES) {
        return false;
    }
    const uint32_t length = frame_length(session->input + at);
    return length > REQUEST_MAX_BYTES || n_bytes - FRAME_HEADER_BYTES >= length;
}

static bool session_can_answer(const struct session *session)
{
    return !session->closing && !session->writing && !session->pending;
}

/* Refuses a frame before it is read: NULL stands for it. */
static void session_refuse_frame(struct session *session, struct now now)
{
    struct session_host *host = session->host;
    session->n_input = 0;
    session_finish(session, dispatch(host->core, &session->peer, NULL, now, host->reply));
}

/* Serves requests that have arrived whole: as many as a turn has, as far as answers can be sent. */
static void session_serve(struct session *session)
{
    const struct session_host *host = session->host;
    size_t at = 0;
    struct now now = loop_now();
    const uint64_t end_us = now.us + TURN_SESSION_US;
    for (uint32_t n = 0;
         n < TURN_REQUESTS_MAX && session_can_answer(session) && session_has_frame(session, at);
         n++) {
        const uint32_t length = frame_length(session->input + at);
        if (length > REQUEST_MAX_BYTES) {
            session_refuse_frame(session, now);
            return;
        }
        now = n > 0 ? loop_now() : now;
        if (now.us >= end_us) {
            break;
        }
        session_request(session, session->input + at + FRAME_HEADER_BYTES, length, now);
        at += FRAME_HEADER_BYTES + length;
    }
    if (at > 0) {
        /* At once: what all clients take in a tick is more than there was to spare. */
        client_files_set_spare(host->ledgers, host->core->shortage.n_spare_pages);
        memmove(session->input, session->input + at, session->n_input - at);
        session->n_input -= at;
    }
}

static void session_step(struct session *session)
{
    struct session_host *host = session->host;
    const int outcome = dispatch_continue(host->core, &session->peer, loop_now(), host->reply);
    if (session->waits) {
        (void)uv_timer_stop(&session->timer); /* always 0 */
        if (session->peer.role == PEER_OBSERVER) {
            session_idle(&session->timer); /* which it was, until it waited */
        }
    }
    host->has_worked |= !session->waits;
    session->pending = false;
    session->waits = false;
    session_finish(session, outcome);
}

/* Says why, if there is something to say and the socket takes it, and closes. */
static void session_end(struct session *session)
{
    struct reply *reply = session->host->reply;
    if (session->last_word && !session->writing) {
        reply_reset(reply, 0);
        reply_error(reply, KMEM__ERROR_CODE__ERROR_GONE, "%s", session->last_word);
        (void)session_answer(session, false); /* closed in any case */
    }
    session_close(session);
}

/* Serves some of what has arrived, or goes on with the answer that is being made. */
void session_turn(struct session *session)
{
    if (session->hung_up) {
        session_end(session);
        return;
    }
    if (session->pending) {
        session_step(session);
    } else {
        session_serve(session);
    }
    session_go_on(session);
}

/*
 * Its answer waits, and may wait for long: if the peer is not there any more, it is not made. One
 * that watches may wait for ever, and its input must not fill up: its end would not be seen.
 */
static void session_forget_if_gone(struct session *session)
{
    if (session->input_ended) {
        session_hang_up(session, NULL);
    } else if (session->peer.watches && session->n_input > 0) {
        session_hang_up(session, "a connection that watches a name takes no other request");
    }
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
        session->input_ended = true; /* or it can not be read: what has arrived is served */
        session_read_stop(session);
    } else {
        session->n_input += (size_t)n_bytes;
    }
    if (session->n_input == sizeof(session->input)) {
        session_read_stop(session);
    }
    if (session->waits) {
        session_forget_if_gone(session);
    } else if (session->input_ended || session_has_frame(session, 0)) {
        fair_add(&session->charge.fair); /* the turns of this turn of the loop come next */
    }
}

void session_read_start(struct session *session)
{
    session->reading = true;
    if (uv_read_start((uv_stream_t *)&session->pipe, session_allocate, session_read)) {
        session_close(session);
    }
}

/* What comes next: more of what has arrived, the end, or more bytes. */
static void session_go_on(struct session *session)
{
    if (session->closing || session->writing) {
        return;
    }
    if (session->waits) {
        session_forget_if_gone(session);
        if (!session->hung_up && !session->reading && session->n_input < sizeof(session->input)) {
            session_read_start(session);
        }
    } else if (session->pending || session_has_frame(session, 0)) {
        session_wait(session);
    } else if (session->input_ended) {
        session_close(session);
    } else if (!session->reading) {
        session_read_start(session);
    }
}

/* The handles of a session, which is on the host's list from then on. */
static int session_init(struct session *session)
{
    struct session_host *host = session->host;
    const int r = uv_pipe_init(host->loop, &session->pipe, 0);
    if (r) {
        return r;
    }
    (void)uv_timer_init(host->loop, &session->timer); /* always 0 */
    session->pipe.data = session;
    session->timer.data = session;
    session->handles_open = 2;
    session->next = host->sessions;
    if (session->next) {
        session->next->prev = session;
    }
    host->sessions = session;
    host->n_sessions++;
    return 0;
}

int session_open(struct session *session, int fd)
{
    int r = session_init(session);
    if (r) {
        (void)close(fd); /* nothing was said */
        free(session);
        return r;
    }
    r = uv_pipe_open(&session->pipe, fd);
    if (r) {
        (void)close(fd); /* the pipe did not take it */
        session_close(session);
    }
    return r;
}

struct session *session_new(struct session_host *host)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session) {
        session->host = host;
        session->pidfd = -1;
        session->way_fds[0] = -1;
        session->way_fds[1] = -1;
    }
    return session;
}
