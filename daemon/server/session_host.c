/* SPDX-License-Identifier: MIT */
#include "daemon/server/session_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/memfd.h"
#include "daemon/server/loop.h"
#include "proto/limits.h"
#include "proto/text.h"

int session_host_init(struct session_host *host)
{
    host->reply = reply_new();
    host->frame = malloc(FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    host->session_of = calloc(CLIENTS_MAX, sizeof(*host->session_of));
    void *arena_bytes = malloc(REQUEST_ARENA_BYTES);
    if (arena_bytes) {
        arena_init(&host->arena, arena_bytes, REQUEST_ARENA_BYTES);
    }
    return host->reply && host->frame && host->session_of && arena_bytes ? 0 : -ENOMEM;
}

void session_host_fini(struct session_host *host)
{
    free(host->session_of);
    free(host->arena.bytes);
    free(host->frame);
    host->reply = reply_free(host->reply);
}

size_t session_host_encode(struct session_host *host)
{
    const size_t n_bytes = frame_encode(&host->reply->response.base, host->frame,
                                        FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    KMEM_ASSERT(n_bytes > 0); /* reply_row_fits() saw to it */
    return n_bytes;
}

ssize_t session_host_send(const struct session_host *host, int socket_fd, size_t n_bytes,
                          const int *fds, uint32_t n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(WELCOME_DESCRIPTORS_MAX * sizeof(int))];
    } control = {.bytes = {0}};
    const size_t fds_bytes = n_fds * sizeof(int);
    KMEM_ASSERT(n_fds <= WELCOME_DESCRIPTORS_MAX);
    struct iovec part = {.iov_base = host->frame, .iov_len = n_bytes};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(fds_bytes),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds_bytes);
    memcpy(CMSG_DATA(header), fds, fds_bytes);
    const ssize_t n_sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n_sent < 0 ? -errno : n_sent;
}

ssize_t session_host_welcome(const struct session_host *host, int socket_fd, size_t n_bytes,
                             const struct client *client, int way_fd)
{
    const uint32_t n_fds = way_fd >= 0 ? WELCOME_DESCRIPTORS_MAX : WELCOME_DESCRIPTORS;
    int fds[WELCOME_DESCRIPTORS_MAX] = {host->segment_fd, -1, host->ledgers->clock_fd, way_fd};
    _Atomic uint64_t *states; /* the client has it */
    const int r = client_files_open(host->ledgers, client->slot, &fds[1], &states);
    if (r || !client->identity.is_reader) {
        return r ? r : session_host_send(host, socket_fd, n_bytes, fds, n_fds);
    }
    fds[0] = host->reader_fd;
    fds[1] = memfd_open_again(fds[1]);
    if (fds[1] < 0) {
        return fds[1];
    }
    const ssize_t n_sent = session_host_send(host, socket_fd, n_bytes, fds, n_fds);
    (void)close(fds[1]); /* only read */
    return n_sent;
}

/* It can not be told itself: it does not read. */
static void session_host_cut_off(struct session_host *host, const struct user *user, uint32_t pid,
                                 int why)
{
    const struct users *users = host->users;
    const bool is_user = why == USERS_E_USER_QUEUED;
    const uint64_t used_bytes = is_user ? user->queued_bytes : users->queued_bytes;
    const uint64_t limit_bytes =
        is_user ? users->limits.queued_bytes_of_user : users->limits.queued_bytes;
    char pid_text[PID_TEXT_BYTES];
    char used[TEXT_BYTES_MAX];
    char limit[TEXT_BYTES_MAX];
    host->core->state.counters->connections_dropped++;
    if (!log_limit_pass(&host->refusals_limit, REFUSALS_LOGGED_A_SECOND, loop_now().ms)) {
        return;
    }
    log_warning("process %s of user %u is cut off: it reads no answers, and %s of them wait for "
                "%s, of the %s that may%s",
                client_pid_text(pid, pid_text), user->uid,
                text_format_bytes(used_bytes, used, sizeof(used)),
                is_user ? "processes of that user" : "all users",
                text_format_bytes(limit_bytes, limit, sizeof(limit)),
                is_user ? " (--queued-per-uid)" : "");
}

int session_host_queue(struct session_host *host, struct charge *charge, uint32_t pid,
                       uint32_t n_bytes)
{
    const int why = users_queue(host->users, charge, n_bytes);
    if (why) {
        session_host_cut_off(host, charge->process->user, pid, why);
    }
    return why ? -EDQUOT : 0;
}
