/* SPDX-License-Identifier: MIT */
/*
 * handshake.h - the first request of a connection
 */
#ifndef DAEMON_CORE_HANDSHAKE_H
#define DAEMON_CORE_HANDSHAKE_H

#include <stdint.h>

#include "daemon/core/call.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"

/** hello_answer() - the peer of a connection introduces itself. Return: DISPATCH_x. */
KMEM_MUST_USE int hello_answer(const struct call *call);

/**
 * hello_return() - a process says Hello on the way back of a slot's client
 * @request:  NULL stands for bytes that were none
 * @peer:     for DISPATCH_JOINED that client's, of the connection that it is to be given
 *
 * Return: DISPATCH_JOINED; or DISPATCH_CLOSE, and the reply says why.
 */
KMEM_MUST_USE int hello_return(struct core *core, uint32_t slot, const Kmem__Request *request,
                               struct peer *peer, struct reply *reply);

#endif
