/* SPDX-License-Identifier: MIT */
#include "daemon/control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is sent; the descriptors go beside it. */
struct packet {
    uint32_t version;
    uint32_t kind;
    uint32_t slot;
    uint32_t n_fds;
};

union control_buffer {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
};

int control_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

static int packet_send(int fd, const struct msghdr *message)
{
    ssize_t n_sent;
    do {
        n_sent = sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n_sent < 0 && errno == EINTR);
    return n_sent < 0 ? -errno : 0;
}

int control_send(int fd, enum control_kind kind, uint32_t slot, const int *fds, size_t n_fds,
                 int patience_ms)
{
    struct packet packet = {CONTROL_VERSION, (uint32_t)kind, slot, (uint32_t)n_fds};
    struct iovec part = {.iov_base = &packet, .iov_len = sizeof(packet)};
    union control_buffer buffer = {.bytes = {0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    KMEM_ASSERT(n_fds <= CONTROL_FDS_MAX);
    if (n_fds > 0) {
        message.msg_control = buffer.bytes;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    int r = packet_send(fd, &message);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (r == -EAGAIN && patience_ms > 0 && poll(&writable, 1, patience_ms) == 1) {
        r = packet_send(fd, &message);
    }
    return r;
}

static void fds_take(struct msghdr *message, struct control_message *ret_message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            const size_t n_bytes = header->cmsg_len - CMSG_LEN(0);
            memcpy(ret_message->fds, CMSG_DATA(header), n_bytes);
            ret_message->n_fds = (uint32_t)(n_bytes / sizeof(int));
        }
    }
}

int control_receive(int fd, struct control_message *ret_message)
{
    struct packet packet = {0};
    struct iovec part = {.iov_base = &packet, .iov_len = sizeof(packet)};
    union control_buffer buffer;
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = buffer.bytes,
        .msg_controllen = sizeof(buffer.bytes),
    };
    ssize_t n_bytes;
    do {
        n_bytes = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n_bytes < 0 && errno == EINTR);
    if (n_bytes <= 0) {
        return n_bytes == 0 || errno == ECONNRESET ? -EPIPE : -errno;
    }
    *ret_message = (struct control_message){.fds = {-1, -1, -1}};
    fds_take(&message, ret_message);
    if (n_bytes != (ssize_t)sizeof(packet) || packet.version != CONTROL_VERSION ||
        packet.n_fds != ret_message->n_fds) {
        control_close_fds(ret_message);
        return -EPROTO; /* another version, or no descriptor is left for what came */
    }
    ret_message->version = packet.version;
    ret_message->kind = packet.kind;
    ret_message->slot = packet.slot;
    return 0;
}

void control_close_fds(const struct control_message *message)
{
    for (uint32_t i = 0; i < message->n_fds; i++) {
        (void)close(message->fds[i]); /* the sender has its own */
    }
}
