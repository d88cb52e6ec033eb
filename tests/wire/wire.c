/* SPDX-License-Identifier: MIT */
#include "tests/wire/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define WIRE_TIMEOUT_MS 5000
/*
 * 64 small requests are 2 KiB: both directions fit the socket's buffers, so nobody can block. A
 * request or answer has fewer than 64 bytes, so the first byte of its length is its length.
 */
#define FILL_BATCH 64

/* ----------------------------------------------------------------------------- frames ---- */

static bool wait_patiently(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return poll(&readable, 1, harness_patient_ms(WIRE_TIMEOUT_MS)) != 0;
}

KMEM_NORETURN static void fail_test(const char *why)
{
    fail("%s: %s", why, strerror(errno));
}

const struct frames_host frames_host = {wait_patiently, fail_test};

int wire_try_connect(void)
{
    return frames_connect(daemon_socket());
}

int wire_connect(void)
{
    const int fd = wire_try_connect();
    if (fd < 0) {
        fail("connect: %s", strerror(-fd));
    }
    return fd;
}

void wire_send_bytes(int fd, const void *bytes, size_t n_bytes)
{
    (void)frames_send_bytes(fd, bytes, n_bytes); /* a peer that closes is no failure */
}

void wire_send(int fd, const Kmem__Request *request)
{
    /* Four times what is allowed, so that tests can send too much. */
    unsigned char frame[4 * REQUEST_MAX_BYTES];
    const size_t n_bytes = request_pack(request, frame, sizeof(frame));
    expect_true(n_bytes > 0);
    wire_send_bytes(fd, frame, n_bytes);
}

Kmem__Response *wire_try_receive(int fd)
{
    return frames_receive(fd, NULL);
}

Kmem__Response *wire_receive(int fd)
{
    Kmem__Response *const response = frames_receive(fd, NULL);
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

Kmem__Response *wire_ask_for(int fd, const Kmem__Request *request,
                             Kmem__Response__BodyCase body_case)
{
    Kmem__Response *const response = wire_ask(fd, request);
    expect_equal(response->body_case, body_case);
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
    struct request request;
    (void)request_hello(&request, role, nonce);
    request.hello.version = version;
    request.hello.wants_way = wants_way;
    wire_send(fd, &request.base);
    ret_descriptors->n_fds = 0;
    Kmem__Response *const response = frames_receive(fd, ret_descriptors);
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

static Kmem__Request *change(Kmem__Request *request)
{
    request->sequence = sequence;
    return request;
}

/* Wants an answer of this kind, or a refusal. */
static Kmem__Response *ask(int fd, const Kmem__Request *request, Kmem__Response__BodyCase body_case,
                           Kmem__ErrorCode *ret_error)
{
    Kmem__Response *const response = wire_ask(fd, request);
    const bool refused = response->body_case == KMEM__RESPONSE__BODY_ERROR;
    expect_true(refused || response->body_case == body_case);
    *ret_error = refused ? response->error->code : KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    return response;
}

uint64_t wire_try_allocate(int fd, uint64_t num_bytes, const void *reason, size_t reason_bytes,
                           Kmem__ErrorCode *ret_error)
{
    Kmem__Response *const response =
        ask(fd, change(request_allocate(NEW_REQUEST, num_bytes, reason, reason_bytes)),
            KMEM__RESPONSE__BODY_ALLOCATED, ret_error);
    const uint64_t offset = *ret_error ? 0 : response->allocated->offset;
    wire_free(response);
    return offset;
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
    Kmem__ErrorCode error;
    wire_free(ask(fd, change(request_release(NEW_REQUEST, offset)), KMEM__RESPONSE__BODY_RELEASED,
                  &error));
    return error;
}

Kmem__ErrorCode wire_size_of(int fd, uint64_t offset, uint64_t *ret_num_bytes)
{
    Kmem__ErrorCode error;
    Kmem__Response *const response =
        ask(fd, request_size_of(NEW_REQUEST, offset), KMEM__RESPONSE__BODY_SIZED, &error);
    if (!error) {
        *ret_num_bytes = response->sized->num_bytes;
    }
    wire_free(response);
    return error;
}

void wire_goodbye(int fd)
{
    wire_free(wire_ask_for(fd, request_goodbye(NEW_REQUEST), KMEM__RESPONSE__BODY_FAREWELL));
    (void)close(fd);
}

struct wire_run wire_try_lease(int fd, uint32_t n_pages, uint32_t want_pages,
                               Kmem__ErrorCode *ret_error)
{
    struct wire_run run = {0, 0};
    Kmem__Response *const response =
        ask(fd, change(request_lease(NEW_REQUEST, n_pages, want_pages)),
            KMEM__RESPONSE__BODY_LEASED, ret_error);
    if (!*ret_error) {
        run = (struct wire_run){response->leased->page, response->leased->n_pages};
    }
    wire_free(response);
    return run;
}

uint32_t wire_lease(int fd, uint32_t n_pages)
{
    Kmem__ErrorCode error;
    const struct wire_run run = wire_try_lease(fd, n_pages, 0, &error);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_UNSPECIFIED);
    expect_equal(run.n_pages, n_pages);
    return run.page;
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
            Kmem__Request *const request =
                request_allocate(NEW_REQUEST, num_bytes, reason, strlen(reason));
            request->id = n_done + i + 1;
            n_bytes += request_pack(request, frames + n_bytes, 64);
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
