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

/* 64 pages, 1 MiB: some 150 us for the scrubber, and ten for the server, that is woken once. More
   would be kept from everybody at a time. */
#define STEP_PAGES 64
/* 256 pages, 4 MiB: free extents cost little by the piece and much by the number of pieces. */
#define STEP_HOLE_PAGES 256
/* 16 MiB: some 5 ms, for which nothing is cleared; more would make an end that comes too late. */
#define TAKE_BYTES (UINT64_C(16) << 20)
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

static uint64_t range_bytes(const struct scrub_range *range)
{
    return range->end - range->at;
}

/* The scrubber is to do that with a range; its end, if it has ended, will be told. */
static void range_order(struct scrub *scrub, enum scrubber_kind kind, enum scrub_phase phase,
                        const struct scrub_range *range)
{
    const struct scrubber_order order = {
        .kind = kind, .at = range->at, .n_bytes = range_bytes(range)};
    scrub->phase = phase;
    scrub->in_hand = *range;
    if (scrubber_order(&scrub->scrubber, &order)) {
        log_debug("the scrubber does not listen");
    }
}

static void trim_add(struct scrub *scrub, uint64_t at, uint64_t end, bool is_pages)
{
    struct scrub_range *trim = &scrub->trim;
    const bool is_more = range_bytes(trim) > 0;
    scrub->trims_pages = is_pages && !is_more;
    trim->at = is_more && trim->at < at ? trim->at : at;
    trim->end = is_more && trim->end > end ? trim->end : end;
}

static void take_end(struct scrub *scrub, int error)
{
    if (error) {
        trim_add(scrub, scrub->take_from, scrub->take.end, false);
    }
    scrub->take = (struct scrub_range){0, 0};
    scrub->config.taken(error, scrub->config.taken_user);
}

/* What the segment's size needs goes first. Return: whether there is such work. */
static bool resize_step(struct scrub *scrub)
{
    const uint64_t trim_bytes = range_bytes(&scrub->trim);
    const uint64_t take_bytes = range_bytes(&scrub->take);
    if (scrub->phase != SCRUB_IDLE || trim_bytes + take_bytes == 0) {
        return trim_bytes + take_bytes > 0;
    }
    if (trim_bytes > 0) {
        range_order(scrub, SCRUBBER_GIVE_BACK, SCRUB_TRIMMING, &scrub->trim);
        scrub->trim = (struct scrub_range){0, 0};
        return true;
    }
    if (scrub->config.gives_back) {
        take_end(scrub, 0);
        return false;
    }
    const struct scrub_range piece = {
        scrub->take.at, scrub->take.at + (take_bytes < TAKE_BYTES ? take_bytes : TAKE_BYTES)};
    range_order(scrub, SCRUBBER_TAKE, SCRUB_TAKING, &piece);
    return true;
}

static void range_done(struct scrub *scrub, enum scrub_phase phase, int error)
{
    const struct scrub_range *range = &scrub->in_hand;
    if (phase == SCRUB_TRIMMING) {
        if (error == 0 && scrub->trims_pages) {
            pages_note_zero(scrub->config.pages, (uint32_t)(range->at >> PAGE_SHIFT),
                            (uint32_t)(range_bytes(range) >> PAGE_SHIFT));
        }
        return;
    }
    scrub->take.at = range->end;
    if (error || scrub->take.at == scrub->take.end) {
        take_end(scrub, error);
    }
}

static void collapse_order(const struct scrub *scrub)
{
    const uint64_t made_bytes = *scrub->config.made_bytes;
    const struct scrubber_order order = {
        .kind = SCRUBBER_COLLAPSE,
        .at = made_bytes,
        .n_bytes = scrub->config.huge_bytes - made_bytes,
    };
    if (scrubber_order(&scrub->scrubber, &order)) {
        log_debug("the scrubber does not listen"); /* its end will tell why */
    }
}

/* The scrubber has nothing in hand. */
static void work_next(struct scrub *scrub)
{
    if (!resize_step(scrub)) {
        scrub->config.done(scrub->config.user);
    }
}

/* It has the lock, so none is left that could still write to what the last one had in hand. */
static void scrub_ready(struct scrub *scrub)
{
    scrub->phase = SCRUB_IDLE;
    if (scrub->config.pages->scrub_page != 0) {
        pages_scrub_end(scrub->config.pages, false);
    }
    if (scrub->config.huge_bytes > 0 && !scrub->collapsed) {
        collapse_order(scrub);
    }
    work_next(scrub);
}

static void scrub_done(struct scrub *scrub, int error)
{
    KMEM_CRASH_POINT("server.scrub.done");
    const enum scrub_phase phase = scrub->phase;
    scrub->phase = SCRUB_IDLE;
    scrub->mute = false;
    if (phase != SCRUB_BUSY) {
        range_done(scrub, phase, error);
        work_next(scrub);
        return;
    }
    pages_scrub_end(scrub->config.pages, error == 0);
    KMEM_CRASH_POINT("server.scrub.free");
    if (error) {
        scrub->failed = true;
        log_warning("what came back to the segment can not be cleared: %s; whoever gets it next "
                    "clears it",
                    strerror(-error));
    }
    work_next(scrub);
}

static void scrub_collapsed(struct scrub *scrub, const struct scrubber_answer *answer)
{
    const uint64_t n_most = scrub->config.huge_bytes / HUGE_PAGES_HUGE_BYTES;
    const uint64_t n_huge = answer->n_huge < n_most ? answer->n_huge : n_most;
    scrub->collapsed = true;
    scrub->collapses = answer->error == 0 || answer->n_huge >= n_most;
    if (answer->n_huge == 0) {
        *scrub->config.granule_bytes = PAGE_BYTES;
    }
    *scrub->config.made_bytes = n_huge * HUGE_PAGES_HUGE_BYTES;
    if (n_huge == n_most || answer->error != 0) { /* else it has grown meanwhile */
        huge_pages_log(scrub->config.huge_bytes, n_huge, scrub->collapses ? 0 : answer->error);
    }
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
    const enum scrub_phase phase = scrub->phase;
    scrub->phase = SCRUB_ABSENT;
    uv_close((uv_handle_t *)&scrub->poll, poll_closed);
    if (phase == SCRUB_TAKING) {
        take_end(scrub, -ENOMEM); /* it is the first to be killed where memory is short */
    } else if (phase == SCRUB_TRIMMING) {
        trim_add(scrub, scrub->in_hand.at, scrub->in_hand.end, false);
    }
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
    return scrub->config.clears && scrub->phase == SCRUB_IDLE && !scrub->failed &&
           scrub->config.pages->n_dirty >= SCRUB_MIN_PAGES;
}

/* What came back and is looked at next. Return: its pages from *ret_page on; 0: there are none. */
static uint32_t step_find(const struct scrub *scrub, uint32_t *ret_page)
{
    const struct pages *pages = scrub->config.pages;
    const uint32_t max_pages = scrub->config.gives_back ? STEP_HOLE_PAGES : STEP_PAGES;
    uint32_t n_pages = pages_next_dirty(pages, scrub->at, max_pages, ret_page);
    if (n_pages == 0) {
        n_pages = pages_next_dirty(pages, 0, max_pages, ret_page);
    }
    /* Cleared through the mapping of one huge page, not of two. */
    const uint32_t n_left = STEP_PAGES - *ret_page % STEP_PAGES;
    return scrub->config.gives_back || n_pages < n_left ? n_pages : n_left;
}

bool scrub_step(struct scrub *scrub)
{
    struct pages *pages = scrub->config.pages;
    uint32_t page = 0;
    if (scrub->phase != SCRUB_IDLE || resize_step(scrub) || !scrub->config.clears ||
        scrub->failed) {
        return scrub->phase == SCRUB_BUSY;
    }
    const uint32_t n_pages = step_find(scrub, &page);
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

void scrub_take(struct scrub *scrub, uint64_t at, uint64_t n_bytes)
{
    KMEM_ASSERT(range_bytes(&scrub->take) == 0);
    KMEM_ASSERT(n_bytes > 0);
    scrub->take = (struct scrub_range){at, at + n_bytes};
    scrub->take_from = at;
    (void)resize_step(scrub); /* else when the scrubber is ready */
}

void scrub_trim(struct scrub *scrub, uint64_t at, uint64_t end, bool is_pages)
{
    trim_add(scrub, at, end, is_pages && scrub->phase != SCRUB_TRIMMING);
    (void)resize_step(scrub);
}

void scrub_collapse(struct scrub *scrub, uint64_t n_bytes)
{
    const bool is_other = n_bytes != scrub->config.huge_bytes;
    scrub->config.huge_bytes = n_bytes;
    if (*scrub->config.made_bytes > n_bytes) {
        *scrub->config.made_bytes = n_bytes;
    }
    /* In place of an order that it goes on with, too: it is to stop at the segment's end. */
    if (is_other && scrub->phase > SCRUB_STARTING && (scrub->collapses || !scrub->collapsed)) {
        scrub->collapsed = false;
        collapse_order(scrub);
    }
}
