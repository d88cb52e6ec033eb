/* SPDX-License-Identifier: MIT */
#include "daemon/listener.h"

#include <unistd.h>

#include "daemon/log.h"

/* The keeper listens already, with a backlog; asking again with the same number changes nothing. */
#define BACKLOG 511

static int pipe_listen(struct listener *listener, uv_loop_t *loop, int fd)
{
    void *user = listener->pipe.data;
    int r = uv_pipe_init(loop, &listener->pipe, 0);
    listener->pipe.data = user;
    if (r == 0) {
        r = uv_pipe_open(&listener->pipe, fd);
    }
    if (r) {
        (void)close(fd); /* the pipe did not take it */
        return r;
    }
    return uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, listener->connected);
}

int listener_open(struct listener *listener, uv_loop_t *loop, int fd, uv_connection_cb connected,
                  void *user)
{
    *listener = (struct listener){.connected = connected, .next_fd = -1};
    listener->pipe.data = user;
    return pipe_listen(listener, loop, fd);
}

static void pipe_closed(uv_handle_t *handle)
{
    struct listener *listener = (struct listener *)handle;
    const int fd = listener->next_fd;
    listener->next_fd = -1;
    if (fd < 0 || listener->closed) {
        if (fd >= 0) {
            (void)close(fd); /* the keeper has its own */
        }
        return;
    }
    const int r = pipe_listen(listener, handle->loop, fd);
    if (r) {
        log_error("no new client can connect: %s", uv_strerror(r));
    }
}

void listener_replace(struct listener *listener, int fd)
{
    if (listener->next_fd >= 0) {
        (void)close(listener->next_fd); /* one that has been replaced already */
    }
    listener->next_fd = fd;
    if (!uv_is_closing((uv_handle_t *)&listener->pipe)) {
        uv_close((uv_handle_t *)&listener->pipe, pipe_closed);
    }
}

void listener_close(struct listener *listener)
{
    listener->closed = true;
    if (!uv_is_closing((uv_handle_t *)&listener->pipe)) {
        uv_close((uv_handle_t *)&listener->pipe, pipe_closed);
    }
}
