/* SPDX-License-Identifier: MIT */
#include "tests/bench/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/frame.h"
#include "proto/limits.h"
#include "tests/bench/bench.h"

int peer_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("KMEM_SOCKET");
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path ? path : "");
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

bool peer_send(int fd, const void *bytes, size_t n_bytes)
{
    const unsigned char *at = bytes;
    while (n_bytes > 0) {
        const ssize_t n = send(fd, at, n_bytes, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        at += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

static bool receive_all(int fd, unsigned char *bytes, size_t n_bytes)
{
    /* recv() drops the descriptors that come with a Welcome. */
    return n_bytes == 0 || recv(fd, bytes, n_bytes, MSG_WAITALL) == (ssize_t)n_bytes;
}

Kmem__Response__BodyCase peer_receive(int fd, Kmem__Allocated *ret_allocated)
{
    static unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
    if (!receive_all(fd, frame, FRAME_HEADER_BYTES)) {
        return KMEM__RESPONSE__BODY__NOT_SET;
    }
    const uint32_t n_bytes = frame_length(frame);
    if (n_bytes > RESPONSE_MAX_BYTES || !receive_all(fd, frame + FRAME_HEADER_BYTES, n_bytes)) {
        return KMEM__RESPONSE__BODY__NOT_SET;
    }
    Kmem__Response *response = kmem__response__unpack(NULL, n_bytes, frame + FRAME_HEADER_BYTES);
    if (!response) {
        bench_fail("the daemon answers what is no response");
    }
    const Kmem__Response__BodyCase body_case = response->body_case;
    if (ret_allocated && body_case == KMEM__RESPONSE__BODY_ALLOCATED) {
        ret_allocated->offset = response->allocated->offset;
    }
    kmem__response__free_unpacked(response, NULL);
    return body_case;
}

size_t peer_encode(const Kmem__Request *request, unsigned char *frame, size_t capacity_bytes)
{
    const size_t n_bytes = request_pack(request, frame, capacity_bytes);
    if (n_bytes == 0) {
        bench_fail("a request does not fit its buffer");
    }
    return n_bytes;
}

int peer_join(Kmem__Role role)
{
    unsigned char frame[64];
    const size_t n_bytes = peer_encode(request_hello(NEW_REQUEST, role, 0), frame, sizeof(frame));
    const int fd = peer_connect();
    if (fd >= 0 && peer_send(fd, frame, n_bytes) &&
        peer_receive(fd, NULL) == KMEM__RESPONSE__BODY_WELCOME) {
        return fd;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}
