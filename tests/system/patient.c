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
        Kmem__Hello hello = KMEM__HELLO__INIT;
        Kmem__Request request = KMEM__REQUEST__INIT;
        hello.version = PROTOCOL_VERSION;
        hello.role = KMEM__ROLE__ROLE_MEMBER;
        hello.resume_nonce = wire_welcome()->nonce;
        request.body_case = KMEM__REQUEST__BODY_HELLO;
        request.hello = &hello;
        wire_send(fd, &request);
        response = wire_try_receive(fd);
    }
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    expect_true(response->welcome->resumed);
    wire_free(response);
    return fd;
}

/* One request until it is answered. */
static Kmem__Response *ask_patiently(int *fd, const Kmem__Request *request)
{
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
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    allocate.num_bytes = num_bytes;
    allocate.reason.data = (uint8_t *)(uintptr_t)reason;
    allocate.reason.len = strlen(reason);
    request.sequence = sequence;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    Kmem__Response *const response = ask_patiently(fd, &request);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    const uint64_t offset = response->allocated->offset;
    wire_free(response);
    return offset;
}

void patient_release(int *fd, uint64_t sequence, uint64_t offset)
{
    Kmem__Release release = KMEM__RELEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    release.offset = offset;
    request.sequence = sequence;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &release;
    Kmem__Response *const response = ask_patiently(fd, &request);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_RELEASED);
    wire_free(response);
}
