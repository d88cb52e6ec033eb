/* SPDX-License-Identifier: MIT */
#include "daemon/server/reconnect.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/core/handshake.h"
#include "daemon/log.h"
#include "daemon/server/admission.h"
#include "daemon/server/loop.h"
#include "daemon/server/session_host.h"
#include "proto/crash_point.h"

/* A line a second: a client can cause it as often as it likes. */
#define REFUSALS_LOGGED 1

void reconnect_make_way(struct session *session)
{
    /* For want of descriptors there is none; the client comes back by the path then. */
    if (session->peer.wants_way && ways_pair(session->way_fds)) {
        session->way_fds[0] = -1;
        session->way_fds[1] = -1;
    }
}

/* The server's end of the way that goes with the answer, if one does. Return: 0 or -errno. */
int reconnect_open_way(const struct reconnect *reconnect, struct session *session)
{
    const int fd = session->way_fds[0];
    session->way_fds[0] = -1; /* the ways' */
    return fd >= 0 ? ways_open(reconnect->ways, session->peer.client->slot, fd) : 0;
}

/* A client that has come back by the path has lost its way, and gets another if that can be had. */
void reconnect_renew_way(const struct reconnect *reconnect, struct session *session)
{
    const uint32_t slot = session->peer.client->slot;
    int ledger_fd;
    _Atomic uint64_t *states; /* the client has it */
    if (session->way_fds[0] < 0) {
        return;
    }
    int r = client_files_open(session->host->ledgers, slot, &ledger_fd, &states);
    r = r ? r
          : keeper_link_keep(reconnect->keeper_link, slot, ledger_fd,
                             pidfd_watch_pidfd(reconnect->pidfds, slot), session->way_fds[0]);
    r = r ? r : reconnect_open_way(reconnect, session);
    if (r) {
        session_drop_way(session);
    }
}

/* Sends the server's reply over the way; fd goes with it unless it is -1. */
static int reconnect_answer(const struct reconnect *reconnect, uint32_t slot, int fd)
{
    const size_t n_bytes = session_host_encode(reconnect->host);
    return ways_answer(reconnect->ways, slot, reconnect->host->frame, n_bytes, fd);
}

/*
 * A session for a client that is known already, in place of the one that it had. It is not read
 * from yet. fd is the session's, also on error. Return: 0 or a negative errno.
 */
static int reconnect_join(struct session_host *host, const struct peer *peer, int fd,
                          struct session **ret_session)
{
    struct session *session = session_new(host);
    if (!session) {
        (void)close(fd); /* nothing was said */
        return -ENOMEM;
    }
    int r = session_open(session, fd);
    if (r) {
        return r;
    }
    session->peer = *peer;
    r = loop_reserve(host->loop, fd);
    r = r ? r : admission_charge(session, true);
    r = r ? r : host->joined(session, host->user);
    if (r) {
        session_close(session);
        return r > 0 ? -EAGAIN : r;
    }
    *ret_session = session;
    return 0;
}

/* A connection for a client that is known again. Return: 0 or a negative errno: it has none. */
static int reconnect_connect(const struct reconnect *reconnect, uint32_t slot,
                             const struct peer *peer)
{
    struct session_host *host = reconnect->host;
    struct session *session;
    int ends[2];
    int r = ways_pair(ends);
    if (r == 0) {
        r = reconnect_join(host, peer, ends[0], &session);
        KMEM_CRASH_POINT("server.returning");
        host->reply->body.welcome.n_descriptors = 1;
        if (r == 0) {
            r = reconnect_answer(reconnect, slot, ends[1]);
            KMEM_CRASH_POINT("server.returned");
            (r ? session_close : session_read_start)(session);
        }
        (void)close(ends[1]); /* the client has it, or nobody */
    }
    if (r) {
        peer->client->connected = host->session_of[slot] != NULL;
    }
    return r;
}

/* An answer that can not be sent is none: the client asks again. */
void reconnect_heard(uint32_t slot, const unsigned char *payload, size_t payload_bytes, void *user)
{
    const struct reconnect *reconnect = user;
    struct session_host *host = reconnect->host;
    struct peer peer = {.role = PEER_UNKNOWN};
    arena_reset(&host->arena);
    const ProtobufCMessage *message =
        frame_decode(&host->arena, &kmem__request__descriptor, payload, payload_bytes);
    const int outcome =
        hello_return(host->core, slot, (const Kmem__Request *)message, &peer, host->reply);
    int r = outcome == DISPATCH_JOINED ? reconnect_connect(reconnect, slot, &peer)
                                       : reconnect_answer(reconnect, slot, -1);
    if (r && outcome == DISPATCH_JOINED) {
        reply_error(host->reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "there is no connection just now (%s); try again", uv_strerror(r));
        r = reconnect_answer(reconnect, slot, -1);
    }
    if (r && log_limit_pass(&host->refusals_limit, REFUSALS_LOGGED, loop_now().ms)) {
        log_warning("slot %u: its client can not be answered on its way back: %s", slot,
                    uv_strerror(r));
    }
}
