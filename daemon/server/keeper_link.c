/* SPDX-License-Identifier: MIT */
#include "daemon/server/keeper_link.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/server/loop.h"
#include "daemon/options.h"

/* 100 ms: the keeper does nothing that takes a hundredth of that, unless somebody has stopped it;
   and all clients wait meanwhile. */
#define KEEP_PATIENCE_MS 100
/* 1 s: nobody is served yet. */
#define READY_PATIENCE_MS 1000
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

static bool drop_is_due(const struct tether *tether, uint32_t slot)
{
    return tether->to_drop[slot / 64] >> slot % 64 & 1;
}

static void drop_later(struct tether *tether, uint32_t slot)
{
    if (!drop_is_due(tether, slot)) {
        tether->to_drop[slot / 64] |= UINT64_C(1) << slot % 64;
        tether->n_to_drop++;
    }
}

/* The keeper knows, or is told of other files, which are dropped in their place. */
static void drop_no_more(struct tether *tether, uint32_t slot)
{
    if (drop_is_due(tether, slot)) {
        tether->to_drop[slot / 64] &= ~(UINT64_C(1) << slot % 64);
        tether->n_to_drop--;
    }
}

/* Return: false if the keeper does not listen just now. */
static bool drop_now(struct tether *tether, uint32_t slot)
{
    const int r = control_send(tether->fd, CONTROL_DROP, slot, NULL, 0, 0);
    if (r == -EAGAIN) {
        return false;
    }
    if (r && log_limit_pass(&tether->drops_limit, 1, uv_now(tether->poll.loop))) {
        /* The slot's next client replaces them; a server that starts finds nobody in the slot. */
        log_warning("the keeper goes on holding the files of slot %u: %s", slot, uv_strerror(r));
    }
    drop_no_more(tether, slot);
    return true;
}

static void tether_happened(uv_poll_t *poll, int status, int events);

/* It is asked whether the keeper listens as long as there is something to tell. */
static void tether_watch(struct tether *tether)
{
    const int events = UV_READABLE | (tether->n_to_drop > 0 ? UV_WRITABLE : 0);
    (void)uv_poll_start(&tether->poll, events, tether_happened); /* it was started before */
}

static void tether_writable(struct tether *tether)
{
    for (uint32_t slot = 0; tether->n_to_drop > 0 && slot < CLIENTS_MAX; slot++) {
        if (drop_is_due(tether, slot) && !drop_now(tether, slot)) {
            break; /* there is more room later */
        }
    }
    tether_watch(tether);
}

static void tether_readable(uv_poll_t *poll)
{
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

static void tether_happened(uv_poll_t *poll, int status, int events)
{
    if (status < 0 || events & UV_READABLE) {
        tether_readable(poll); /* an error is found again there */
    }
    if (status == 0 && events & UV_WRITABLE && !uv_is_closing((uv_handle_t *)poll)) {
        tether_writable(poll->data);
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
    r = uv_poll_start(&tether->poll, UV_READABLE, tether_happened);
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
    return control_send(tether->fd, CONTROL_READY, 0, NULL, 0, READY_PATIENCE_MS);
}

/* All clients wait meanwhile, so a keeper that is stopped for long is waited for once. */
int tether_keep(struct tether *tether, uint32_t slot, int ledger_fd, int pidfd, int way_fd)
{
    const int fds[3] = {ledger_fd, pidfd, way_fd};
    const size_t n_fds = way_fd >= 0 ? 3 : 2;
    const int patience_ms = tether->is_deaf ? 0 : KEEP_PATIENCE_MS;
    const int r = control_send(tether->fd, CONTROL_KEEP, slot, fds, n_fds, patience_ms);
    tether->is_deaf = r == -EAGAIN;
    if (r == 0) {
        drop_no_more(tether, slot);
    }
    return r;
}

void tether_drop(struct tether *tether, uint32_t slot)
{
    if (!drop_now(tether, slot)) {
        drop_later(tether, slot);
        tether_watch(tether);
    }
}
