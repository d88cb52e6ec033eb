/* SPDX-License-Identifier: MIT */
/*
 * listener.c - the socket is polled, and the server accepts as many as it likes
 *
 * libuv's own way is not used: it accepts until no connection waits any more, in one turn of the
 * loop; and where no descriptor is left it accepts all of them and closes them without a word.
 */
#include "daemon/server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/server/loop.h"

/* 100 ms: who waits to join does not mind; a tenth would be a burden on a system in need. */
#define PAUSE_MS 100

static void listener_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error is found again by accept() */
    (void)events;
    const struct listener *listener = (struct listener *)poll;
    listener->waiting(listener->user);
}

static int listener_start(struct listener *listener)
{
    uv_loop_t *loop = listener->pause.loop;
    int r = listener->polls ? 0 : uv_poll_init(loop, &listener->poll, listener->fd);
    listener->polls = r == 0;
    r = r ? r : uv_poll_start(&listener->poll, UV_READABLE, listener_readable);
    return r ? r : loop_reserve(loop, listener->fd);
}

/* Return: whether the handle is going to be closed; else there is none. */
static bool listener_stop(struct listener *listener, uv_close_cb closed)
{
    const bool polls = listener->polls;
    listener->polls = false;
    if (polls) {
        uv_close((uv_handle_t *)&listener->poll, closed);
    }
    return polls;
}

int listener_open(struct listener *listener, uv_loop_t *loop, int fd, listener_fn waiting,
                  void *user)
{
    *listener = (struct listener){.waiting = waiting, .user = user, .fd = fd, .spare_fd = -1};
    (void)uv_timer_init(loop, &listener->pause); /* always 0 */
    listener->pause.data = listener;
    listener_save_spare(listener);
    return listener_start(listener);
}

int listener_accept(const struct listener *listener)
{
    const int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int listener_accept_spare(struct listener *listener)
{
    if (listener->spare_fd < 0) {
        return -EMFILE;
    }
    (void)close(listener->spare_fd); /* nothing is written through it */
    listener->spare_fd = -1;
    return listener_accept(listener);
}

void listener_save_spare(struct listener *listener)
{
    if (listener->spare_fd < 0) {
        listener->spare_fd = open("/", O_PATH | O_CLOEXEC); /* -1: there is none */
    }
}

/* Listens, or tries again later. */
static void listener_try(struct listener *listener)
{
    const int r = listener_start(listener);
    if (r) {
        log_error("no new client can connect: %s", uv_strerror(r));
        listener_pause(listener);
    }
}

static void pause_over(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    listener->paused = false;
    listener_save_spare(listener);
    listener_try(listener);
}

void listener_pause(struct listener *listener)
{
    if (listener->closed || listener->paused) {
        return;
    }
    listener->paused = true;
    if (listener->polls) {
        (void)uv_poll_stop(&listener->poll); /* always 0 */
    }
    (void)uv_timer_start(&listener->pause, pause_over, PAUSE_MS, 0); /* it is not closing */
}

/* The handle of a socket that has been replaced. */
static void replaced_closed(uv_handle_t *handle)
{
    struct listener *listener = (struct listener *)handle;
    if (!listener->closed) {
        (void)uv_timer_stop(&listener->pause); /* always 0 */
        listener->paused = false;
        listener_try(listener);
    }
}

void listener_replace(struct listener *listener, int fd)
{
    listener->paused = true; /* until the handle is closed, if there is one */
    if (!listener_stop(listener, replaced_closed)) {
        (void)uv_timer_start(&listener->pause, pause_over, PAUSE_MS, 0); /* it is not closing */
    }
    (void)close(listener->fd); /* no client can reach it */
    listener->fd = fd;
}

void listener_close(struct listener *listener)
{
    listener->closed = true;
    uv_close((uv_handle_t *)&listener->pause, NULL);
    (void)listener_stop(listener, NULL); /* whether there was one does not matter any more */
    (void)close(listener->fd);           /* the keeper has its own */
    if (listener->spare_fd >= 0) {
        (void)close(listener->spare_fd); /* nothing is written through it */
    }
}
