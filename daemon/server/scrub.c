/* SPDX-License-Identifier: MIT */
#include "daemon/server/scrub.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/server/huge_pages.h"
#include "daemon/log.h"
#include "daemon/server/loop.h"
#include "proto/crash_point.h"
#include "proto/limits.h"

/* 64 pages, 1 MiB: some 200 us for the scrubber, and ten for the server, that is woken once. More
   would be kept from everybody at a time. */
#define STEP_PAGES 64
/* 256 pages, 4 MiB: free extents cost little by the piece and much by the number of pieces. */
#define STEP_HOLE_PAGES 256
/* 500 ms: a thousand times what a piece takes. A request that finds no other room waits so long,
   since every request is to be answered within a second. */
#define WAIT_MS 500
/* 20, or ten seconds: then the operator is told. */
#define WAITS_TOLD 20
/* 1 s: what has just failed may not fail then. */
#define RESTART_MS 1000

static void scrub_start(struct scrub *scrub);

static void scrub_waited(uv_timer_t *timer)
{
    struct scrub *scrub = timer->data;
    if (pages_await_scrub(scrub->config.pages)) {
        pages_scrub_hang(scrub->config.pages);
    }
    if (++scrub->n_waits == WAITS_TOLD && !scrub->mute) {
        scrub->mute = true;
        log_warning("what came back to the segment is not cleared: another process holds the lock "
                    "of its file; whoever gets it next clears it");
    }
}

static void scrub_restart(uv_timer_t *timer)
{
    struct scrub *scrub = timer->data;
    scrubber_reap(&scrub->scrubber);
    scrub_start(scrub);
}

/* The timers are restarted, and not closing; that can not fail. */
static void wait_begin(struct scrub *scrub)
{
    scrub->n_waits = 0;
    (void)uv_timer_start(&scrub->timer, scrub_waited, WAIT_MS, WAIT_MS);
}

static void restart_later(struct scrub *scrub)
{
    scrub->phase = SCRUB_ABSENT;
    if (!scrub->closing) {
        (void)uv_timer_start(&scrub->timer, scrub_restart, RESTART_MS, 0);
    }
}

/* ------------------------------------------------------------------------- the scrubber ------- */

/* It has the lock, so none is left that could still write to what the last one had in hand. */
static void scrub_ready(struct scrub *scrub)
{
    const struct scrubber_order collapse = {.kind = SCRUBBER_COLLAPSE,
                                            .n_bytes = scrub->config.huge_bytes};
    scrub->phase = SCRUB_IDLE;
    if (scrub->config.pages->scrub_page != 0) {
        pages_scrub_end(scrub->config.pages, false);
    }
    if (scrub->config.huge_bytes > 0 && !scrub->collapsed &&
        scrubber_order(&scrub->scrubber, &collapse)) {
        log_debug("the scrubber does not listen"); /* its end will tell why */
    }
    scrub->config.done(scrub->config.user);
}

static void scrub_done(struct scrub *scrub, int error)
{
    KMEM_CRASH_POINT("server.scrub.done");
    scrub->phase = SCRUB_IDLE;
    scrub->mute = false;
    pages_scrub_end(scrub->config.pages, error == 0);
    KMEM_CRASH_POINT("server.scrub.free");
    if (error) {
        scrub->failed = true;
        log_warning("what came back to the segment can not be cleared: %s; whoever gets it next "
                    "clears it",
                    strerror(-error));
    }
    scrub->config.done(scrub->config.user);
}

static void scrub_collapsed(struct scrub *scrub, const struct scrubber_answer *answer)
{
    scrub->collapsed = true;
    if (answer->n_huge == 0) {
        *scrub->config.granule_bytes = PAGE_BYTES;
    }
    *scrub->config.made_bytes = answer->n_huge * HUGE_PAGES_HUGE_BYTES;
    huge_pages_log(scrub->config.huge_bytes, answer->n_huge, answer->error);
}

static void scrub_answered(struct scrub *scrub, const struct scrubber_answer *answer)
{
    if (answer->kind == SCRUBBER_COLLAPSED) {
        scrub_collapsed(scrub, answer);
        return;
    }
    (void)uv_timer_stop(&scrub->timer); /* always 0 */
    if (answer->kind == SCRUBBER_READY) {
        scrub_ready(scrub);
    } else {
        scrub_done(scrub, answer->error);
    }
}

static void poll_closed(uv_handle_t *handle)
{
    struct scrub *scrub = handle->data;
    (void)close(scrub->scrubber.fd); /* nothing is left to say */
    scrubber_reap(&scrub->scrubber);
    restart_later(scrub);
}

/* It can not write any more: who has closed its descriptors is in no system call. */
static void scrub_ended(struct scrub *scrub)
{
    if (!scrub->mute) {
        scrub->mute = true;
        log_warning("the process that clears what came back has ended; another one is started");
    }
    (void)uv_timer_stop(&scrub->timer); /* always 0 */
    if (scrub->phase == SCRUB_BUSY) {
        pages_scrub_end(scrub->config.pages, false);
    }
    scrub->phase = SCRUB_ABSENT;
    uv_close((uv_handle_t *)&scrub->poll, poll_closed);
    scrub->config.done(scrub->config.user);
}

static void scrub_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error is found again below */
    (void)events;
    struct scrub *scrub = poll->data;
    struct scrubber_answer answer;
    const int r = scrubber_hear(&scrub->scrubber, &answer);
    if (r == 0) {
        scrub_answered(scrub, &answer);
    } else if (r != -EAGAIN) {
        scrub_ended(scrub);
    }
}

static int scrub_listen(struct scrub *scrub)
{
    int r = uv_poll_init(scrub->config.loop, &scrub->poll, scrub->scrubber.fd);
    if (r) {
        (void)close(scrub->scrubber.fd); /* by which the scrubber ends */
        return r;
    }
    scrub->poll.data = scrub;
    r = uv_poll_start(&scrub->poll, UV_READABLE, scrub_readable);
    r = r ? r : loop_reserve(scrub->config.loop, scrub->scrubber.fd);
    if (r) {
        uv_close((uv_handle_t *)&scrub->poll, poll_closed);
    }
    return 0;
}

static void scrub_start(struct scrub *scrub)
{
    struct scrub_config *config = &scrub->config;
    int r = scrubber_start(config->segment_fd, config->state_fd, &scrub->scrubber);
    r = r ? r : scrub_listen(scrub);
    if (r == 0) {
        scrub->phase = SCRUB_STARTING;
        wait_begin(scrub);
        return;
    }
    if (!scrub->mute) {
        scrub->mute = true;
        log_warning("no process can be started that clears what came back, or makes huge pages: "
                    "%s; trying again",
                    uv_strerror(r));
    }
    *config->granule_bytes = PAGE_BYTES;
    pages_scrub_hang(config->pages);
    restart_later(scrub);
}

/* --------------------------------------------------------------------------- the server ------- */

void scrub_open(struct scrub *scrub, const struct scrub_config *config)
{
    *scrub = (struct scrub){.config = *config};
    (void)uv_timer_init(config->loop, &scrub->timer); /* always 0 */
    scrub->timer.data = scrub;
    scrub_start(scrub);
}

void scrub_close(struct scrub *scrub)
{
    scrub->closing = true;
    uv_close((uv_handle_t *)&scrub->timer, NULL);
    if (scrub->phase != SCRUB_ABSENT) {
        scrub->phase = SCRUB_ABSENT;
        uv_close((uv_handle_t *)&scrub->poll, poll_closed);
    }
}

bool scrub_is_wanted(const struct scrub *scrub)
{
    return scrub->phase == SCRUB_IDLE && !scrub->failed &&
           scrub->config.pages->n_dirty >= SCRUB_MIN_PAGES;
}

bool scrub_step(struct scrub *scrub)
{
    struct pages *pages = scrub->config.pages;
    uint32_t page;
    const uint32_t max_pages = scrub->config.gives_back ? STEP_HOLE_PAGES : STEP_PAGES;
    if (scrub->phase != SCRUB_IDLE || scrub->failed) {
        return scrub->phase == SCRUB_BUSY;
    }
    uint32_t n_pages = pages_next_dirty(pages, scrub->at, max_pages, &page);
    if (n_pages == 0) {
        n_pages = pages_next_dirty(pages, 0, max_pages, &page);
    }
    if (n_pages == 0) {
        scrub->at = 0;
        return false;
    }
    const struct scrubber_order order = {
        .kind = scrub->config.gives_back ? SCRUBBER_GIVE_BACK : SCRUBBER_CLEAR,
        .at = (uint64_t)page << PAGE_SHIFT,
        .n_bytes = (uint64_t)n_pages << PAGE_SHIFT,
    };
    pages_scrub_begin(pages, page, n_pages);
    KMEM_CRASH_POINT("server.scrub.begun");
    if (scrubber_order(&scrub->scrubber, &order)) {
        pages_scrub_end(pages, false);
        return false; /* its end will be told */
    }
    scrub->at = page + n_pages;
    scrub->phase = SCRUB_BUSY;
    wait_begin(scrub);
    return true;
}
