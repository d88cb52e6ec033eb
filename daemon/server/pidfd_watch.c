/* SPDX-License-Identifier: MIT */
#include "daemon/server/pidfd_watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/server/loop.h"
#include "proto/limits.h"

struct reaper_watch {
    uv_poll_t poll; /* first: libuv hands it back */
    struct reaper *reaper;
    uint32_t slot;
    int pidfd;
};

int reaper_init(struct reaper *reaper, uv_loop_t *loop, reaper_fn died, void *user)
{
    *reaper = (struct reaper){.loop = loop, .died = died, .user = user};
    reaper->watches = calloc(CLIENTS_MAX, sizeof(*reaper->watches));
    return reaper->watches ? 0 : -ENOMEM;
}

void reaper_fini(struct reaper *reaper)
{
    for (uint32_t slot = 0; reaper->watches && slot < CLIENTS_MAX; slot++) {
        KMEM_ASSERT(reaper->watches[slot] == NULL);
    }
    free(reaper->watches);
    reaper->watches = NULL;
}

static void watch_closed(uv_handle_t *handle)
{
    struct reaper_watch *watch = (struct reaper_watch *)handle;
    (void)close(watch->pidfd); /* nothing is written through it */
    free(watch);
}

static void watch_fired(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error means as well that the process can not be watched any more */
    (void)events;
    struct reaper_watch *watch = (struct reaper_watch *)poll;
    (void)uv_poll_stop(poll); /* always 0 */
    watch->reaper->died(watch->slot, watch->reaper->user);
}

int reaper_watch(struct reaper *reaper, uint32_t slot, int pidfd)
{
    KMEM_ASSERT(slot < CLIENTS_MAX);
    KMEM_ASSERT(reaper->watches[slot] == NULL);
    struct reaper_watch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        (void)close(pidfd); /* nothing is written through it */
        return -ENOMEM;
    }
    watch->reaper = reaper;
    watch->slot = slot;
    watch->pidfd = pidfd;
    int r = uv_poll_init(reaper->loop, &watch->poll, pidfd);
    if (r) {
        (void)close(pidfd); /* nothing is written through it */
        free(watch);
        return r;
    }
    r = uv_poll_start(&watch->poll, UV_READABLE, watch_fired);
    r = r ? r : loop_reserve(reaper->loop, pidfd);
    if (r) {
        uv_close((uv_handle_t *)&watch->poll, watch_closed);
        return r;
    }
    reaper->watches[slot] = watch;
    return 0;
}

bool reaper_watches(const struct reaper *reaper, uint32_t slot)
{
    return reaper->watches[slot] != NULL;
}

int reaper_pidfd(const struct reaper *reaper, uint32_t slot)
{
    return reaper->watches[slot] ? reaper->watches[slot]->pidfd : -1;
}

void reaper_look(struct reaper *reaper, uint32_t slot)
{
    struct pollfd process = {.fd = reaper_pidfd(reaper, slot), .events = POLLIN};
    if (poll(&process, 1, 0) == 1) { /* -1 is no descriptor: 0 */
        watch_fired(&reaper->watches[slot]->poll, 0, 0);
    }
}

void reaper_forget(struct reaper *reaper, uint32_t slot)
{
    struct reaper_watch *watch = reaper->watches[slot];
    reaper->watches[slot] = NULL;
    if (watch) {
        uv_close((uv_handle_t *)&watch->poll, watch_closed);
    }
}
