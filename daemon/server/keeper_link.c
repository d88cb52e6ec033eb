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

void keeper_link_alive(const struct keeper_link *keeper_link)
{
    if (control_send(keeper_link->fd, CONTROL_ALIVE, 0, NULL, 0, 0)) {
        log_debug("the keeper does not listen"); /* nor look for an answer */
    }
}

static void keeper_link_message(struct keeper_link *keeper_link,
                                const struct control_message *message)
{
    if (message->kind != CONTROL_PING) {
        keeper_link->told(message, keeper_link->user);
        return;
    }
    control_close_fds(message);
    keeper_link_alive(keeper_link);
    log_retry();
}

static bool drop_is_due(const struct keeper_link *keeper_link, uint32_t slot)
{
    return keeper_link->to_drop[slot / 64] >> slot % 64 & 1;
}

static void drop_later(struct keeper_link *keeper_link, uint32_t slot)
{
    if (!drop_is_due(keeper_link, slot)) {
        keeper_link->to_drop[slot / 64] |= UINT64_C(1) << slot % 64;
        keeper_link->n_to_drop++;
    }
}

/* The keeper knows, or is told of other files, which are dropped in their place. */
static void drop_no_more(struct keeper_link *keeper_link, uint32_t slot)
{
    if (drop_is_due(keeper_link, slot)) {
        keeper_link->to_drop[slot / 64] &= ~(UINT64_C(1) << slot % 64);
        keeper_link->n_to_drop--;
    }
}

/* Return: false if the keeper does not listen just now. */
static bool drop_now(struct keeper_link *keeper_link, uint32_t slot)
{
    const int r = control_send(keeper_link->fd, CONTROL_DROP, slot, NULL, 0, 0);
    if (r == -EAGAIN) {
        return false;
    }
    if (r && log_limit_pass(&keeper_link->drops_limit, 1, uv_now(keeper_link->poll.loop))) {
        /* The slot's next client replaces them; a server that starts finds nobody in the slot. */
        log_warning("the keeper goes on holding the files of slot %u: %s", slot, uv_strerror(r));
    }
    drop_no_more(keeper_link, slot);
    return true;
}

static void keeper_link_happened(uv_poll_t *poll, int status, int events);

/* It is asked whether the keeper listens as long as there is something to tell. */
static void keeper_link_watch(struct keeper_link *keeper_link)
{
    const int events = UV_READABLE | (keeper_link->n_to_drop > 0 ? UV_WRITABLE : 0);
    (void)uv_poll_start(&keeper_link->poll, events,
                        keeper_link_happened); /* it was started before */
}

static void keeper_link_writable(struct keeper_link *keeper_link)
{
    for (uint32_t slot = 0; keeper_link->n_to_drop > 0 && slot < CLIENTS_MAX; slot++) {
        if (drop_is_due(keeper_link, slot) && !drop_now(keeper_link, slot)) {
            break; /* there is more room later */
        }
    }
    keeper_link_watch(keeper_link);
}

static void keeper_link_readable(uv_poll_t *poll)
{
    struct keeper_link *keeper_link = poll->data;
    struct control_message message;
    int r = control_receive(keeper_link->fd, &message);
    while (r == 0 && !uv_is_closing((uv_handle_t *)poll)) {
        keeper_link_message(keeper_link, &message);
        r = control_receive(keeper_link->fd, &message);
    }
    keeper_link->n_faults = r == 0 || r == -EAGAIN ? 0 : keeper_link->n_faults + 1;
    if (r == -EPIPE) {
        /* No orderly end: whoever comes next takes the files as they are. */
        log_error("the keeper has ended");
        _exit(EXIT_SYSTEM);
    }
    if (keeper_link->n_faults > FAULTS_MAX) {
        log_error("the keeper can not be heard: %s", uv_strerror(r));
        _exit(EXIT_SYSTEM); /* another server may be able to */
    }
}

static void keeper_link_happened(uv_poll_t *poll, int status, int events)
{
    if (status < 0 || events & UV_READABLE) {
        keeper_link_readable(poll); /* an error is found again there */
    }
    if (status == 0 && events & UV_WRITABLE && !uv_is_closing((uv_handle_t *)poll)) {
        keeper_link_writable(poll->data);
    }
}

int keeper_link_open(struct keeper_link *keeper_link, uv_loop_t *loop, int fd, keeper_link_fn told,
                     void *user)
{
    *keeper_link = (struct keeper_link){.fd = fd, .told = told, .user = user};
    int r = uv_poll_init(loop, &keeper_link->poll, fd);
    if (r) {
        (void)close(fd); /* the process is not going to serve */
        return r;
    }
    keeper_link->poll.data = keeper_link;
    r = uv_poll_start(&keeper_link->poll, UV_READABLE, keeper_link_happened);
    return r ? r : loop_reserve(loop, fd);
}

static void keeper_link_closed(uv_handle_t *handle)
{
    struct keeper_link *keeper_link = handle->data;
    (void)close(keeper_link->fd); /* everything has been said */
}

void keeper_link_close(struct keeper_link *keeper_link)
{
    uv_close((uv_handle_t *)&keeper_link->poll, keeper_link_closed);
}

int keeper_link_ready(const struct keeper_link *keeper_link)
{
    return control_send(keeper_link->fd, CONTROL_READY, 0, NULL, 0, READY_PATIENCE_MS);
}

/* All clients wait meanwhile, so a keeper that is stopped for long is waited for once. */
int keeper_link_keep(struct keeper_link *keeper_link, uint32_t slot, int ledger_fd, int pidfd,
                     int way_fd)
{
    const int fds[3] = {ledger_fd, pidfd, way_fd};
    const size_t n_fds = way_fd >= 0 ? 3 : 2;
    const int patience_ms = keeper_link->not_reading ? 0 : KEEP_PATIENCE_MS;
    const int r = control_send(keeper_link->fd, CONTROL_KEEP, slot, fds, n_fds, patience_ms);
    keeper_link->not_reading = r == -EAGAIN;
    if (r == 0) {
        drop_no_more(keeper_link, slot);
    }
    return r;
}

int keeper_link_config(const struct keeper_link *keeper_link, int fd)
{
    return control_send(keeper_link->fd, CONTROL_CONFIG, 0, &fd, 1, KEEP_PATIENCE_MS);
}

void keeper_link_drop(struct keeper_link *keeper_link, uint32_t slot)
{
    if (!drop_now(keeper_link, slot)) {
        drop_later(keeper_link, slot);
        keeper_link_watch(keeper_link);
    }
}
