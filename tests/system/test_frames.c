/* SPDX-License-Identifier: MIT */
/*
 * test_frames.c - what a peer may say, and what becomes of one that says something else
 *
 * Each conversation runs in a process of its own, because a member is a member until it ends. After
 * each the daemon must be as it was: no client, no block, no descriptor, no memory kept.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/support/seeded.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

static void converse(void (*conversation)(const void *argument))
{
    daemon_start("--log-level", "debug", NULL);
    client_run(conversation, NULL);
    daemon_stop_balanced();
}

/* A frame with this payload, as it is. */
static void send_frame(int fd, const void *payload, size_t n_bytes)
{
    unsigned char frame[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
    expect_true(n_bytes <= REQUEST_MAX_BYTES);
    for (size_t i = 0; i < FRAME_HEADER_BYTES; i++) {
        frame[i] = (unsigned char)(n_bytes >> (8 * i));
    }
    memcpy(frame + FRAME_HEADER_BYTES, payload, n_bytes);
    wire_send_bytes(fd, frame, FRAME_HEADER_BYTES + n_bytes);
}

static void expect_protocol_error(int fd)
{
    expect_error(fd, KMEM__ERROR_CODE__ERROR_PROTOCOL);
    expect_closed(fd, 1000);
    (void)close(fd);
}

/* ------------------------------------------------------------------- not even a frame ---- */

static void say_one_byte(const void *argument)
{
    (void)argument;
    const int fd = wire_connect();
    wire_send_bytes(fd, "\x05", 1);
    (void)close(fd);
}

static void test_one_byte_and_gone(void)
{
    converse(say_one_byte);
}

static void stop_in_the_middle(const void *argument)
{
    (void)argument;
    const int before_hello = wire_connect();
    wire_send_bytes(before_hello, "\x10\x00\x00\x00\x08\x01", 6);
    (void)close(before_hello);
    const int after_hello = wire_member();
    wire_send_bytes(after_hello, "\x10\x00\x00\x00\x08\x01", 6);
    (void)close(after_hello);
}

static void test_truncated_frame(void)
{
    converse(stop_in_the_middle);
}

static void announce_too_much(const void *argument)
{
    (void)argument;
    const uint32_t lengths[] = {REQUEST_MAX_BYTES + 1, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const int fd = i % 2 == 0 ? wire_connect() : wire_observer();
        wire_send_bytes(fd, &lengths[i], sizeof(lengths[i])); /* little-endian, as this machine */
        expect_protocol_error(fd); /* at once: no byte of the payload was sent */
    }
}

static void test_oversize_length_is_refused_before_reading(void)
{
    converse(announce_too_much);
}

static void send_slowly(const void *argument)
{
    (void)argument;
    const unsigned char frame[] = {2, 0, 0, 0, 0x08, 0x01}; /* id = 1, no body */
    const int fd = wire_observer();
    for (size_t i = 0; i < sizeof(frame); i++) {
        wire_send_bytes(fd, frame + i, 1);
        harness_sleep_ms(5);
    }
    expect_protocol_error(fd);
}

static void test_frame_in_single_bytes(void)
{
    converse(send_slowly);
}

static void send_nothing_in_a_frame(const void *argument)
{
    (void)argument;
    const int before_hello = wire_connect();
    send_frame(before_hello, "", 0);
    expect_protocol_error(before_hello);
    const int after_hello = wire_observer();
    send_frame(after_hello, "", 0);
    expect_protocol_error(after_hello);
}

static void test_empty_frame(void)
{
    converse(send_nothing_in_a_frame);
}

/* --------------------------------------------------------------------------- nonsense ---- */

static void send_random_frames(const void *argument)
{
    (void)argument;
    unsigned char payload[REQUEST_MAX_BYTES];
    struct seeded seeded = {104729};
    for (unsigned int i = 0; i < harness_scaled(2000); i++) {
        const size_t n_bytes = seeded_next(&seeded) % (i % 10 == 0 ? REQUEST_MAX_BYTES + 1 : 40);
        for (size_t at = 0; at < n_bytes; at++) {
            payload[at] = (unsigned char)seeded_next(&seeded);
        }
        const int fd = i % 3 == 0 ? wire_connect() : i % 3 == 1 ? wire_observer() : wire_member();
        send_frame(fd, payload, n_bytes);
        /* Some happen to be requests; then there is an answer and no end. */
        Kmem__Response *const response = wire_try_receive(fd);
        if (response != NULL && response->body_case == KMEM__RESPONSE__BODY_ERROR &&
            response->error->code == KMEM__ERROR_CODE__ERROR_PROTOCOL) {
            expect_closed(fd, 1000);
        }
        wire_free(response);
        (void)close(fd);
    }
}

static void test_random_frames(void)
{
    harness_note("seed 104729");
    converse(send_random_frames);
}

static void send_random_bytes(const void *argument)
{
    (void)argument;
    unsigned char bytes[20000];
    struct seeded seeded = {1299709};
    for (unsigned int i = 0; i < harness_scaled(300); i++) {
        for (size_t at = 0; at < sizeof(bytes); at++) {
            bytes[at] = (unsigned char)seeded_next(&seeded);
        }
        const int fd = wire_connect();
        wire_send_bytes(fd, bytes, seeded_next(&seeded) % sizeof(bytes));
        (void)close(fd);
    }
}

static void test_random_bytes(void)
{
    harness_note("seed 1299709");
    converse(send_random_bytes);
}

/* A field again and again, up to the longest frame: small bytes, many objects. */
static void send_bombs(const void *argument)
{
    (void)argument;
    static const struct {
        unsigned char bytes[4];
        size_t n_bytes;
    } fields[] = {
        {{0x1a, 0x00}, 2},             /* allocate {} */
        {{0x12, 0x00}, 2},             /* hello {} */
        {{0x2a, 0x00}, 2},             /* size_of {} */
        {{0xba, 0x0c, 0x00}, 3},       /* an unknown submessage, field 199 */
        {{0xb8, 0x0c, 0x01}, 3},       /* an unknown number */
        {{0x1b, 0x1c}, 2},             /* groups, which proto3 has no more */
        {{0x1a, 0x02, 0x12, 0x00}, 4}, /* allocate { reason "" } */
    };
    unsigned char payload[REQUEST_MAX_BYTES];
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        size_t n_bytes = 0;
        while (n_bytes + fields[i].n_bytes <= sizeof(payload)) {
            memcpy(payload + n_bytes, fields[i].bytes, fields[i].n_bytes);
            n_bytes += fields[i].n_bytes;
        }
        const int fd = wire_member();
        send_frame(fd, payload, n_bytes);
        Kmem__Response *const response = wire_receive(fd);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
        wire_free(response);
        (void)close(fd);
    }
}

static void test_2000_submessages(void)
{
    converse(send_bombs);
}

static void send_from_the_future(const void *argument)
{
    (void)argument;
    const int fd = wire_observer();
    /* id = 7; usage { field 99: 1 }; field 200: "new" */
    send_frame(fd, "\x08\x07\x32\x03\x98\x06\x01\xc2\x0c\x03new", 13);
    Kmem__Response *const response = wire_receive(fd);
    expect_equal(response->id, 7);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_USAGE);
    wire_free(response);
    (void)close(fd);
}

static void test_unknown_fields_are_ignored(void)
{
    converse(send_from_the_future);
}

static void send_wrong_enums(const void *argument)
{
    (void)argument;
    struct wire_descriptors descriptors;
    for (int role = 0; role < 100; role += 33) {
        if (role == KMEM__ROLE__ROLE_MEMBER || role == KMEM__ROLE__ROLE_OBSERVER) {
            continue;
        }
        const int fd = wire_connect();
        Kmem__Response *const response =
            wire_hello(fd, PROTOCOL_VERSION, (Kmem__Role)role, &descriptors);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
        expect_equal(descriptors.n_fds, 0);
        wire_free(response);
        expect_closed(fd, 1000);
        (void)close(fd);
    }
    const int fd = wire_observer();
    send_frame(fd, "\x08\x07\x3a\x02\x08\x09", 6); /* ledger { by: 9 } */
    expect_error(fd, KMEM__ERROR_CODE__ERROR_INVALID);
    send_frame(fd, "\x08\x08\x3a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 15); /* by: -1 */
    expect_error(fd, KMEM__ERROR_CODE__ERROR_INVALID);
    (void)close(fd);
}

static void test_wrong_enums(void)
{
    converse(send_wrong_enums);
}

/* ------------------------------------------------------------------------------ order ---- */

static void ask_before_hello(const void *argument)
{
    (void)argument;
    for (unsigned char field = 3; field <= 20; field++) {
        /* id = 1, and an empty body of each kind, known or not */
        const unsigned char payload[] = {0x08, 0x01, (unsigned char)(field << 3 | 2),
                                         (unsigned char)(field >= 16), 0x00};
        const int fd = wire_connect();
        if (field < 16) {
            send_frame(fd, payload, 4);
        } else {
            const unsigned char two_byte_key[] = {
                0x08, 0x01, (unsigned char)(0x80 | (field << 3 | 2)), 0x01, 0x00};
            send_frame(fd, two_byte_key, 5);
        }
        expect_protocol_error(fd);
    }
}

static void test_any_request_before_hello(void)
{
    converse(ask_before_hello);
}

static void say_hello_twice(const void *argument)
{
    (void)argument;
    struct wire_descriptors descriptors;
    for (unsigned int i = 0; i < 4; i++) {
        const int fd = i < 2 ? wire_observer() : wire_member();
        const Kmem__Role role = i % 2 == 0 ? KMEM__ROLE__ROLE_OBSERVER : KMEM__ROLE__ROLE_MEMBER;
        Kmem__Response *const response = wire_hello(fd, PROTOCOL_VERSION, role, &descriptors);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
        expect_equal(response->error->code, KMEM__ERROR_CODE__ERROR_PROTOCOL);
        expect_equal(descriptors.n_fds, 0);
        wire_free(response);
        expect_closed(fd, 1000);
        (void)close(fd);
    }
}

static void test_hello_twice(void)
{
    converse(say_hello_twice);
}

static void speak_other_versions(const void *argument)
{
    (void)argument;
    const uint32_t others[] = {0, 1, PROTOCOL_VERSION + 0x10000, 0xffffffff};
    struct wire_descriptors descriptors;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const int fd = wire_connect();
        Kmem__Response *const response =
            wire_hello(fd, others[i], KMEM__ROLE__ROLE_MEMBER, &descriptors);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
        expect_equal(response->error->code, KMEM__ERROR_CODE__ERROR_VERSION);
        expect_equal(descriptors.n_fds, 0);
        wire_free(response);
        expect_closed(fd, 1000);
        (void)close(fd);
    }
    const int fd = wire_connect();
    Kmem__Response *const response =
        wire_hello(fd, PROTOCOL_VERSION + 1, KMEM__ROLE__ROLE_OBSERVER, &descriptors);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME); /* a newer minor is fine */
    wire_free(response);
    (void)close(fd);
}

static void test_other_version(void)
{
    converse(speak_other_versions);
}

static void ask_for_what_members_have(const void *argument)
{
    (void)argument;
    const char *const bodies[] = {"\x08\x01\x1a\x02\x08\x2c", "\x08\x01\x22\x02\x08\x40",
                                  "\x08\x01\x2a\x02\x08\x40"};
    for (size_t i = 0; i < 3; i++) {
        const int fd = wire_observer();
        send_frame(fd, bodies[i], 6);
        expect_protocol_error(fd);
    }
    const int fd = wire_observer();
    send_frame(fd, "\x08\x01\x5a\x00", 4); /* goodbye {} */
    expect_protocol_error(fd);
}

static void test_observer_allocates_and_releases_nothing(void)
{
    converse(ask_for_what_members_have);
}

static void speak_after_goodbye(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_allocate(fd, 44, "left behind");
    /* goodbye {} and allocate { 44 } at once */
    wire_send_bytes(fd, "\x04\0\0\0\x08\x09\x5a\x00\x06\0\0\0\x08\x0a\x1a\x02\x08\x2c", 18);
    Kmem__Response *const response = wire_receive(fd);
    expect_equal(response->id, 9);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_FAREWELL);
    wire_free(response);
    expect_closed(fd, 1000);
    (void)close(fd);
    client_pause();
}

static void test_nothing_is_served_after_goodbye(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(speak_after_goodbye, NULL);
    expect_balanced();
    client_finish(&client);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_one_byte_and_gone, 10),
    SYSTEM_TEST(test_truncated_frame, 10),
    SYSTEM_TEST(test_oversize_length_is_refused_before_reading, 10),
    SYSTEM_TEST(test_frame_in_single_bytes, 10),
    SYSTEM_TEST(test_empty_frame, 10),
    SYSTEM_TEST(test_random_frames, 30),
    SYSTEM_TEST(test_random_bytes, 30),
    SYSTEM_TEST(test_2000_submessages, 10),
    SYSTEM_TEST(test_unknown_fields_are_ignored, 10),
    SYSTEM_TEST(test_wrong_enums, 10),
    SYSTEM_TEST(test_any_request_before_hello, 10),
    SYSTEM_TEST(test_hello_twice, 10),
    SYSTEM_TEST(test_other_version, 10),
    SYSTEM_TEST(test_observer_allocates_and_releases_nothing, 10),
    SYSTEM_TEST(test_nothing_is_served_after_goodbye, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
