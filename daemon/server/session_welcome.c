/* SPDX-License-Identifier: MIT */
#include "daemon/server/session_welcome.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/server/session_host.h"

uint32_t session_n_descriptors(const struct session *session)
{
    return session->way_fds[1] >= 0 ? WELCOME_DESCRIPTORS_MAX : WELCOME_DESCRIPTORS;
}

/* libuv sends no plain descriptors. */
ssize_t session_send_welcome(struct session *session, const unsigned char *bytes, size_t n_bytes)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(WELCOME_DESCRIPTORS_MAX * sizeof(int))];
    } control = {.bytes = {0}};
    const size_t fds_bytes = session_n_descriptors(session) * sizeof(int);
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = n_bytes};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(fds_bytes),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    struct session_host *host = session->host;
    const struct client *client = session->peer.client;
    int fds[WELCOME_DESCRIPTORS_MAX] = {host->segment_fd, -1, host->ledgers->clock_fd,
                                        session->way_fds[1]};
    _Atomic uint64_t *states; /* the client has it */
    int r = client_files_open(host->ledgers, client->slot, &fds[1], &states);
    if (r) {
        return r;
    }
    header->cmsg_len = CMSG_LEN(fds_bytes);
    memcpy(CMSG_DATA(header), fds, fds_bytes);
    uv_os_fd_t fd;
    r = uv_fileno((uv_handle_t *)&session->pipe, &fd);
    if (r) {
        return r;
    }
    const ssize_t n_sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n_sent < 0 ? -errno : n_sent;
}
