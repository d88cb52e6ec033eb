/* SPDX-License-Identifier: MIT */
#include "tests/system/patient.h"

#include <string.h>
#include <unistd.h>

#include "proto/kmem.pb-c.h"
#include "tests/system/harness.h"
#include "tests/wire/wire.h"

/* Comes back as the member that this process is; the server may die again and again meanwhile. */
static int come_back(int fd)
{
    Kmem__Response *response = NULL;
    while (response == NULL) {
        (void)close(fd);
        fd = wire_connect();
        wire_send(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, wire_welcome()->nonce));
        response = wire_try_receive(fd);
    }
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    expect_true(response->welcome->resumed);
    wire_free(response);
    return fd;
}

/* One request until it is answered. */
static Kmem__Response *ask_patiently(int *fd, uint64_t sequence, Kmem__Request *request)
{
    request->sequence = sequence;
    wire_send(*fd, request);
    Kmem__Response *response = wire_try_receive(*fd);
    while (response == NULL) {
        *fd = come_back(*fd);
        wire_send(*fd, request);
        response = wire_try_receive(*fd);
    }
    return response;
}

uint64_t patient_allocate(int *fd, uint64_t sequence, uint64_t num_bytes, const char *reason)
{
    Kmem__Response *const response = ask_patiently(
        fd, sequence, request_allocate(NEW_REQUEST, num_bytes, reason, strlen(reason)));
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    const uint64_t offset = response->allocated->offset;
    wire_free(response);
    return offset;
}

void patient_release(int *fd, uint64_t sequence, uint64_t offset)
{
    Kmem__Response *const response =
        ask_patiently(fd, sequence, request_release(NEW_REQUEST, offset));
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_RELEASED);
    wire_free(response);
}
