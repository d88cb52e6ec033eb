/* SPDX-License-Identifier: MIT */
#include "daemon/core/readers.h"

/* Whether a client of a user lives that is a reader, or one that is a member. */
static bool has_any(const struct clients *clients, uint32_t uid, bool is_reader)
{
    const struct client *client = clients_next(clients, 0);
    while (client && (client->client_state != CLIENT_LIVE || client->identity.uid != uid ||
                      client->identity.is_reader != is_reader)) {
        client = clients_next(clients, client->slot + 1);
    }
    return client != NULL;
}

bool readers_are_walled(const struct clients *clients, uint32_t uid)
{
    return uid != 0 && uid != clients->kept->identity.uid && !has_any(clients, uid, false);
}

int readers_admit(const struct clients *clients, enum readers readers,
                  const struct client_identity *identity)
{
    const bool is_walled = readers_are_walled(clients, identity->uid);
    if (!identity->is_reader) {
        return readers == READERS_WALLED && is_walled && has_any(clients, identity->uid, true)
                   ? CLIENTS_E_WALL
                   : 0;
    }
    if (readers == READERS_NONE) {
        return CLIENTS_E_NO_READERS;
    }
    return readers == READERS_WALLED && !is_walled ? CLIENTS_E_UNWALLED : 0;
}
