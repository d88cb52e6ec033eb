/* SPDX-License-Identifier: MIT */
#include "client/link/calls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/link/ask.h"
#include "client/link/notice.h"
#include "client/link/refusal.h"
#include "proto/crash_point.h"

/* ------------------------------------------------------------- answers that came too late ---- */

/*
 * A call that gave up waiting does not know what became of its request, which may still lie in the
 * daemon's socket. Before anything else is changed it is asked for again, by its sequence number,
 * so that then it has happened, once, and no other block can have come to the same place meanwhile.
 *
 * An allocation has told its caller that there is no block: it is made and released. A release has
 * told its caller that the block is gone: it is. It could not have told him to try again: the place
 * may be another block's by then, and the second try would release that. What is to be said of a
 * release that was wrong comes too late, and is not said.
 *
 * A lease leaves nothing behind: leased pages that are unused are the daemon's to take.
 */
static void in_doubt_note(struct conn *conn, uint64_t sequence, struct seg_off offset,
                          uint64_t num_bytes, const char *reason)
{
    struct in_doubt *in_doubt = &conn->ticket.in_doubt;
    in_doubt->sequence = sequence;
    in_doubt->offset = offset.bytes;
    in_doubt->num_bytes = num_bytes;
    (void)snprintf(in_doubt->reason, sizeof(in_doubt->reason), "%s", reason);
}

KMEM_MUST_USE static int ask_allocate(struct conn *conn, uint64_t sequence, uint64_t num_bytes,
                                      const char *reason, unsigned how,
                                      const struct waiting *waiting,
                                      const Kmem__Response **ret_response, struct failure *failure)
{
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    allocate.num_bytes = num_bytes;
    allocate.may_again = (how & ALLOCATE_MAY_AGAIN) != 0;
    allocate.shareable = (how & ALLOCATE_SHAREABLE) != 0;
    allocate.ticket = waiting != NULL ? waiting->ticket : 0;
    allocate.wait_ms = waiting != NULL ? waiting->wait_ms : 0;
    allocate.reason.len = strlen(reason);
    /* protobuf-c reads from what it declares writable. */
    allocate.reason.data = (uint8_t *)(uintptr_t)reason;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    request.sequence = sequence;
    return kmem__ask(conn, &request, KMEM__RESPONSE__BODY_ALLOCATED, ret_response, failure);
}

KMEM_MUST_USE static int ask_release(struct conn *conn, uint64_t sequence, struct seg_off offset,
                                     const Kmem__Response **ret_response, struct failure *failure)
{
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Release release = KMEM__RELEASE__INIT;
    release.offset = offset.bytes;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &release;
    request.sequence = sequence;
    return kmem__ask(conn, &request, KMEM__RESPONSE__BODY_RELEASED, ret_response, failure);
}

/* The block that was asked for: from now on it is one to be released. Return: 0 or a fault. */
KMEM_MUST_USE static int in_doubt_allocate(struct conn *conn, struct failure *failure)
{
    struct in_doubt *in_doubt = &conn->ticket.in_doubt;
    const Kmem__Response *response = NULL;
    const int r = ask_allocate(conn, in_doubt->sequence, in_doubt->num_bytes, in_doubt->reason, 0,
                               NULL, &response, failure);
    if (r == CONN_OK) {
        in_doubt->offset = response->allocated->offset;
        in_doubt->sequence = kmem__ask_sequence(conn);
    }
    if (r == CONN_E_REFUSED || in_doubt->offset == 0) {
        in_doubt->sequence = r < 0 ? in_doubt->sequence : 0; /* there is no block */
    }
    return r < 0 ? r : 0;
}

int kmem__calls_settle(struct conn *conn, struct failure *failure)
{
    struct in_doubt *in_doubt = &conn->ticket.in_doubt;
    const Kmem__Response *response = NULL;
    if (KMEM_UNLIKELY(conn->ticket.settle != NULL)) { /* at most one of the two is in doubt */
        return conn->ticket.settle(conn, failure);
    }
    if (KMEM_LIKELY(in_doubt->sequence == 0)) {
        return 0;
    }
    int r = in_doubt->offset == 0 ? in_doubt_allocate(conn, failure) : 0;
    if (r < 0 || in_doubt->sequence == 0) {
        return r;
    }
    r = ask_release(conn, in_doubt->sequence, (struct seg_off){in_doubt->offset}, &response,
                    failure);
    if (r >= 0) {
        in_doubt->sequence = 0;
    }
    return r < 0 ? r : 0;
}

/* ------------------------------------------------------------------------------- the calls ---- */

int kmem__calls_allocate(struct conn *conn, const struct segment *segment, uint64_t num_bytes,
                         const char *reason, unsigned how, const struct waiting *waiting,
                         struct carved *ret_carved, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    int r = kmem__calls_settle(conn, failure);
    if (r >= 0) {
        const uint64_t sequence = kmem__ask_sequence(conn);
        r = ask_allocate(conn, sequence, num_bytes, reason, how, waiting, &response, failure);
        if (kmem__ask_is_in_doubt(conn, r)) {
            in_doubt_note(conn, sequence, (struct seg_off){0}, num_bytes, reason);
        }
    }
    if (r == CONN_E_REFUSED) {
        return kmem__refusal_of_room(response->error, num_bytes, reason, failure);
    }
    if (r < 0) {
        kmem__failure_about(failure, 0, num_bytes, reason);
        return r;
    }
    struct seg_off offset = {response->allocated->offset};
    if (!kmem__segment_has_room_at(segment, offset, num_bytes)) {
        return kmem__conn_lose(conn, failure, EPROTO, "sent an offset where no block can be");
    }
    kmem__guard_add_direct(segment->guard, offset, num_bytes);
    *ret_carved = (struct carved){offset, response->allocated->known_zero,
                                  response->allocated->direct_only, response->allocated->tight};
    return 0;
}

int kmem__calls_release(struct conn *conn, const struct segment *segment, struct seg_off offset,
                        uint64_t *ret_num_bytes, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    int r = kmem__calls_settle(conn, failure);
    if (r >= 0) {
        const uint64_t sequence = kmem__ask_sequence(conn);
        r = ask_release(conn, sequence, offset, &response, failure);
        if (kmem__ask_is_in_doubt(conn, r)) {
            in_doubt_note(conn, sequence, offset, 0, "");
            *ret_num_bytes = 0;
            return 0;
        }
    }
    if (r == CONN_E_REFUSED) {
        return kmem__refusal_of_block(response->error, offset, failure);
    }
    if (r < 0) {
        kmem__failure_about(failure, offset.bytes, 0, NULL);
        return r;
    }
    *ret_num_bytes = response->released->num_bytes;
    kmem__guard_drop_direct(segment->guard, offset, *ret_num_bytes);
    return 0;
}

int kmem__calls_size_of(struct conn *conn, struct seg_off offset, uint64_t *ret_num_bytes,
                        struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__SizeOf size_of = KMEM__SIZE_OF__INIT;
    size_of.offset = offset.bytes;
    request.body_case = KMEM__REQUEST__BODY_SIZE_OF;
    request.size_of = &size_of;
    int r = kmem__ask(conn, &request, KMEM__RESPONSE__BODY_SIZED, &response, failure);
    if (r == CONN_E_REFUSED) {
        return kmem__refusal_of_block(response->error, offset, failure);
    }
    if (r < 0) {
        kmem__failure_about(failure, offset.bytes, 0, NULL);
        return r;
    }
    *ret_num_bytes = response->sized->num_bytes;
    return 0;
}

int kmem__calls_lease(struct conn *conn, const struct segment *segment, uint32_t n_pages,
                      uint32_t want_pages, struct run *ret_run, bool *ret_is_tight,
                      struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Lease lease = KMEM__LEASE__INIT;
    lease.n_pages = n_pages;
    lease.want_pages = want_pages;
    request.body_case = KMEM__REQUEST__BODY_LEASE;
    request.lease = &lease;
    int r = kmem__calls_settle(conn, failure);
    if (r < 0) {
        return r;
    }
    request.sequence = kmem__ask_sequence(conn);
    r = kmem__ask(conn, &request, KMEM__RESPONSE__BODY_LEASED, &response, failure);
    if (r == CONN_E_REFUSED) {
        (void)kmem__refusal_of_lease(response->error, failure); /* the answer says that it is */
        return CONN_E_REFUSED;
    }
    if (r < 0) {
        return r;
    }
    const struct run run = {response->leased->page, response->leased->n_pages};
    const uint64_t all_pages = segment->num_bytes >> PAGE_SHIFT;
    if (run.page == 0 || run.n_pages < n_pages || (uint64_t)run.page + run.n_pages > all_pages) {
        return kmem__conn_lose(conn, failure, EPROTO, "sent a lease where none can be");
    }
    *ret_run = run;
    *ret_is_tight = response->leased->tight;
    return 0;
}

int kmem__calls_leave(struct conn *conn, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Goodbye goodbye = KMEM__GOODBYE__INIT;
    request.body_case = KMEM__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    const bool was_gone = conn->ticket.is_gone;
    KMEM_CRASH_POINT("client.leaving");
    const int r =
        kmem__ask_insist(conn, &request, KMEM__RESPONSE__BODY_FAREWELL, &response, failure);
    if (r == CONN_E_REFUSED) {
        return kmem__conn_lose(conn, failure, ECONNRESET, "refused to say goodbye");
    }
    /* A daemon that does not know this client any more has taken all back: the answer was lost. */
    const bool is_done = r == -ECONNRESET && conn->ticket.is_gone && !was_gone;
    /* Unless it is the segment that has ended: then no daemon was told. */
    struct failure ignored;
    const bool has_ended =
        conn->ticket.notice != NULL && kmem__notice_ask(conn->ticket.notice, &ignored) < 0;
    return is_done && !has_ended ? 0 : r;
}
