/* SPDX-License-Identifier: MIT */
/*
 * dispatch.h - what is done with a request
 *
 * Between the bytes of a session and the core: who may ask what, in which order, and what the
 * answer is. Takes no descriptor and no clock, so that a test, or a fuzzer, can hold whole
 * conversations.
 */
#ifndef DAEMON_CORE_DISPATCH_H
#define DAEMON_CORE_DISPATCH_H

#include "daemon/core/call.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"

/** dispatch() - answer a request; NULL stands for bytes that were none. Return: DISPATCH_x. */
KMEM_MUST_USE int dispatch(struct core *core, struct peer *peer, const Kmem__Request *request,
                           struct now now, struct reply *reply);

/** dispatch_continue() - go on with the answer that is pending. Return: DISPATCH_x. */
KMEM_MUST_USE int dispatch_continue(struct core *core, struct peer *peer, struct now now,
                                    struct reply *reply);

#endif
