/* SPDX-License-Identifier: MIT */
#include "daemon/server/session_host.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/limits.h"

int session_host_init(struct session_host *host)
{
    host->reply = reply_new();
    host->frame = malloc(FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    host->session_of = calloc(CLIENTS_MAX, sizeof(*host->session_of));
    void *arena_bytes = malloc(REQUEST_ARENA_BYTES);
    if (arena_bytes) {
        arena_init(&host->arena, arena_bytes, REQUEST_ARENA_BYTES);
    }
    return host->reply && host->frame && host->session_of && arena_bytes ? 0 : -ENOMEM;
}

void session_host_fini(struct session_host *host)
{
    free(host->session_of);
    free(host->arena.bytes);
    free(host->frame);
    host->reply = reply_free(host->reply);
}

size_t session_host_encode(struct session_host *host)
{
    const size_t n_bytes = frame_encode(&host->reply->response.base, host->frame,
                                        FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    KMEM_ASSERT(n_bytes > 0); /* reply_row_fits() saw to it */
    return n_bytes;
}
