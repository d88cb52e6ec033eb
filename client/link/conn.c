/* SPDX-License-Identifier: MIT */
/*
 * The library talks to the daemon in turns: a request goes out, its response comes back, nothing
 * else is under way:
 *
 *      fstat()  send()              is the descriptor still ours; never waits
 *      recv()                       header and payload at once; waits for SO_RCVTIMEO at most
 *
 * The latter is the fast path and nearly always all of it, in a program of one thread. A signal, a
 * short read or a time-out lead to the slow one, which knows the deadline:
 *
 *      poll()  fstat()  recv()      waits until then; is it still ours; does not wait
 *
 * A program may close all descriptors, as daemons do, or put its own in their place. Our number is
 * its socket then: a request sent there would be bytes among its own, what is read its peer's, and
 * without our time limit it would be waited for without one. So the descriptor is looked at before
 * it is used; device and inode of a socket are no other's. In a program with threads another may
 * close it at any moment, also between send() and recv(), so there nothing but poll() ever waits.
 * (Measured, a pair of round trips over a bare echo: 1.19 without, 1.21 so, 1.26 if all polled.) A
 * descriptor that is not ours any more is left alone, and the connection is lost: calls.c comes
 * back over another.
 *
 * Any fault ends the connection, because after it no side knows which bytes belong to what: the
 * descriptor is closed at once and what happened is kept for later calls. A lost connection is not
 * opened again here; the caller decides what that means.
 *
 * Every number that comes in is compared before it is used: the length with RESPONSE_MAX_BYTES, the
 * id with the request's, the kind of body with what was asked for; the arena bounds what decoding
 * can take. Descriptors are received only where they are expected; with a plain recv() the kernel
 * drops them.
 *
 * A query of many pages asks for the next one before it hands on the rows of this one
 * (kmem__conn_ask_ahead()): both sides work at the same time. One request is ahead at most, and its
 * answer is read, to its last byte and no further, before anything else is asked.
 *
 * The caller sees to it that one thread at a time is in here.
 */
#include "client/link/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/crash_point.h"

int64_t kmem__monotonic_ms(void)
{
    struct timespec now;
    /* Coarse: 4 ms of error do not matter in a deadline; 23 ns do, in every round trip. */
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ----------------------------------------------------------------------------- descriptors ---- */

void kmem__descriptors_close(struct descriptors *descriptors)
{
    while (descriptors->n_fds > 0) {
        descriptors->n_fds--;
        (void)close(descriptors->fd[descriptors->n_fds]);
    }
}

static void descriptors_add(struct descriptors *descriptors, int fd)
{
    if (descriptors->n_fds == DESCRIPTORS_MAX) {
        descriptors->is_truncated = true;
        (void)close(fd);
        return;
    }
    descriptors->fd[descriptors->n_fds] = fd;
    descriptors->n_fds++;
}

/* Takes every descriptor of a message, so that each of them is closed. */
static void descriptors_take(struct descriptors *descriptors, struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n_fds = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n_fds; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            descriptors_add(descriptors, fd);
        }
    }
    if (message->msg_flags & MSG_CTRUNC) {
        descriptors->is_truncated = true;
    }
}

/* ------------------------------------------------------------------------ opening, closing ---- */

void kmem__ticket_end(struct ticket *ticket)
{
    kmem__mark_close(&ticket->way);
    *ticket = (struct ticket){.nonce = 0};
}

void kmem__conn_close(struct conn *conn)
{
    if (conn->fd >= 0 && !conn->is_way) {
        kmem__mark_close(&conn->mark);
    }
    conn->mark.inode = 0;
    conn->fd = -1;
}

int kmem__conn_lose(struct conn *conn, struct failure *failure, int error, const char *it_did)
{
    (void)snprintf(conn->loss, sizeof(conn->loss), "%s", it_did);
    kmem__conn_close(conn);
    return kmem__failure_set(failure, error, "the daemon at %s %s", conn->path, it_did);
}

KMEM_MUST_USE static int conn_tell_loss(const struct conn *conn, struct failure *failure)
{
    return kmem__failure_set(failure, ECONNRESET,
                             "the connection to the daemon at %s was given up earlier: it %s",
                             conn->path, conn->loss[0] != '\0' ? conn->loss : "was left");
}

int kmem__conn_open(struct conn *conn, int fd, const char *path, int timeout_ms,
                    struct failure *failure)
{
    const struct timeval timeout = {
        .tv_sec = timeout_ms / 1000,
        .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000,
    };
    conn->fd = fd;
    conn->mark = kmem__mark_of(fd);
    conn->is_way = false;
    const int r = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    const int error = conn->mark.inode == 0 ? ENOMEM : r < 0 ? errno : 0;
    conn->timeout_ms = timeout_ms;
    conn->blocks_ms = timeout_ms;
    conn->last_id = 0;
    conn->is_cut = false;
    conn->is_ahead = false;
    conn->loss[0] = '\0';
    (void)snprintf(conn->path, sizeof(conn->path), "%s", path);
    arena_init(&conn->arena, conn->arena_bytes, sizeof(conn->arena_bytes));
    return error == 0 ? 0 : kmem__conn_lose(conn, failure, error, "can not be given a time limit");
}

/* ----------------------------------------------------------------------------- losing ways ---- */

KMEM_MUST_USE static int conn_lose_to_end(struct conn *conn, struct failure *failure)
{
    conn->is_cut = true;
    return kmem__conn_lose(conn, failure, ECONNRESET, "has ended or closed the connection");
}

KMEM_MUST_USE static int conn_lose_to_time(struct conn *conn, struct failure *failure)
{
    char it_did[LOSS_BYTES];
    conn->is_cut = true;
    /* A call has its time as a whole, of which this was the rest. */
    const int timeout_ms = conn->ticket.timeout_ms > 0 ? conn->ticket.timeout_ms : conn->timeout_ms;
    (void)snprintf(it_did, sizeof(it_did), "did not answer within %d ms", timeout_ms);
    return kmem__conn_lose(conn, failure, ETIMEDOUT, it_did);
}

KMEM_MUST_USE static int conn_lose_to_fault(struct conn *conn, struct failure *failure, int error)
{
    char it_did[LOSS_BYTES];
    if (error == ECONNRESET || error == EPIPE) {
        return conn_lose_to_end(conn, failure);
    }
    conn->is_cut = true;
    (void)snprintf(it_did, sizeof(it_did), "can not be reached: %s", strerror(error));
    return kmem__conn_lose(conn, failure, error, it_did);
}

/* The program has closed the descriptor, or has put its own in its place. */
KMEM_MUST_USE static int conn_lose_to_program(struct conn *conn, struct failure *failure)
{
    conn->is_cut = true;
    return kmem__conn_lose(conn, failure, ECONNRESET,
                           "can not be reached: the program has closed the library's descriptor");
}

KMEM_MUST_USE static int conn_lose_to_nonsense(struct conn *conn, struct failure *failure,
                                               const char *what)
{
    char it_did[LOSS_BYTES];
    (void)snprintf(it_did, sizeof(it_did), "sent what is no answer (%s)", what);
    return kmem__conn_lose(conn, failure, EPROTO, it_did);
}

/* ---------------------------------------------------------------------- sending, receiving ---- */

/*
 * 1 s: poll() goes by the number, so a descriptor that is replaced while it waits is never ready.
 * More often would wake threads that wait for a daemon that stands still; the call is late by it.
 */
#define LOOK_MS 1000

/*
 * With RLIMIT_NOFILE 0, as a program has it that locks itself in, poll() takes no descriptor.
 * Return: 1: look whether there is something.
 */
static int conn_pause(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
    return 1;
}

/* Waits until the socket is ready or the deadline has passed. Return: 0 or a fault. */
KMEM_MUST_USE static int conn_wait(struct conn *conn, short events, int64_t deadline_ms,
                                   struct failure *failure)
{
    for (;;) {
        struct pollfd socket = {.fd = conn->fd, .events = events};
        const int64_t left_ms = deadline_ms - kmem__monotonic_ms();
        if (left_ms <= 0) {
            return conn_lose_to_time(conn, failure);
        }
        int n_ready = poll(&socket, 1, left_ms > LOOK_MS ? LOOK_MS : (int)left_ms);
        if (n_ready < 0 && errno == EINVAL) {
            n_ready = conn_pause();
        }
        if (n_ready < 0 && errno != EINTR) {
            return conn_lose_to_fault(conn, failure, errno);
        }
        if (!kmem__mark_holds(&conn->mark)) {
            return conn_lose_to_program(conn, failure);
        }
        if (n_ready > 0) {
            return 0;
        }
    }
}

/*
 * A daemon that has closed may have said why before: EPIPE is not the end yet, the response is
 * still looked for.
 */
KMEM_MUST_USE static int conn_send(struct conn *conn, size_t num_bytes, int64_t deadline_ms,
                                   struct failure *failure)
{
    size_t sent_bytes = 0;
    while (sent_bytes < num_bytes) {
        if (!kmem__mark_holds(&conn->mark)) {
            return conn_lose_to_program(conn, failure);
        }
        const ssize_t n = send(conn->fd, conn->frame + sent_bytes, num_bytes - sent_bytes,
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent_bytes += (size_t)n;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0;
        } else if (errno != EINTR && errno != EAGAIN) {
            return conn_lose_to_fault(conn, failure, errno);
        }
        if (sent_bytes < num_bytes) {
            int r = conn_wait(conn, POLLOUT, deadline_ms, failure);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

/* How much may be read at once: behind an answer that was asked for ahead, a last word may come. */
static size_t conn_room(const struct conn *conn, size_t at)
{
    if (!conn->is_ahead) {
        return sizeof(conn->frame) - at;
    }
    return at < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES - at
                                   : FRAME_HEADER_BYTES + frame_length(conn->frame) - at;
}

static ssize_t conn_read_with_descriptors(struct conn *conn, size_t at, int flags,
                                          struct descriptors *descriptors)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
    } control;
    struct iovec into = {.iov_base = conn->frame + at, .iov_len = sizeof(conn->frame) - at};
    struct msghdr message = {
        .msg_iov = &into,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t n = recvmsg(conn->fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (n >= 0) {
        descriptors_take(descriptors, &message);
    }
    return n;
}

static ssize_t conn_read(struct conn *conn, size_t at, int flags, struct descriptors *descriptors)
{
    if (descriptors != NULL) {
        return conn_read_with_descriptors(conn, at, flags, descriptors);
    }
    return recv(conn->fd, conn->frame + at, conn_room(conn, at), flags);
}

/*
 * Whether the bytes that are there are a whole frame.
 * Return: 1 yes, 0 not yet, or a fault: no frame can begin like that.
 */
KMEM_MUST_USE static int conn_is_whole(struct conn *conn, size_t num_bytes, struct failure *failure)
{
    if (num_bytes < FRAME_HEADER_BYTES) {
        return 0;
    }
    uint32_t payload_bytes = frame_length(conn->frame);
    if (payload_bytes > RESPONSE_MAX_BYTES) {
        return conn_lose_to_nonsense(conn, failure, "a frame beyond the limit");
    }
    if (num_bytes > FRAME_HEADER_BYTES + (size_t)payload_bytes) {
        return conn_lose_to_nonsense(conn, failure, "more than one response");
    }
    return num_bytes == FRAME_HEADER_BYTES + (size_t)payload_bytes;
}

/* 100 ms: that a wait may take so much longer than it should is not worth a system call. */
#define SPENT_MS 100

/*
 * Whether a recv() may be what waits: the descriptor was ours a moment ago, and nothing but this
 * thread could change that; and the time limit that it has is not too long.
 */
static bool conn_may_block(const struct conn *conn)
{
    return __libc_single_threaded && conn->blocks_ms - SPENT_MS <= conn->timeout_ms;
}

/* Reads one frame. Return: 0 or a fault. */
KMEM_MUST_USE static int conn_receive(struct conn *conn, int64_t deadline_ms,
                                      struct descriptors *descriptors, struct failure *failure)
{
    size_t num_bytes = 0;
    bool may_block = conn_may_block(conn);
    for (;;) {
        int r = may_block ? 0 : conn_wait(conn, POLLIN, deadline_ms, failure);
        if (r < 0) {
            return r;
        }
        const int flags = may_block ? 0 : MSG_DONTWAIT;
        const ssize_t n = conn_read(conn, num_bytes, flags, descriptors);
        if (n == 0) {
            return conn_lose_to_end(conn, failure);
        }
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return conn_lose_to_fault(conn, failure, errno);
        }
        if (n > 0) {
            num_bytes += (size_t)n;
            const int whole = conn_is_whole(conn, num_bytes, failure);
            if (whole != 0) {
                return whole < 0 ? whole : 0;
            }
        }
        may_block = false;
    }
}

/* ------------------------------------------------------------------------------ round trip ---- */

/* Checks a response against its request. Return: CONN_OK, CONN_E_REFUSED or a fault. */
KMEM_MUST_USE static int conn_judge(struct conn *conn, const Kmem__Response *response,
                                    Kmem__Response__BodyCase expected, struct failure *failure)
{
    bool is_error = response->body_case == KMEM__RESPONSE__BODY_ERROR;
    /* Id 0 answers no request: the daemon says why it closes the connection. */
    bool is_last_word = is_error && response->id == 0;
    if (conn->is_way && !is_last_word && response->id < conn->last_id) {
        return CONN_E_OLD;
    }
    if (response->id != conn->last_id && !is_last_word) {
        return conn_lose_to_nonsense(conn, failure, "to another request");
    }
    if (is_error && response->error->code == KMEM__ERROR_CODE__ERROR_PROTOCOL) {
        int r = kmem__conn_lose(conn, failure, EPROTO, "did not understand the request");
        kmem__failure_add(failure, ": ");
        kmem__failure_add_sentence(failure, response->error->message);
        return r;
    }
    if (is_last_word) {
        conn->is_cut = false;
        (void)snprintf(conn->loss, sizeof(conn->loss), "has closed the connection");
        kmem__conn_close(conn);
    }
    if (is_error) {
        return CONN_E_REFUSED;
    }
    if (response->body_case != expected) {
        return conn_lose_to_nonsense(conn, failure, "of another kind");
    }
    return CONN_OK;
}

KMEM_MUST_USE static int conn_decode(struct conn *conn, Kmem__Response__BodyCase expected,
                                     const Kmem__Response **ret_response, struct failure *failure)
{
    arena_reset(&conn->arena);
    const Kmem__Response *response = (const Kmem__Response *)frame_decode(
        &conn->arena, &kmem__response__descriptor, conn->frame + FRAME_HEADER_BYTES,
        frame_length(conn->frame));
    if (response == NULL) {
        return conn_lose_to_nonsense(conn, failure, "bytes that can not be decoded");
    }
    int r = conn_judge(conn, response, expected, failure);
    if (r >= 0) {
        *ret_response = response;
    }
    return r;
}

/* The answer; on a way back, after those to questions that were given up. */
KMEM_MUST_USE static int conn_hear(struct conn *conn, int64_t deadline_ms,
                                   Kmem__Response__BodyCase expected,
                                   struct descriptors *descriptors,
                                   const Kmem__Response **ret_response, struct failure *failure)
{
    int r;
    do {
        r = conn_receive(conn, deadline_ms, descriptors, failure);
        r = r < 0 ? r : conn_decode(conn, expected, ret_response, failure);
        if (r == CONN_E_OLD && descriptors != NULL) {
            kmem__descriptors_close(descriptors);
        }
    } while (r == CONN_E_OLD);
    return r;
}

/* Sends a request. Return: 0 or a fault. */
KMEM_MUST_USE static int conn_say(struct conn *conn, Kmem__Request *request, int64_t deadline_ms,
                                  struct failure *failure)
{
    if (conn->fd < 0) {
        return conn_tell_loss(conn, failure);
    }
    conn->last_id++;
    request->id = conn->last_id;
    size_t num_bytes =
        frame_encode(&request->base, conn->frame, FRAME_HEADER_BYTES + REQUEST_MAX_BYTES);
    if (num_bytes == 0) {
        return kmem__failure_set(failure, EMSGSIZE, "the request is larger than %d bytes",
                                 REQUEST_MAX_BYTES);
    }
    int r = conn_send(conn, num_bytes, deadline_ms, failure);
    KMEM_CRASH_POINT("client.sent");
    return r;
}

int kmem__conn_ask(struct conn *conn, Kmem__Request *request, Kmem__Response__BodyCase expected,
                   struct descriptors *descriptors, const Kmem__Response **ret_response,
                   struct failure *failure)
{
    const int64_t deadline_ms = kmem__monotonic_ms() + conn->timeout_ms;
    int r = conn_say(conn, request, deadline_ms, failure);
    r = r ? r : conn_hear(conn, deadline_ms, expected, descriptors, ret_response, failure);
    KMEM_CRASH_POINT("client.answered");
    if (r != CONN_OK && descriptors != NULL) {
        kmem__descriptors_close(descriptors);
    }
    return r;
}

int kmem__conn_ask_ahead(struct conn *conn, Kmem__Request *request, struct failure *failure)
{
    const int r = conn_say(conn, request, kmem__monotonic_ms() + conn->timeout_ms, failure);
    conn->is_ahead = r == 0;
    return r;
}

int kmem__conn_hear(struct conn *conn, Kmem__Response__BodyCase expected,
                    const Kmem__Response **ret_response, struct failure *failure)
{
    const int64_t deadline_ms = kmem__monotonic_ms() + conn->timeout_ms;
    const int r = conn_hear(conn, deadline_ms, expected, NULL, ret_response, failure);
    conn->is_ahead = false;
    return r;
}

int kmem__conn_ask_unread(struct conn *conn, Kmem__Request *request,
                          Kmem__Response__BodyCase expected, const Kmem__Response **ret_response,
                          struct failure *failure)
{
    const int64_t deadline_ms = kmem__monotonic_ms() + conn->timeout_ms;
    int r = conn_say(conn, request, deadline_ms, failure);
    r = r ? r : conn_wait(conn, POLLIN, deadline_ms, failure);
    if (r < 0) {
        return r;
    }
    /* So short a frame is sent, and comes, whole. */
    const ssize_t n = recv(conn->fd, conn->frame, sizeof(conn->frame), MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) {
        return n == 0 ? conn_lose_to_end(conn, failure) : conn_lose_to_fault(conn, failure, errno);
    }
    r = conn_is_whole(conn, (size_t)n, failure);
    if (r == 0) {
        return conn_lose_to_nonsense(conn, failure, "a part of a frame");
    }
    return r < 0 ? r : conn_decode(conn, expected, ret_response, failure);
}
