/* SPDX-License-Identifier: MIT */
#include "client/remote.h"

#include <errno.h>
#include <string.h>

#include "client/refusal.h"

/* Asks, and tells what a lost connection means for a program. Return: as kmem__conn_ask(). */
KMEM_MUST_USE static int remote_ask(struct conn *conn, Kmem__Request *request,
                                    Kmem__Response__BodyCase expected,
                                    const Kmem__Response **ret_response, struct failure *failure)
{
    int r = kmem__conn_ask(conn, request, expected, NULL, ret_response, failure);
    if (r < 0) {
        kmem__failure_add(failure, "; blocks stay readable and writable, but nobody accounts for "
                                   "them; after kmem_close() the next call connects anew");
    }
    return r;
}

int kmem__remote_allocate(struct conn *conn, const struct segment *segment, uint64_t num_bytes,
                          const char *reason, struct carved *ret_carved, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    allocate.num_bytes = num_bytes;
    allocate.reason.len = strlen(reason);
    /* protobuf-c reads from what it declares writable. */
    allocate.reason.data = (uint8_t *)(uintptr_t)reason;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    int r = remote_ask(conn, &request, KMEM__RESPONSE__BODY_ALLOCATED, &response, failure);
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
    *ret_carved = (struct carved){offset, response->allocated->known_zero};
    return 0;
}

int kmem__remote_release(struct conn *conn, struct seg_off offset, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Release release = KMEM__RELEASE__INIT;
    release.offset = offset.bytes;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &release;
    int r = remote_ask(conn, &request, KMEM__RESPONSE__BODY_RELEASED, &response, failure);
    if (r == CONN_E_REFUSED) {
        return kmem__refusal_of_block(response->error, offset, failure);
    }
    if (r < 0) {
        kmem__failure_about(failure, offset.bytes, 0, NULL);
    }
    return r;
}

int kmem__remote_size_of(struct conn *conn, struct seg_off offset, uint64_t *ret_num_bytes,
                         struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__SizeOf size_of = KMEM__SIZE_OF__INIT;
    size_of.offset = offset.bytes;
    request.body_case = KMEM__REQUEST__BODY_SIZE_OF;
    request.size_of = &size_of;
    int r = remote_ask(conn, &request, KMEM__RESPONSE__BODY_SIZED, &response, failure);
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

int kmem__remote_lease(struct conn *conn, const struct segment *segment, uint32_t n_pages,
                       uint32_t want_pages, struct run *ret_run, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Lease lease = KMEM__LEASE__INIT;
    lease.n_pages = n_pages;
    lease.want_pages = want_pages;
    request.body_case = KMEM__REQUEST__BODY_LEASE;
    request.lease = &lease;
    int r = remote_ask(conn, &request, KMEM__RESPONSE__BODY_LEASED, &response, failure);
    if (r == CONN_E_REFUSED) {
        return kmem__refusal_of_room(response->error, (uint64_t)n_pages << PAGE_SHIFT, "", failure);
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
    return 0;
}

int kmem__remote_leave(struct conn *conn, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Goodbye goodbye = KMEM__GOODBYE__INIT;
    request.body_case = KMEM__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    int r = kmem__conn_ask(conn, &request, KMEM__RESPONSE__BODY_FAREWELL, NULL, &response, failure);
    if (r == CONN_E_REFUSED) {
        return kmem__conn_lose(conn, failure, ECONNRESET, "refused to say goodbye");
    }
    return r;
}
