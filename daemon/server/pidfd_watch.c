/* SPDX-License-Identifier: MIT */
#include "daemon/server/pidfd_watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/server/loop.h"
#include "proto/limits.h"

struct watched_pidfd {
    uv_poll_t poll; /* first: libuv hands it back */
    struct pidfd_watch *pidfds;
    uint32_t slot;
    int pidfd;
};

int pidfd_watch_init(struct pidfd_watch *pidfds, uv_loop_t *loop, pidfd_watch_fn died, void *user)
{
    *pidfds = (struct pidfd_watch){.loop = loop, .died = died, .user = user};
    pidfds->watches = calloc(CLIENTS_MAX, sizeof(*pidfds->watches));
    return pidfds->watches ? 0 : -ENOMEM;
}

void pidfd_watch_fini(struct pidfd_watch *pidfds)
{
    for (uint32_t slot = 0; pidfds->watches && slot < CLIENTS_MAX; slot++) {
        KMEM_ASSERT(pidfds->watches[slot] == NULL);
    }
    free(pidfds->watches);
    pidfds->watches = NULL;
}

static void watch_closed(uv_handle_t *handle)
{
    struct watched_pidfd *watch = (struct watched_pidfd *)handle;
    (void)close(watch->pidfd); /* nothing is written through it */
    free(watch);
}

static void watch_fired(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error means as well that the process can not be watched any more */
    (void)events;
    struct watched_pidfd *watch = (struct watched_pidfd *)poll;
    (void)uv_poll_stop(poll); /* always 0 */
    watch->pidfds->died(watch->slot, watch->pidfds->user);
}

int pidfd_watch_watch(struct pidfd_watch *pidfds, uint32_t slot, int pidfd)
{
    KMEM_ASSERT(slot < CLIENTS_MAX);
    KMEM_ASSERT(pidfds->watches[slot] == NULL);
    struct watched_pidfd *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        (void)close(pidfd); /* nothing is written through it */
        return -ENOMEM;
    }
    watch->pidfds = pidfds;
    watch->slot = slot;
    watch->pidfd = pidfd;
    int r = uv_poll_init(pidfds->loop, &watch->poll, pidfd);
    if (r) {
        (void)close(pidfd); /* nothing is written through it */
        free(watch);
        return r;
    }
    r = uv_poll_start(&watch->poll, UV_READABLE, watch_fired);
    r = r ? r : loop_reserve(pidfds->loop, pidfd);
    if (r) {
        uv_close((uv_handle_t *)&watch->poll, watch_closed);
        return r;
    }
    pidfds->watches[slot] = watch;
    return 0;
}

bool pidfd_watch_watches(const struct pidfd_watch *pidfds, uint32_t slot)
{
    return pidfds->watches[slot] != NULL;
}

int pidfd_watch_pidfd(const struct pidfd_watch *pidfds, uint32_t slot)
{
    return pidfds->watches[slot] ? pidfds->watches[slot]->pidfd : -1;
}

void pidfd_watch_look(struct pidfd_watch *pidfds, uint32_t slot)
{
    struct pollfd process = {.fd = pidfd_watch_pidfd(pidfds, slot), .events = POLLIN};
    if (poll(&process, 1, 0) == 1) { /* -1 is no descriptor: 0 */
        watch_fired(&pidfds->watches[slot]->poll, 0, 0);
    }
}

void pidfd_watch_forget(struct pidfd_watch *pidfds, uint32_t slot)
{
    struct watched_pidfd *watch = pidfds->watches[slot];
    pidfds->watches[slot] = NULL;
    if (watch) {
        uv_close((uv_handle_t *)&watch->poll, watch_closed);
    }
}
