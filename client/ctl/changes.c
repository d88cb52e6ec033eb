/* SPDX-License-Identifier: MIT */
#include "client/ctl/changes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ctl/target.h"

/* 20 ms: what comes in it is one answer; a segment with a thousand changes a second costs the
   daemon fifty answers then, and not a thousand. The daemon keeps more than come meanwhile. */
#define PAUSE_MS 20

void stream_begin(struct stream *stream, struct kmem_query *query, const struct options *options,
                  change_row_fn each, void *user)
{
    *stream = (struct stream){
        .options = options,
        .query = query,
        .position = {.number = KMEM_CHANGES_FROM_NOW},
        .each = each,
        .user = user,
    };
}

static void time_print(uint64_t ms_ago, char *text)
{
    struct timespec now;
    struct tm parts;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* a clock that there is */
    /* What is said to be older than the clock is as old as that. */
    const uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    const uint64_t ms = now_ms > ms_ago ? now_ms - ms_ago : 0;
    const time_t seconds = (time_t)(ms / 1000);
    (void)gmtime_r(&seconds, &parts);
    const size_t n_bytes = strftime(text, CHANGE_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + n_bytes, CHANGE_TIME_BYTES - n_bytes, ".%03dZ", (int)(ms % 1000));
}

static int tell_own(const struct stream *stream, const char *kind, uint64_t n_missed)
{
    struct change_row row = {
        .change = {.kind = kind, .command = "", .reason = "", .name = "", .why = ""},
        .n_missed = n_missed,
    };
    time_print(0, row.time);
    return stream->each(&row, stream->user);
}

/* What was missed is before the first change of an answer. */
struct page {
    const struct stream *stream;
    int is_begun;
};

static int page_begin(struct page *page)
{
    const struct kmem_change_position *position = &page->stream->position;
    int r = 0;
    if (page->is_begun) {
        return 0;
    }
    page->is_begun = 1;
    if (position->began_anew) {
        r = tell_own(page->stream, "began_anew", 0);
    }
    return r == 0 && position->n_missed > 0 ? tell_own(page->stream, "missed", position->n_missed)
                                            : r;
}

static int tell_change(const struct kmem_change *change, void *user)
{
    struct page *page = user;
    struct change_row row = {.change = *change};
    int r = page_begin(page);
    time_print(change->ms_ago, row.time);
    return r ? r : page->stream->each(&row, page->stream->user);
}

/* The server has ended: another one may be there already, or soon; a connect waits for it. */
static int stream_reconnect(struct stream *stream)
{
    kmem_query_close(stream->own);
    stream->own = NULL;
    int r = target_open(stream->options, &stream->own);
    if (r < 0) {
        stream->query = NULL;
        return r;
    }
    stream->query = stream->own;
    stream->is_new = true;
    return 0;
}

int stream_step(struct stream *stream, unsigned wait_ms)
{
    static const struct timespec pause = {0, PAUSE_MS * 1000000L};
    struct page page = {.stream = stream};
    const uint64_t before = stream->position.number;
    /* That another server answers is told at once, not with the first that it does. */
    int r = kmem_query_changes(stream->query, &stream->position, stream->is_new ? 0 : wait_ms,
                               tell_change, &page);
    stream->is_new = false;
    if (r == -ECONNRESET || r == -EPIPE) {
        return stream_reconnect(stream);
    }
    if (r == 0) {
        r = page_begin(&page);
    }
    if (r == 0 && !stream->position.more && stream->position.number != before) {
        (void)nanosleep(&pause, NULL); /* cut short, it asks sooner */
    }
    return r;
}

const char *stream_error(const struct stream *stream)
{
    return stream->query ? kmem_query_error(stream->query) : kmem_last_error();
}

void stream_end(struct stream *stream)
{
    stream->own = kmem_query_close(stream->own);
}
