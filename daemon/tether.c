/* SPDX-License-Identifier: MIT */
#include "daemon/tether.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/options.h"

/* 1 s: the keeper does nothing that takes a thousandth of that, unless somebody has stopped it. */
#define KEEP_PATIENCE_MS 1000
/* 100 turns of the loop, since what was not read is there again in the next; a fault may pass. */
#define FAULTS_MAX 100

void tether_alive(const struct tether *tether)
{
    if (control_send(tether->fd, CONTROL_ALIVE, 0, NULL, 0, 0)) {
        log_debug("the keeper does not listen"); /* nor look for an answer */
    }
}

static void tether_message(struct tether *tether, const struct control_message *message)
{
    if (message->kind != CONTROL_PING) {
        tether->told(message, tether->user);
        return;
    }
    control_close_fds(message);
    tether_alive(tether);
    log_retry();
}

static void tether_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error is found again below */
    (void)events;
    struct tether *tether = poll->data;
    struct control_message message;
    int r = control_receive(tether->fd, &message);
    while (r == 0 && !uv_is_closing((uv_handle_t *)poll)) {
        tether_message(tether, &message);
        r = control_receive(tether->fd, &message);
    }
    tether->n_faults = r == 0 || r == -EAGAIN ? 0 : tether->n_faults + 1;
    if (r == -EPIPE) {
        /* No orderly end: whoever comes next takes the files as they are. */
        log_error("the keeper has ended");
        _exit(EXIT_SYSTEM);
    }
    if (tether->n_faults > FAULTS_MAX) {
        log_error("the keeper can not be heard: %s", uv_strerror(r));
        _exit(EXIT_SYSTEM); /* another server may be able to */
    }
}

int tether_open(struct tether *tether, uv_loop_t *loop, int fd, tether_fn told, void *user)
{
    *tether = (struct tether){.fd = fd, .told = told, .user = user};
    int r = uv_poll_init(loop, &tether->poll, fd);
    if (r) {
        (void)close(fd); /* the process is not going to serve */
        return r;
    }
    tether->poll.data = tether;
    r = uv_poll_start(&tether->poll, UV_READABLE, tether_readable);
    return r ? r : loop_reserve(loop, fd);
}

static void tether_closed(uv_handle_t *handle)
{
    struct tether *tether = handle->data;
    (void)close(tether->fd); /* everything has been said */
}

void tether_close(struct tether *tether)
{
    uv_close((uv_handle_t *)&tether->poll, tether_closed);
}

int tether_ready(const struct tether *tether)
{
    return control_send(tether->fd, CONTROL_READY, 0, NULL, 0, KEEP_PATIENCE_MS);
}

/* All clients wait meanwhile, so a keeper that is stopped for long is waited for once. */
static int tether_send(struct tether *tether, enum control_kind kind, uint32_t slot, const int *fds,
                       size_t n_fds)
{
    const int patience_ms = tether->is_deaf ? 0 : KEEP_PATIENCE_MS;
    const int r = control_send(tether->fd, kind, slot, fds, n_fds, patience_ms);
    tether->is_deaf = r == -EAGAIN;
    return r;
}

int tether_keep(struct tether *tether, uint32_t slot, int ledger_fd, int pidfd)
{
    const int fds[2] = {ledger_fd, pidfd};
    return tether_send(tether, CONTROL_KEEP, slot, fds, 2);
}

void tether_drop(struct tether *tether, uint32_t slot)
{
    const int r = tether_send(tether, CONTROL_DROP, slot, NULL, 0);
    if (r && log_limit_pass(&tether->drops_limit, 1, uv_now(tether->poll.loop))) {
        /* The slot's next client replaces them; a server that starts finds nobody in the slot. */
        log_warning("the keeper goes on holding the files of slot %u: %s", slot, uv_strerror(r));
    }
}
