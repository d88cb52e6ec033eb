/* SPDX-License-Identifier: MIT */
#include "daemon/core/call.h"

void peer_init(struct peer *peer, const struct client_identity *identity, uint64_t nonce)
{
    *peer = (struct peer){.identity = *identity, .nonce = nonce};
    peer->reader.uid = identity->uid;
    peer->reader.pid = identity->pid;
}

void peer_fini(struct core *core, struct peer *peer)
{
    scans_leave(&core->scans, &peer->reader);
    waits_remove(&core->waits, &peer->wait);
    placement_leave(core, &peer->placement);
    resize_leave(core, &peer->resize);
    /* Of one that is leaving, the slot may be another's by now. */
    if (peer->client && peer->client->generation == peer->generation) {
        peer->client->connected = false;
    }
    peer->client = NULL;
}

int call_refuse(const struct call *call, const char *sentence)
{
    call->core->state.counters->protocol_errors++;
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_PROTOCOL, "%s", sentence);
    return DISPATCH_CLOSE;
}
