/* SPDX-License-Identifier: MIT */
#include "client/ctl/engine.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Numbers of kmem.proto, which never change. */
#define PROTOCOL_VERSION_1_0 0x10000
#define ROLE_MEMBER 1
enum { REQUEST_HELLO = 2, REQUEST_ALLOCATE = 3, REQUEST_RELEASE = 4 };
enum { RESPONSE_ERROR = 2 }; /* else the request's number and 1 */
enum { CODE_NO_MEMORY = 6, CODE_INVALID = 5 };

#define REQUEST_MAX_BYTES 512
#define RESPONSE_MAX_BYTES (64 * 1024)
#define DESCRIPTORS_MAX 8

/* --------------------------------------------------------------------------------- writing ---- */

struct bytes {
    size_t n;
    unsigned char at[REQUEST_MAX_BYTES];
};

static void put_varint(struct bytes *bytes, uint64_t number)
{
    while (number >= 128) {
        bytes->at[bytes->n++] = (unsigned char)(number | 128);
        number >>= 7;
    }
    bytes->at[bytes->n++] = (unsigned char)number;
}

static void put_number(struct bytes *bytes, unsigned field, uint64_t number)
{
    put_varint(bytes, (uint64_t)field << 3);
    put_varint(bytes, number);
}

static void put_bytes(struct bytes *bytes, unsigned field, const void *from, size_t n)
{
    put_varint(bytes, (uint64_t)field << 3 | 2);
    put_varint(bytes, n);
    memcpy(bytes->at + bytes->n, from, n);
    bytes->n += n;
}

/* --------------------------------------------------------------------------------- reading ---- */

struct message {
    const unsigned char *at;
    const unsigned char *end;
};

static bool take_varint(struct message *message, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && message->at < message->end; shift += 7) {
        const unsigned char byte = *message->at++;
        number |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *ret_number = number;
            return true;
        }
    }
    return false;
}

/* The next field: a number, or a message. Return: whether there is one that can be read. */
static bool take_field(struct message *message, uint64_t *ret_field, uint64_t *ret_number,
                       struct message *ret_inner)
{
    uint64_t key;
    *ret_inner = (struct message){NULL, NULL};
    *ret_number = 0;
    if (!take_varint(message, &key)) {
        return false;
    }
    *ret_field = key >> 3;
    if ((key & 7) == 0) {
        return take_varint(message, ret_number);
    }
    const bool is_fixed = (key & 7) == 1 || (key & 7) == 5;
    uint64_t n_bytes = (key & 7) == 1 ? 8 : 4;
    if ((!is_fixed && ((key & 7) != 2 || !take_varint(message, &n_bytes))) ||
        n_bytes > (uint64_t)(message->end - message->at)) {
        return false;
    }
    *ret_inner = (struct message){message->at, message->at + n_bytes};
    message->at += n_bytes;
    return true;
}

/* The number of a message's first field; 0 if it has none. */
static uint64_t first_number(struct message message)
{
    uint64_t field;
    uint64_t number;
    struct message inner;
    while (take_field(&message, &field, &number, &inner)) {
        if (field == 1) {
            return number;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------------------------- asking ---- */

static int send_all(int fd, const unsigned char *from, size_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = send(fd, from, n_bytes, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        from += n > 0 ? n : 0;
        n_bytes -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Descriptors that come along are of no use here. */
static void close_descriptors(struct msghdr *header)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            const size_t n = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < n; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
                (void)close(fd); /* it was not used */
            }
        }
    }
}

/* NOLINTNEXTLINE(readability-non-const-parameter): recvmsg() writes there */
static int receive_all(int fd, unsigned char *to, size_t n_bytes)
{
    while (n_bytes > 0) {
        union {
            char room[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec piece = {to, n_bytes};
        struct msghdr header = {.msg_iov = &piece,
                                .msg_iovlen = 1,
                                .msg_control = control.room,
                                .msg_controllen = sizeof(control.room)};
        const ssize_t n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
        if (n == 0) {
            return -ECONNRESET;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            close_descriptors(&header);
            to += n;
            n_bytes -= (size_t)n;
        }
    }
    return 0;
}

/* What an error means: no room is an answer, all else a fault of the replay. */
static int error_of(struct message error)
{
    const uint64_t code = first_number(error);
    return code == CODE_NO_MEMORY || code == CODE_INVALID ? ENGINE_E_REFUSED : -EPROTO;
}

static int answer_of(const unsigned char *from, size_t n_bytes, unsigned expected,
                     uint64_t *ret_number)
{
    struct message response = {from, from + n_bytes};
    struct message inner;
    uint64_t field;
    uint64_t number;
    while (take_field(&response, &field, &number, &inner)) {
        if (field == RESPONSE_ERROR) {
            return error_of(inner);
        }
        if (field == expected) {
            *ret_number = first_number(inner);
            return 0;
        }
    }
    return -EPROTO;
}

static int ask(struct engine *engine, unsigned kind, const struct bytes *body, uint64_t *ret_number)
{
    struct bytes request = {.n = 4};
    static unsigned char response[RESPONSE_MAX_BYTES];
    unsigned char length[4];
    put_number(&request, 1, ++engine->id);
    put_bytes(&request, kind, body->at, body->n);
    const uint32_t n_request = (uint32_t)(request.n - 4);
    for (int i = 0; i < 4; i++) {
        request.at[i] = (unsigned char)(n_request >> 8 * i);
    }
    int r = send_all(engine->fd, request.at, request.n);
    r = r ? r : receive_all(engine->fd, length, sizeof(length));
    if (r) {
        return r;
    }
    const uint32_t n_bytes = length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16 |
                             (uint32_t)length[3] << 24;
    if (n_bytes > sizeof(response)) {
        return -EPROTO;
    }
    r = receive_all(engine->fd, response, n_bytes);
    return r ? r : answer_of(response, n_bytes, kind + 1, ret_number);
}

int engine_open(struct engine *engine, const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct bytes hello = {.n = 0};
    uint64_t version;
    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    *engine = (struct engine){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (engine->fd < 0 ||
        connect(engine->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        const int error = errno;
        engine_close(engine);
        return -error;
    }
    put_number(&hello, 1, PROTOCOL_VERSION_1_0);
    put_number(&hello, 2, ROLE_MEMBER);
    const int r = ask(engine, REQUEST_HELLO, &hello, &version);
    if (r) {
        engine_close(engine);
        return r == ENGINE_E_REFUSED ? -EPROTO : r;
    }
    return 0;
}

void engine_close(struct engine *engine)
{
    if (engine->fd >= 0) {
        (void)close(engine->fd); /* all was answered */
    }
    engine->fd = -1;
}

int engine_allocate(struct engine *engine, uint64_t num_bytes, const char *reason,
                    uint64_t *ret_offset)
{
    struct bytes body = {.n = 0};
    put_number(&body, 1, num_bytes);
    put_bytes(&body, 2, reason, strnlen(reason, 127));
    put_number(&body, 3, 1); /* it may ask again: a refusal needs no sentence */
    return ask(engine, REQUEST_ALLOCATE, &body, ret_offset);
}

int engine_release(struct engine *engine, uint64_t offset)
{
    struct bytes body = {.n = 0};
    uint64_t num_bytes;
    put_number(&body, 1, offset);
    return ask(engine, REQUEST_RELEASE, &body, &num_bytes);
}
