/* SPDX-License-Identifier: MIT */
/*
 * frames.c - what is no request, or not now
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"
#include "tests/support/seeded.h"

static void send_frame(int fd, const void *payload, size_t n_bytes)
{
    unsigned char frame[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
    for (size_t i = 0; i < FRAME_HEADER_BYTES; i++) {
        frame[i] = (unsigned char)(n_bytes >> (8 * i));
    }
    memcpy(frame + FRAME_HEADER_BYTES, payload, n_bytes);
    (void)frames_send_bytes(fd, frame, FRAME_HEADER_BYTES + n_bytes); /* it may have closed */
}

/* A connection that is refused a place is closed as well. */
static int somebody(uint64_t number)
{
    return number % 3 == 0 ? hostile_connect()
                           : hostile_join(number % 3 == 1 ? KMEM__ROLE__ROLE_OBSERVER
                                                          : KMEM__ROLE__ROLE_MEMBER);
}

void attack_one_byte(void)
{
    for (uint64_t n = 0; n < many(300, 20000); n++) {
        const int fd = somebody(n);
        if (fd >= 0) {
            (void)frames_send_bytes(fd, "\x05", 1);
            (void)close(fd);
        }
    }
}

void attack_truncated(void)
{
    for (uint64_t n = 0; n < many(300, 20000); n++) {
        const int fd = somebody(n);
        if (fd >= 0) {
            (void)frames_send_bytes(fd, "\x10\x00\x00\x00\x08\x01", 1 + n % 6);
            (void)close(fd);
        }
    }
}

void attack_oversize(void)
{
    static const uint32_t lengths[] = {REQUEST_MAX_BYTES + 1, 0x10000, 0x7fffffff, 0x80000000,
                                       0xffffffff};
    for (uint64_t n = 0; n < many(100, 20000); n++) {
        const int fd = somebody(n);
        if (fd >= 0) {
            (void)frames_send_bytes(fd, &lengths[n % 5], sizeof(lengths[0]));
            must(hostile_hear(fd) == KMEM__ERROR_CODE__ERROR_PROTOCOL);
            must(hostile_hear(fd) == ANSWER_CLOSED);
            (void)close(fd);
        }
    }
}

void attack_random_frames(void)
{
    unsigned char bytes[REQUEST_MAX_BYTES];
    struct seeded seeded = {(uint64_t)getpid()};
    for (uint64_t n = 0; n < many(300, 20000); n++) {
        const size_t n_bytes = seeded_next(&seeded) % (n % 10 == 0 ? sizeof(bytes) : 40);
        const int fd = somebody(n);
        for (size_t at = 0; at < n_bytes; at++) {
            bytes[at] = (unsigned char)seeded_next(&seeded);
        }
        if (fd < 0) {
            continue;
        }
        if (n % 2 == 0) {
            send_frame(fd, bytes, n_bytes);
            (void)hostile_hear(fd); /* some happen to be requests */
        } else {
            (void)frames_send_bytes(fd, bytes, n_bytes);
        }
        (void)close(fd);
    }
}

/* A field again and again, up to the longest frame: small bytes, many objects. */
void attack_bombs(void)
{
    static const struct {
        unsigned char bytes[4];
        size_t n_bytes;
    } fields[] = {
        {{0x1a, 0x00}, 2},             /* allocate {} */
        {{0x12, 0x00}, 2},             /* hello {} */
        {{0xba, 0x0c, 0x00}, 3},       /* an unknown submessage */
        {{0x1b, 0x1c}, 2},             /* groups, which proto3 has no more */
        {{0xaa, 0x01, 0x02, 0x0a}, 4}, /* attach { handles {} } */
        {{0x1a, 0x02, 0x12, 0x00}, 4}, /* allocate { reason "" } */
    };
    unsigned char payload[REQUEST_MAX_BYTES];
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    for (uint64_t n = 0; n < many(60, 20000); n++) {
        const size_t kind = n % (sizeof(fields) / sizeof(fields[0]));
        const int other = n % 8 == 0 ? fd : hostile_join(KMEM__ROLE__ROLE_OBSERVER);
        size_t n_bytes = 0;
        while (n_bytes + fields[kind].n_bytes <= sizeof(payload)) {
            memcpy(payload + n_bytes, fields[kind].bytes, fields[kind].n_bytes);
            n_bytes += fields[kind].n_bytes;
        }
        if (other >= 0) {
            send_frame(other, payload, n_bytes);
            (void)hostile_hear(other); /* an error, or it has closed for one before */
        }
        if (other >= 0 && other != fd) {
            (void)close(other);
        }
    }
    (void)close(fd);
}

/* Every request that there is. */
static const ProtobufCFieldDescriptor *kind_of(uint64_t number)
{
    const ProtobufCMessageDescriptor *const request = &kmem__request__descriptor;
    return &request->fields[number % request->n_fields];
}

void attack_before_hello(void)
{
    const unsigned int n_kinds = kmem__request__descriptor.n_fields;
    for (uint64_t n = 0; n < many(1, 500) * n_kinds; n++) {
        const ProtobufCFieldDescriptor *const kind = kind_of(n);
        const int fd = hostile_connect();
        if (fd < 0 || kind->type != PROTOBUF_C_TYPE_MESSAGE ||
            kind->id == KMEM__REQUEST__BODY_HELLO) {
            (void)close(fd);
            continue;
        }
        must(hostile_answer(fd, request_plain(NEW_REQUEST, (Kmem__Request__BodyCase)kind->id)) ==
             KMEM__ERROR_CODE__ERROR_PROTOCOL);
        must(hostile_hear(fd) == ANSWER_CLOSED);
        (void)close(fd);
    }
}

void attack_hello_twice(void)
{
    for (uint64_t n = 0; n < many(30, 5000); n++) {
        const Kmem__Role role = n % 2 == 0 ? KMEM__ROLE__ROLE_MEMBER : KMEM__ROLE__ROLE_OBSERVER;
        const int fd = hostile_join(role);
        if (fd >= 0) {
            must(hostile_answer(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, 0)) ==
                 KMEM__ERROR_CODE__ERROR_PROTOCOL);
            (void)close(fd);
        }
    }
}

void attack_other_version(void)
{
    for (uint64_t n = 0; n < many(30, 5000); n++) {
        const int fd = hostile_connect();
        struct request request;
        if (fd >= 0) {
            (void)request_hello(&request, KMEM__ROLE__ROLE_MEMBER, 0);
            request.hello.version = n % 3 == 0 ? 0 : n % 3 == 1 ? 0x00020000 : UINT32_MAX;
            must(hostile_answer(fd, &request.base) == KMEM__ERROR_CODE__ERROR_VERSION);
            (void)close(fd);
        }
    }
}

static void say_wrong_strings(int fd)
{
    static char long_reason[REQUEST_MAX_BYTES];
    memset(long_reason, 'x', sizeof(long_reason));
    static const char *const reasons[] = {"\x1b[2J", "bad \xff\xfe utf-8", "\xc0\x80",
                                          "\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        const uint64_t offset = hostile_allocate(fd, 16, reasons[i]);
        if (offset != 0) { /* what is no text was made one */
            must(hostile_answer(fd, request_release(NEW_REQUEST, offset)) == ANSWER_OK);
        }
    }
    (void)hostile_answer(fd, request_allocate(NEW_REQUEST, 16, "a\0b", 3));
    (void)hostile_answer(fd, request_allocate(NEW_REQUEST, 16, long_reason, 3000));
}

void attack_wrong_numbers(void)
{
    static const uint64_t sizes[] = {0,          UINT64_C(1) << 32, UINT64_C(1) << 40,
                                     UINT64_MAX, INT64_MAX,         UINT64_C(1) << 63};
    struct wire_descriptors descriptors;
    const int fd = hostile_member(&descriptors);
    for (uint64_t n = 0; n < many(20, 5000); n++) {
        const uint64_t number = sizes[n % 6];
        must(hostile_answer(fd, request_allocate(NEW_REQUEST, number, "x", 1)) > ANSWER_OK);
        must(hostile_answer(fd, request_release(NEW_REQUEST, number)) > ANSWER_OK);
        must(hostile_answer(fd, request_size_of(NEW_REQUEST, number | 1)) > ANSWER_OK);
        must(hostile_answer(fd, request_lease(NEW_REQUEST, 0, UINT32_MAX)) > ANSWER_OK);
        must(hostile_answer(fd, request_lease(NEW_REQUEST, UINT32_MAX, (uint32_t)number)) >
             ANSWER_OK);
        (void)hostile_answer(fd, request_ledger(NEW_REQUEST, (Kmem__GroupBy)99, UINT32_MAX));
        (void)hostile_answer(fd, request_clients(NEW_REQUEST, UINT32_MAX));
        (void)hostile_answer(fd, request_blocks(NEW_REQUEST, number));
    }
    say_wrong_strings(fd);
    hostile_drop(fd, &descriptors);
}
