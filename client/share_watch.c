/* SPDX-License-Identifier: MIT */
/*
 * kmem_watch(): a connection of its own, on which the server says that a name has changed. It is
 * handed to the program as a descriptor, with the answer to the request unread in it: that is the
 * first word, so that a program which reads, and then looks, needs no case for its beginning.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/share.h>

#include "client/link/handshake.h"
#include "client/link/refusal.h"
#include "client/share_parts.h"

/* 8: a server that is killed while it answers is followed by another, which may be as well. */
#define TRIES 8

/* A process that has joined watches in its segment, whatever its environment says by now. */
struct joined {
    char path[SOCKET_PATH_BYTES]; /* "": it has not */
    uint64_t instance;
};

KMEM_MUST_USE static int joined_find(struct joined *ret_joined, struct failure *failure)
{
    struct conn_lock lock;
    *ret_joined = (struct joined){.path = ""};
    if (kmem__context_allocator() == NULL) {
        return 0;
    }
    const int r = kmem__share_enter(&lock, 0, failure);
    if (r < 0) {
        return r;
    }
    memcpy(ret_joined->path, lock.conn->path, sizeof(ret_joined->path));
    ret_joined->instance = lock.segment->instance;
    kmem__context_leave(&lock);
    return 0;
}

KMEM_MUST_USE static int watch_ask(struct conn *conn, const char *name, struct failure *failure)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Watch watch = KMEM__WATCH__INIT;
    watch.name = (ProtobufCBinaryData){strlen(name), (uint8_t *)(uintptr_t)name};
    request.body_case = KMEM__REQUEST__BODY_WATCH;
    request.watch = &watch;
    const int r =
        kmem__conn_ask_unread(conn, &request, KMEM__RESPONSE__BODY_WATCHED, &response, failure);
    return r == CONN_E_REFUSED ? kmem__refusal_of_query(response->error, failure) : r;
}

/*
 * The program's own, unlike the library's others: a small number, for select(), and none of the
 * standard ones. Return: it, or -errno; the conn is closed.
 */
KMEM_MUST_USE static int watch_hand_over(struct conn *conn, struct failure *failure)
{
    const int fd = fcntl(conn->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int error = errno;
    kmem__conn_close(conn);
    if (fd < 0) {
        return kmem__failure_set(failure, error, "this process can have no descriptor for it: %s",
                                 strerror(error));
    }
    (void)fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK); /* it is a socket */
    return fd;
}

KMEM_MUST_USE static int watch_open(struct conn *conn, const struct joined *joined,
                                    const char *name, struct failure *failure)
{
    struct welcome welcome;
    const char *path = joined->path[0] != '\0' ? joined->path : NULL;
    int r = kmem__handshake(conn, path, KMEM__ROLE__ROLE_OBSERVER, &welcome, failure);
    if (r < 0) {
        return r;
    }
    if (path != NULL && welcome.instance != joined->instance) {
        r = kmem__failure_set(failure, ECONNRESET,
                              "the daemon at %s has another segment than the one that this process "
                              "has joined; call kmem_close(), and begin anew",
                              conn->path);
    }
    r = r < 0 ? r : watch_ask(conn, name, failure);
    if (r < 0) {
        kmem__conn_close(conn);
        return r;
    }
    return watch_hand_over(conn, failure);
}

KMEM_MUST_USE static int share_watch(const char *name, struct failure *failure)
{
    struct joined joined;
    int r = kmem__share_check_name(name, failure);
    r = r < 0 ? r : joined_find(&joined, failure);
    if (r < 0) {
        return r;
    }
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        return kmem__failure_set(failure, ENOMEM, "no memory for a connection");
    }
    for (int n = 0; n < TRIES && (n == 0 || (r == -ECONNRESET && conn->is_cut)); n++) {
        conn->is_cut = false;
        r = watch_open(conn, &joined, name, failure);
    }
    free(conn);
    return r;
}

int kmem_watch(const char *name)
{
    SHARE_CALL("kmem_watch", share_watch(name, &failure));
}

/* There is nothing more, or never was. */
KMEM_MUST_USE static int watch_read_end(ssize_t n, int error, bool has_read,
                                        struct failure *failure)
{
    if (has_read) {
        return 0;
    }
    if (n == 0 || error == ECONNRESET || error == EPIPE) {
        return kmem__failure_set(failure, ECONNRESET,
                                 "the watch has ended with the daemon's server; close it, and call "
                                 "kmem_watch() again");
    }
    return kmem__failure_set(failure, error,
                             error == EAGAIN ? "the name has not changed: %s"
                                             : "the descriptor is no watch: %s",
                             strerror(error));
}

KMEM_MUST_USE static int share_watch_read(int fd, struct failure *failure)
{
    char bytes[64];
    bool has_read = false;
    for (;;) {
        const ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n > 0) {
            has_read = true;
        } else if (n == 0 || errno != EINTR) {
            return watch_read_end(n, n == 0 ? 0 : errno, has_read, failure);
        }
    }
}

int kmem_watch_read(int fd)
{
    SHARE_CALL("kmem_watch_read", share_watch_read(fd, &failure));
}
