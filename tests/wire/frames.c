/* SPDX-License-Identifier: MIT */
#include "tests/wire/frames.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void want(bool condition, const char *otherwise)
{
    if (!condition) {
        frames_host.fail(otherwise);
    }
}

int frames_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        const int error = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return -error;
    }
    return fd;
}

bool frames_send_bytes(int fd, const void *bytes, size_t n_bytes)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        const ssize_t n = send(fd, from, n_bytes, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return false;
        }
        want(n > 0, "send() fails");
        from += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

/* More than a Welcome has, or in two parts, is a mistake. */
static void take_descriptors(struct msghdr *message, struct wire_descriptors *descriptors)
{
    const struct cmsghdr *const came = CMSG_FIRSTHDR(message);
    if (came == NULL || descriptors == NULL) {
        return;
    }
    const size_t n_fds = (came->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    want(descriptors->n_fds == 0, "descriptors come in two parts");
    want((message->msg_flags & MSG_CTRUNC) == 0, "descriptors are lost");
    want(n_fds <= WELCOME_DESCRIPTORS_MAX, "too many descriptors");
    descriptors->n_fds = n_fds;
    memcpy(descriptors->fds, CMSG_DATA(came), n_fds * sizeof(int));
}

/* Return: false if the peer closed. */
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
        want(frames_host.wait == NULL || frames_host.wait(fd), "no answer");
        const ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return false;
        }
        want(n > 0, "recvmsg() fails");
        take_descriptors(&message, descriptors);
        to += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

Kmem__Response *frames_receive(int fd, struct wire_descriptors *descriptors)
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
    want(n_bytes <= RESPONSE_MAX_BYTES, "a response is too long");
    if (!receive_bytes(fd, payload, n_bytes, descriptors)) {
        return NULL;
    }
    Kmem__Response *const response = kmem__response__unpack(NULL, n_bytes, payload);
    want(response != NULL, "what comes is no response");
    return response;
}
