/* SPDX-License-Identifier: MIT */
#include "daemon/core/dispatch_resize.h"

#include "proto/text.h"

/* 1 s: then it is told how far it is, and asked again. */
#define TOLD_AFTER_MS 1000

/* The size that there is now, which need not be the one that was asked for yet. */
static int tell(const struct call *call, bool is_pending)
{
    Kmem__Resized *resized = &call->reply->body.resized;
    kmem__resized__init(resized);
    resized->segment_bytes = core_segment_bytes(call->core);
    resized->most_bytes = core_most_bytes(call->core);
    resized->pending = is_pending;
    call->reply->response.body_case = KMEM__RESPONSE__BODY_RESIZED;
    call->reply->response.resized = resized;
    return DISPATCH_OK;
}

static int refuse_held(const struct call *call)
{
    const uint32_t to_pages = call->peer->resize_pages;
    char size[TEXT_BYTES_MAX];
    char holders[2048];
    resize_holders(call->core, to_pages, holders, sizeof(holders));
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_HELD,
                "segment \"%s\" can not shrink to %s: %s", call->core->config.segment_name,
                text_format_bytes((uint64_t)to_pages << PAGE_SHIFT, size, sizeof(size)), holders);
    return DISPATCH_OK;
}

static int refuse_busy(const struct call *call)
{
    char size[TEXT_BYTES_MAX];
    reply_error(
        call->reply, KMEM__ERROR_CODE__ERROR_BUSY,
        "segment \"%s\" is growing to %s just now; try again when it has",
        call->core->config.segment_name,
        text_format_bytes((uint64_t)call->core->resize.to_pages << PAGE_SHIFT, size, sizeof(size)));
    return DISPATCH_OK;
}

static int refuse_system(const struct call *call)
{
    char size[TEXT_BYTES_MAX];
    reply_error(
        call->reply, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "segment \"%s\" can not grow to %s: %s",
        call->core->config.segment_name,
        text_format_bytes((uint64_t)call->peer->resize_pages << PAGE_SHIFT, size, sizeof(size)),
        call->core->resize.why);
    return DISPATCH_OK;
}

static int resize_or_wait(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    waits_remove(&core->waits, &peer->wait);
    const int r = resize_step(core, &peer->resize, peer->resize_pages, call->now);
    switch (r) {
    case RESIZE_OK:
        return tell(call, false);
    case RESIZE_E_HELD:
        return refuse_held(call);
    case RESIZE_E_BUSY:
        return refuse_busy(call);
    case RESIZE_E_SYSTEM:
        return refuse_system(call);
    default:
        break;
    }
    if (call->now.ms >= peer->wait.until_ms) {
        resize_leave(core, &peer->resize);
        return tell(call, true);
    }
    peer->next_step = resize_or_wait;
    if (!peer->resize.grows) {
        return DISPATCH_PENDING;
    }
    waits_add(&core->waits, &peer->wait, RESIZE_BELL);
    return DISPATCH_WAITING;
}

static int refuse_size(const struct call *call, uint64_t num_bytes)
{
    const uint64_t most_bytes = core_most_bytes(call->core);
    char asked[TEXT_BYTES_MAX];
    char most[TEXT_BYTES_MAX];
    (void)text_format_bytes(num_bytes, asked, sizeof(asked)); /* its buffer */
    (void)text_format_bytes(most_bytes, most, sizeof(most));  /* likewise */
    if (num_bytes > most_bytes) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "segment \"%s\" can not have %s: it was made for %s at most; start kmemd "
                    "with a larger --max-size",
                    call->core->config.segment_name, asked, most);
    } else {
        char least[TEXT_BYTES_MAX];
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "segment \"%s\" can not have %s (%llu bytes): it has whole pages of %llu "
                    "bytes, from %s to %s",
                    call->core->config.segment_name, asked, (unsigned long long)num_bytes,
                    (unsigned long long)PAGE_BYTES,
                    text_format_bytes(SEGMENT_MIN_BYTES, least, sizeof(least)), most);
    }
    return DISPATCH_OK;
}

int dispatch_resize(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    const uint64_t num_bytes = call->request->resize->num_bytes;
    if (num_bytes < SEGMENT_MIN_BYTES || num_bytes > core_most_bytes(core) ||
        num_bytes % PAGE_BYTES != 0) {
        return refuse_size(call, num_bytes);
    }
    peer->resize = (struct resize_request){.n_ended = 0};
    peer->resize_pages = (uint32_t)(num_bytes >> PAGE_SHIFT);
    peer->wait.until_ms = call->now.ms + TOLD_AFTER_MS;
    return resize_or_wait(call);
}
