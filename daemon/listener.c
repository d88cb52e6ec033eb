/* SPDX-License-Identifier: MIT */
/*
 * listener.c - the socket stays, libuv's handle of it comes and goes
 *
 * libuv has no way to stop listening but to close the handle, and its descriptor with it; and where
 * accept() fails it tries again at once, for ever. So the handle has a duplicate: it is closed when
 * nothing can be accepted, and made anew a moment later.
 */
#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/loop.h"

/* The keeper listens already, with a backlog; asking again with the same number changes nothing. */
#define BACKLOG 511
/* 100 ms: who waits to join does not mind; a tenth would be a burden on a system in need. */
#define PAUSE_MS 100

static int pipe_listen(struct listener *listener, uv_loop_t *loop)
{
    void *user = listener->pipe.data;
    int r = uv_pipe_init(loop, &listener->pipe, 0);
    listener->pipe.data = user;
    if (r) {
        return r;
    }
    const int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    r = uv_pipe_open(&listener->pipe, fd);
    if (r) {
        (void)close(fd); /* the pipe did not take it */
        return r;
    }
    r = loop_reserve(loop, fd);
    return r ? r : uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, listener->connected);
}

int listener_open(struct listener *listener, uv_loop_t *loop, int fd, uv_connection_cb connected,
                  void *user)
{
    *listener = (struct listener){.connected = connected, .fd = fd};
    listener->pipe.data = user;
    (void)uv_timer_init(loop, &listener->pause); /* always 0 */
    return pipe_listen(listener, loop);
}

static void pipe_closed(uv_handle_t *handle)
{
    struct listener *listener = (struct listener *)handle;
    if (listener->closed || listener->paused) {
        return;
    }
    const int r = pipe_listen(listener, handle->loop);
    if (r) {
        log_error("no new client can connect: %s", uv_strerror(r));
        listener_pause(listener);
    }
}

/* Closes the handle; what comes then depends on the listener. */
static void pipe_close(struct listener *listener)
{
    if (!uv_is_closing((uv_handle_t *)&listener->pipe)) {
        uv_close((uv_handle_t *)&listener->pipe, pipe_closed);
    }
}

static void pause_over(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    listener->paused = false;
    pipe_closed((uv_handle_t *)&listener->pipe);
}

void listener_pause(struct listener *listener)
{
    if (listener->closed || listener->paused) {
        return;
    }
    listener->paused = true;
    listener->pause.data = listener;
    pipe_close(listener);
    (void)uv_timer_start(&listener->pause, pause_over, PAUSE_MS, 0); /* it is not closing */
}

void listener_replace(struct listener *listener, int fd)
{
    (void)close(listener->fd); /* nobody can reach it */
    listener->fd = fd;
    pipe_close(listener);
}

void listener_close(struct listener *listener)
{
    listener->closed = true;
    uv_close((uv_handle_t *)&listener->pause, NULL);
    pipe_close(listener);
    (void)close(listener->fd); /* the keeper has its own */
}
