/* SPDX-License-Identifier: MIT */
/*
 * ways.c - a client that has lost its connection asks here for another
 *
 *      client                    server
 *        Hello, its nonce   ──►    is this the client of the slot?
 *                           ◄──    Welcome, with one end of a new pair of sockets
 *
 * Each question is answered by itself, and the way stays what it is. So a server that is killed
 * between question and answer leaves nothing behind: the client asks again when it hears nothing,
 * and the keeper's copy of this end makes the next server hear it. Of questions that wait together
 * only the last is answered.
 *
 * Rejected: the listening socket's path, which a client may have lost (chdir, chroot, another mount
 * namespace) or have no rights to any more; an O_PATH descriptor of it, which needs the rights, and
 * /proc; a spare connection that is used once, which is lost with a server that dies just then; and
 * the connection itself, kept over the server's death, where nobody could tell what of a request
 * had been read.
 */
#include "daemon/server/ways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/server/loop.h"
#include "proto/frame.h"
#include "proto/limits.h"

struct way {
    uv_poll_t poll; /* first: libuv hands it back */
    struct ways *ways;
    uint32_t slot;
    int fd;
};

int ways_init(struct ways *ways, uv_loop_t *loop, ways_fn heard, void *user)
{
    *ways = (struct ways){.loop = loop, .heard = heard, .user = user};
    ways->ways = calloc(CLIENTS_MAX, sizeof(*ways->ways));
    return ways->ways ? 0 : -ENOMEM;
}

void ways_fini(struct ways *ways)
{
    for (uint32_t slot = 0; ways->ways && slot < CLIENTS_MAX; slot++) {
        KMEM_ASSERT(ways->ways[slot] == NULL);
    }
    free(ways->ways);
    ways->ways = NULL;
}

int ways_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

static void way_closed(uv_handle_t *handle)
{
    struct way *way = (struct way *)handle;
    (void)close(way->fd); /* the keeper's copy goes likewise */
    free(way);
}

/*
 * The last of the whole frames in n_bytes. Hello is some 40 bytes and sent at once, so who sends
 * half a frame does not speak this protocol. Return: its payload; NULL: it is none of ours.
 */
static const unsigned char *last_frame(const unsigned char *bytes, size_t n_bytes,
                                       size_t *ret_payload_bytes)
{
    const unsigned char *payload = NULL;
    size_t at = 0;
    while (n_bytes - at >= FRAME_HEADER_BYTES) {
        const uint32_t length = frame_length(bytes + at);
        if (length > REQUEST_MAX_BYTES || length > n_bytes - at - FRAME_HEADER_BYTES) {
            return NULL;
        }
        payload = bytes + at + FRAME_HEADER_BYTES;
        *ret_payload_bytes = length;
        at += FRAME_HEADER_BYTES + length;
    }
    return at == n_bytes ? payload : NULL;
}

static void way_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error is found again below */
    (void)events;
    const struct way *way = (struct way *)poll;
    unsigned char bytes[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
    const ssize_t n_bytes = recv(way->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n_bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    size_t payload_bytes = 0;
    const unsigned char *payload =
        n_bytes > 0 ? last_frame(bytes, (size_t)n_bytes, &payload_bytes) : NULL;
    if (!payload) {
        (void)uv_poll_stop(poll); /* always 0; the client has closed it, or talks nonsense */
        return;
    }
    way->ways->heard(way->slot, payload, payload_bytes, way->ways->user);
}

int ways_open(struct ways *ways, uint32_t slot, int fd)
{
    ways_close(ways, slot);
    struct way *way = calloc(1, sizeof(*way));
    if (!way) {
        (void)close(fd); /* nothing is written through it */
        return -ENOMEM;
    }
    *way = (struct way){.ways = ways, .slot = slot, .fd = fd};
    int r = uv_poll_init(ways->loop, &way->poll, fd);
    if (r) {
        (void)close(fd); /* likewise */
        free(way);
        return r;
    }
    r = uv_poll_start(&way->poll, UV_READABLE, way_readable);
    r = r ? r : loop_reserve(ways->loop, fd);
    if (r) {
        uv_close((uv_handle_t *)&way->poll, way_closed);
        return r;
    }
    ways->ways[slot] = way;
    return 0;
}

int ways_answer(const struct ways *ways, uint32_t slot, const unsigned char *frame,
                size_t frame_bytes, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)frame, .iov_len = frame_bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    const ssize_t n_sent = sendmsg(ways->ways[slot]->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n_sent < 0) {
        return -errno;
    }
    return (size_t)n_sent == frame_bytes ? 0 : -EAGAIN;
}

void ways_close(struct ways *ways, uint32_t slot)
{
    struct way *way = ways->ways ? ways->ways[slot] : NULL;
    if (way) {
        ways->ways[slot] = NULL;
        uv_close((uv_handle_t *)&way->poll, way_closed);
    }
}
