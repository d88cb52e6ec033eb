/* SPDX-License-Identifier: MIT */
/*
 * handshake.h - from a list of places to a connection that the daemon has welcomed
 */
#ifndef CLIENT_LINK_HANDSHAKE_H
#define CLIENT_LINK_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/link/conn.h"
#include "client/failure.h"
#include "client/link/welcome.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"

/**
 * kmem__handshake() - connect to the first daemon that answers, and introduce this process
 * @conn:         not open; open on success
 * @socket_path:  the only place to try; NULL asks the environment
 * @role:         KMEM__ROLE__ROLE_MEMBER, _READER or _OBSERVER
 * @ret_welcome:  written on success
 * @failure:      receives the sentence
 *
 * Waiting: until $KMEM_TIMEOUT_MS have passed, for everything together.
 *
 * Return: 0, or a negative errno as kmem.h documents them for connecting.
 */
KMEM_MUST_USE int kmem__handshake(struct conn *conn, const char *socket_path, Kmem__Role role,
                                  struct welcome *ret_welcome, struct failure *failure);

/**
 * kmem__handshake_observe_again() - as an observer, connect to the path once more
 * @conn:     lost; open on success
 * @failure:  receives the sentence
 *
 * Waiting: until deadline_ms for a daemon that is being started again.
 *
 * Return: as kmem__handshake().
 */
KMEM_MUST_USE int kmem__handshake_observe_again(struct conn *conn, int64_t deadline_ms,
                                                struct welcome *ret_welcome,
                                                struct failure *failure);

/**
 * kmem__handshake_again() - come back over another connection as the client that this process was
 * @conn:     closed, with a resume ticket; open on success
 * @failure:  receives the sentence
 *
 * Waiting: until deadline_ms (kmem__monotonic_ms()) for a daemon that is being started again.
 *
 * Return: 0; -ECONNRESET if no daemon came, or it does not know this client any more; another
 * negative errno as kmem.h documents them for connecting.
 */
KMEM_MUST_USE int kmem__handshake_again(struct conn *conn, int64_t deadline_ms,
                                        struct failure *failure);

#endif
