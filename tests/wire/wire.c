/* SPDX-License-Identifier: MIT */
/*
 * wire.c - the protocol, once more and on its own feet
 *
 * Frames are written and read here with plain protobuf-c rather than with proto/frame.h: a mistake
 * that both sides of the product share would otherwise go unseen.
 */
#include "tests/wire/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "proto/limits.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define WIRE_TIMEOUT_MS 5000
/*
 * 64 small requests are 2 KiB: both directions fit the socket's buffers, so nobody can block. A
 * request or answer has fewer than 64 bytes, so the first byte of its length is its length.
 */
#define FILL_BATCH 64

int wire_try_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon_socket());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    expect_call(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        const int error = errno;
        (void)close(fd);
        return -error;
    }
    return fd;
}

int wire_connect(void)
{
    const int fd = wire_try_connect();
    if (fd < 0) {
        fail("connect: %s", strerror(-fd));
    }
    return fd;
}

/* ----------------------------------------------------------------------------- frames ---- */

void wire_send_bytes(int fd, const void *bytes, size_t n_bytes)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        const ssize_t n = send(fd, from, n_bytes, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return;
        }
        expect_call(n > 0);
        from += n;
        n_bytes -= (size_t)n;
    }
}

static size_t pack_frame(const Kmem__Request *request, unsigned char *frame)
{
    const size_t n_bytes = kmem__request__pack(request, frame + FRAME_HEADER_BYTES);
    for (size_t i = 0; i < FRAME_HEADER_BYTES; i++) {
        frame[i] = (unsigned char)(n_bytes >> (8 * i));
    }
    return FRAME_HEADER_BYTES + n_bytes;
}

void wire_send(int fd, const Kmem__Request *request)
{
    /* Four times what is allowed, so that tests can send too much. */
    unsigned char frame[4 * REQUEST_MAX_BYTES];
    expect_true(kmem__request__get_packed_size(request) + FRAME_HEADER_BYTES <= sizeof(frame));
    wire_send_bytes(fd, frame, pack_frame(request, frame));
}

/* Takes descriptors that came along. More than a Welcome has, or in two parts, is a mistake. */
static void take_descriptors(struct msghdr *message, struct wire_descriptors *descriptors)
{
    const struct cmsghdr *const came = CMSG_FIRSTHDR(message);
    if (came == NULL || descriptors == NULL) {
        return;
    }
    expect_equal(descriptors->n_fds, 0);
    expect_equal(message->msg_flags & MSG_CTRUNC, 0);
    descriptors->n_fds = (came->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    expect_at_most(descriptors->n_fds, WELCOME_DESCRIPTORS_MAX);
    memcpy(descriptors->fds, CMSG_DATA(came), descriptors->n_fds * sizeof(int));
}

/* Return: false if the daemon closed; *descriptors, if wanted, are what came along. */
static bool receive_bytes(int fd, void *bytes, size_t n_bytes, struct wire_descriptors *descriptors)
{
    char *to = bytes;
    while (n_bytes > 0) {
        union {
            struct cmsghdr header;
            char space[CMSG_SPACE((WELCOME_DESCRIPTORS_MAX + 1) * sizeof(int))];
        } control;
        struct iovec part = {to, n_bytes};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        message.msg_control = descriptors != NULL ? &control : NULL;
        message.msg_controllen = descriptors != NULL ? sizeof(control) : 0;
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (poll(&readable, 1, harness_patient_ms(WIRE_TIMEOUT_MS)) == 0) {
            fail("no answer");
        }
        const ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return false;
        }
        expect_call(n > 0);
        take_descriptors(&message, descriptors);
        to += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

static Kmem__Response *receive_response(int fd, struct wire_descriptors *descriptors)
{
    static unsigned char payload[RESPONSE_MAX_BYTES];
    unsigned char header[FRAME_HEADER_BYTES];
    uint32_t n_bytes = 0;
    if (!receive_bytes(fd, header, sizeof(header), descriptors)) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(header); i++) {
        n_bytes |= (uint32_t)header[i] << (8 * i);
    }
    expect_at_most(n_bytes, RESPONSE_MAX_BYTES);
    if (!receive_bytes(fd, payload, n_bytes, descriptors)) {
        return NULL;
    }
    Kmem__Response *const response = kmem__response__unpack(NULL, n_bytes, payload);
    expect_true(response != NULL);
    return response;
}

Kmem__Response *wire_try_receive(int fd)
{
    return receive_response(fd, NULL);
}

Kmem__Response *wire_receive(int fd)
{
    Kmem__Response *const response = receive_response(fd, NULL);
    if (response == NULL) {
        fail("the daemon closed the connection instead of answering");
    }
    return response;
}

Kmem__Response *wire_ask(int fd, const Kmem__Request *request)
{
    wire_send(fd, request);
    Kmem__Response *const response = wire_receive(fd);
    expect_equal(response->id, request->id);
    return response;
}

void wire_free(Kmem__Response *response)
{
    kmem__response__free_unpacked(response, NULL);
}

/* --------------------------------------------------------------------------- requests ---- */

static bool wants_way;

void wire_want_ways(void)
{
    wants_way = true;
}

Kmem__Response *wire_hello(int fd, uint32_t version, Kmem__Role role,
                           struct wire_descriptors *ret_descriptors)
{
    return wire_hello_again(fd, version, role, 0, ret_descriptors);
}

Kmem__Response *wire_hello_again(int fd, uint32_t version, Kmem__Role role, uint64_t nonce,
                                 struct wire_descriptors *ret_descriptors)
{
    Kmem__Hello hello = KMEM__HELLO__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    hello.version = version;
    hello.role = role;
    hello.resume_nonce = nonce;
    hello.wants_way = wants_way;
    request.id = 1;
    request.body_case = KMEM__REQUEST__BODY_HELLO;
    request.hello = &hello;
    wire_send(fd, &request);
    ret_descriptors->n_fds = 0;
    Kmem__Response *const response = receive_response(fd, ret_descriptors);
    if (response == NULL) {
        fail("the daemon closed the connection instead of answering Hello");
    }
    return response;
}

void wire_close_descriptors(struct wire_descriptors *descriptors)
{
    for (size_t i = 0; i < descriptors->n_fds; i++) {
        (void)close(descriptors->fds[i]);
    }
    descriptors->n_fds = 0;
}

static void expect_file_bytes(int fd, uint64_t num_bytes)
{
    struct stat status;
    expect_call(fstat(fd, &status) == 0);
    expect_equal(status.st_size, num_bytes);
}

/* What the last Welcome of a member said. */
static struct wire_welcome last_welcome;

static bool is_busy(const Kmem__Response *response)
{
    return response->body_case == KMEM__RESPONSE__BODY_ERROR &&
           response->error->code == KMEM__ERROR_CODE__ERROR_BUSY;
}

/* Hello, again and again while the daemon asks to come again. Return: the answer. */
static Kmem__Response *introduce(int *ret_fd, Kmem__Role role, uint64_t nonce,
                                 struct wire_descriptors *descriptors)
{
    const uint64_t until_us = harness_deadline_us(WIRE_TIMEOUT_MS);
    for (;;) {
        *ret_fd = wire_connect();
        Kmem__Response *const response =
            wire_hello_again(*ret_fd, PROTOCOL_VERSION, role, nonce, descriptors);
        if (!is_busy(response) || harness_now_us() > until_us) {
            return response;
        }
        wire_free(response);
        (void)close(*ret_fd);
        harness_sleep_ms(2);
    }
}

static void remember_welcome(const Kmem__Welcome *welcome)
{
    last_welcome = (struct wire_welcome){
        .nonce = welcome->resume_nonce,
        .instance = welcome->instance,
        .slot = welcome->slot,
        .resumed = welcome->resumed,
    };
}

const struct wire_welcome *wire_welcome(void)
{
    return &last_welcome;
}

static int connect_as(Kmem__Role role, uint64_t nonce, struct wire_descriptors *descriptors)
{
    int fd;
    Kmem__Response *const response = introduce(&fd, role, nonce, descriptors);
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        fail("Hello: %s", response->error->message);
    }
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    if (role == KMEM__ROLE__ROLE_MEMBER) {
        remember_welcome(response->welcome);
    }
    const unsigned int n_wanted = WELCOME_DESCRIPTORS + wants_way;
    expect_equal(descriptors->n_fds, role == KMEM__ROLE__ROLE_MEMBER ? n_wanted : 0);
    expect_equal(response->welcome->n_descriptors, descriptors->n_fds);
    if (descriptors->n_fds > 0) {
        struct ledger_layout layout;
        const uint64_t segment_bytes = response->welcome->segment_bytes;
        ledger_layout_init(&layout, (uint32_t)(segment_bytes >> PAGE_SHIFT));
        expect_file_bytes(descriptors->fds[WIRE_SEGMENT], segment_bytes);
        expect_file_bytes(descriptors->fds[WIRE_LEDGER], layout.total_bytes);
    }
    wire_free(response);
    return fd;
}

int wire_observer(void)
{
    struct wire_descriptors none;
    return connect_as(KMEM__ROLE__ROLE_OBSERVER, 0, &none);
}

int wire_member_with(struct wire_descriptors *ret_descriptors)
{
    return connect_as(KMEM__ROLE__ROLE_MEMBER, 0, ret_descriptors);
}

int wire_member_again(void)
{
    struct wire_descriptors descriptors;
    const int fd = connect_as(KMEM__ROLE__ROLE_MEMBER, last_welcome.nonce, &descriptors);
    expect_true(last_welcome.resumed);
    wire_close_descriptors(&descriptors);
    return fd;
}

int wire_member(void)
{
    struct wire_descriptors descriptors;
    const int fd = wire_member_with(&descriptors);
    wire_close_descriptors(&descriptors);
    return fd;
}

static uint64_t sequence;

void wire_sequence(uint64_t number)
{
    sequence = number;
}

uint64_t wire_try_allocate(int fd, uint64_t num_bytes, const void *reason, size_t reason_bytes,
                           Kmem__ErrorCode *ret_error)
{
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    allocate.num_bytes = num_bytes;
    allocate.reason.data = (uint8_t *)(uintptr_t)reason;
    allocate.reason.len = reason_bytes;
    request.id = 2;
    request.sequence = sequence;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    Kmem__Response *const response = wire_ask(fd, &request);
    const bool refused = response->body_case == KMEM__RESPONSE__BODY_ERROR;
    expect_true(refused || response->body_case == KMEM__RESPONSE__BODY_ALLOCATED);
    *ret_error = refused ? response->error->code : KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    const uint64_t offset = refused ? 0 : response->allocated->offset;
    wire_free(response);
    return offset;
}

uint32_t wire_lease(int fd, uint32_t n_pages)
{
    Kmem__Lease lease = KMEM__LEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    lease.n_pages = n_pages;
    request.id = 4;
    request.sequence = sequence;
    request.body_case = KMEM__REQUEST__BODY_LEASE;
    request.lease = &lease;
    Kmem__Response *const response = wire_ask(fd, &request);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_LEASED);
    expect_equal(response->leased->n_pages, n_pages);
    const uint32_t page = response->leased->page;
    wire_free(response);
    return page;
}

uint64_t wire_allocate(int fd, uint64_t num_bytes, const char *reason)
{
    Kmem__ErrorCode error;
    const uint64_t offset = wire_try_allocate(fd, num_bytes, reason, strlen(reason), &error);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_UNSPECIFIED);
    expect_true(offset != 0);
    return offset;
}

Kmem__ErrorCode wire_release(int fd, uint64_t offset)
{
    Kmem__Release release = KMEM__RELEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    release.offset = offset;
    request.id = 3;
    request.sequence = sequence;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &release;
    Kmem__Response *const response = wire_ask(fd, &request);
    Kmem__ErrorCode code = KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        code = response->error->code;
    } else {
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_RELEASED);
    }
    wire_free(response);
    return code;
}

Kmem__ErrorCode wire_size_of(int fd, uint64_t offset, uint64_t *ret_num_bytes)
{
    Kmem__SizeOf size_of = KMEM__SIZE_OF__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    size_of.offset = offset;
    request.id = 4;
    request.body_case = KMEM__REQUEST__BODY_SIZE_OF;
    request.size_of = &size_of;
    Kmem__Response *const response = wire_ask(fd, &request);
    Kmem__ErrorCode code = KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        code = response->error->code;
    } else {
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_SIZED);
        *ret_num_bytes = response->sized->num_bytes;
    }
    wire_free(response);
    return code;
}

void wire_goodbye(int fd)
{
    Kmem__Goodbye goodbye = KMEM__GOODBYE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    request.id = 5;
    request.body_case = KMEM__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    Kmem__Response *const response = wire_ask(fd, &request);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_FAREWELL);
    wire_free(response);
    (void)close(fd);
}

struct wire_run wire_try_lease(int fd, uint32_t n_pages, uint32_t want_pages,
                               Kmem__ErrorCode *ret_error)
{
    Kmem__Lease lease = KMEM__LEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    struct wire_run run = {0, 0};
    lease.n_pages = n_pages;
    lease.want_pages = want_pages;
    request.id = 6;
    request.body_case = KMEM__REQUEST__BODY_LEASE;
    request.lease = &lease;
    Kmem__Response *const response = wire_ask(fd, &request);
    *ret_error = KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        *ret_error = response->error->code;
    } else {
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_LEASED);
        run = (struct wire_run){response->leased->page, response->leased->n_pages};
    }
    wire_free(response);
    return run;
}

/* Return: the bytes of one Allocate frame. */
static size_t pack_allocate(uint64_t id, uint64_t num_bytes, const char *reason,
                            unsigned char *frame)
{
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    allocate.num_bytes = num_bytes;
    allocate.reason.data = (uint8_t *)(uintptr_t)reason;
    allocate.reason.len = strlen(reason);
    request.id = id;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    return pack_frame(&request, frame);
}

/* Wants the answers to requests first_id, first_id + 1, …: read many at a time as well. */
static void receive_allocated(int fd, uint64_t first_id, uint64_t n_answers)
{
    unsigned char input[FILL_BATCH * 64];
    size_t n_input = 0;
    while (n_answers > 0) {
        size_t at = 0;
        const ssize_t n = recv(fd, input + n_input, sizeof(input) - n_input, 0);
        expect_call(n > 0);
        n_input += (size_t)n;
        while (n_input - at >= FRAME_HEADER_BYTES &&
               n_input - at - FRAME_HEADER_BYTES >= input[at]) {
            Kmem__Response *const response =
                kmem__response__unpack(NULL, input[at], input + at + FRAME_HEADER_BYTES);
            expect_true(response != NULL);
            expect_equal(response->id, first_id++);
            expect_equal(response->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
            wire_free(response);
            n_answers--;
            at += FRAME_HEADER_BYTES + input[at];
        }
        memmove(input, input + at, n_input - at);
        n_input -= at;
    }
}

void wire_fill(int fd, uint64_t n_blocks, uint64_t num_bytes, unsigned int n_reasons)
{
    unsigned char frames[FILL_BATCH * 64];
    for (uint64_t n_done = 0; n_done < n_blocks;) {
        size_t n_bytes = 0;
        const uint64_t left = n_blocks - n_done;
        const uint64_t n_batch = left < FILL_BATCH ? left : FILL_BATCH;
        for (uint64_t i = 0; i < n_batch; i++) {
            char reason[32];
            (void)snprintf(reason, sizeof(reason), "fill/%u",
                           (unsigned int)((n_done + i) % n_reasons));
            n_bytes += pack_allocate(n_done + i + 1, num_bytes, reason, frames + n_bytes);
        }
        wire_send_bytes(fd, frames, n_bytes);
        receive_allocated(fd, n_done + 1, n_batch);
        n_done += n_batch;
    }
}

/* ----------------------------------------------------------------------- expectations ---- */

void wire_expect_error(const char *file, int line, int fd, Kmem__ErrorCode code)
{
    Kmem__Response *const response = wire_try_receive(fd);
    if (response == NULL) {
        harness_fail(file, line, "the daemon closed the connection without a word");
    }
    if (response->body_case != KMEM__RESPONSE__BODY_ERROR) {
        harness_fail(file, line, "the answer is of kind %d, expected an error",
                     (int)response->body_case);
    }
    if (response->error->code != code) {
        harness_fail(file, line, "the error is %d (%s), expected %d", (int)response->error->code,
                     response->error->message, (int)code);
    }
    if (strlen(response->error->message) < 10) {
        harness_fail(file, line, "no sentence: \"%s\"", response->error->message);
    }
    wire_free(response);
}

void wire_expect_closed(const char *file, int line, int fd, unsigned int limit_ms)
{
    const uint64_t until_us = harness_deadline_us(limit_ms);
    char rest[4096];
    for (;;) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        const int left_ms = (int)((int64_t)(until_us - harness_now_us()) / 1000);
        if (left_ms <= 0 || poll(&readable, 1, left_ms) == 0) {
            harness_fail(file, line, "the connection is never closed");
        }
        if (recv(fd, rest, sizeof(rest), 0) <= 0) {
            return;
        }
    }
}
