/* SPDX-License-Identifier: MIT */
#include "daemon/server/reconnect.h"

#include <unistd.h>

#include "daemon/core/handshake.h"
#include "daemon/log.h"
#include "daemon/server/server.h"
#include "daemon/server/session.h"
#include "daemon/server/ways.h"
#include "proto/crash_point.h"

/* A line a second: a client can cause it as often as it likes. */
#define REFUSALS_LOGGED 1

void comeback_make_way(struct session *session)
{
    /* For want of descriptors there is none; the client comes back by the path then. */
    if (session->peer.wants_way && ways_pair(session->way_fds)) {
        session->way_fds[0] = -1;
        session->way_fds[1] = -1;
    }
}

/* The server's end of the way that goes with the answer, if one does. Return: 0 or -errno. */
int comeback_open_way(struct server *server, struct session *session)
{
    const int fd = session->way_fds[0];
    session->way_fds[0] = -1; /* the ways' */
    return fd >= 0 ? ways_open(&server->ways, session->peer.client->slot, fd) : 0;
}

/* A client that has come back by the path has lost its way, and gets another if that can be had. */
void comeback_renew_way(struct server *server, struct session *session)
{
    const uint32_t slot = session->peer.client->slot;
    int ledger_fd;
    _Atomic uint64_t *states; /* the client has it */
    if (session->way_fds[0] < 0) {
        return;
    }
    int r = ledgers_open(&server->ledgers, slot, &ledger_fd, &states);
    r = r ? r
          : keeper_link_keep(&server->keeper_link, slot, ledger_fd,
                             pidfd_watch_pidfd(&server->pidfds, slot), session->way_fds[0]);
    r = r ? r : comeback_open_way(server, session);
    if (r) {
        session_drop_way(session);
    }
}

/* Sends the server's reply over the way; fd goes with it unless it is -1. */
static int comeback_answer(struct server *server, uint32_t slot, int fd)
{
    const size_t n_bytes = frame_encode(&server->reply->response.base, server->frame,
                                        FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    KMEM_ASSERT(n_bytes > 0); /* it is a Welcome or a sentence */
    return ways_answer(&server->ways, slot, server->frame, n_bytes, fd);
}

/* A connection for a client that is known again. Return: 0 or a negative errno: it has none. */
static int comeback_connect(struct server *server, uint32_t slot, const struct peer *peer)
{
    struct session *session;
    int ends[2];
    int r = ways_pair(ends);
    if (r == 0) {
        r = session_join(server, peer, ends[0], &session);
        KMEM_CRASH_POINT("server.returning");
        server->reply->body.welcome.n_descriptors = 1;
        if (r == 0) {
            r = comeback_answer(server, slot, ends[1]);
            KMEM_CRASH_POINT("server.returned");
            (r ? session_close : session_read_start)(session);
        }
        (void)close(ends[1]); /* the client has it, or nobody */
    }
    if (r) {
        peer->client->connected = server->session_of[slot] != NULL;
    }
    return r;
}

/* An answer that can not be sent is none: the client asks again. */
void comeback_heard(uint32_t slot, const unsigned char *payload, size_t payload_bytes, void *user)
{
    struct server *server = user;
    struct peer peer = {.role = PEER_UNKNOWN};
    arena_reset(&server->arena);
    const ProtobufCMessage *message =
        frame_decode(&server->arena, &kmem__request__descriptor, payload, payload_bytes);
    const int outcome =
        hello_return(&server->core, slot, (const Kmem__Request *)message, &peer, server->reply);
    int r = outcome == DISPATCH_JOINED ? comeback_connect(server, slot, &peer)
                                       : comeback_answer(server, slot, -1);
    if (r && outcome == DISPATCH_JOINED) {
        reply_error(server->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "there is no connection just now (%s); try again", uv_strerror(r));
        r = comeback_answer(server, slot, -1);
    }
    if (r && log_limit_pass(&server->refusals_limit, REFUSALS_LOGGED, server_now().ms)) {
        log_warning("slot %u: its client can not be answered on its way back: %s", slot,
                    uv_strerror(r));
    }
}
