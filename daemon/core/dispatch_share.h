/* SPDX-License-Identifier: MIT */
/*
 * dispatch_share.h - handlers of what is asked about shared blocks, and about their names
 */
#ifndef DAEMON_CORE_DISPATCH_SHARE_H
#define DAEMON_CORE_DISPATCH_SHARE_H

#include <stdbool.h>

#include "daemon/core/call.h"
#include "daemon/core/sharing.h"
#include "proto/attributes.h"

int dispatch_share(const struct call *call);
int dispatch_attach(const struct call *call);
int dispatch_transfer(const struct call *call);

/* dispatch_names.c */
int dispatch_publish(const struct call *call);
int dispatch_unpublish(const struct call *call);
int dispatch_next(const struct call *call);
int dispatch_watch(const struct call *call);

/* What the files of these handlers have in common: */

/** dispatch_sharing() - who asks for something, and when; without a sequence number of its own */
struct sharing dispatch_sharing(const struct call *call);

/** dispatch_reason_is_good() - whether a reason is one; if not, the reply is an error */
KMEM_MUST_USE bool dispatch_reason_is_good(const struct call *call, ProtobufCBinaryData reason);

/** dispatch_refuse_full() - an error: why sharing_is_full(). Return: DISPATCH_OK. */
int dispatch_refuse_full(const struct call *call, int why);

/** dispatch_refuse_read_only() - an error: a share may be attached for reading only */
void dispatch_refuse_read_only(const struct call *call, uint32_t share);

/**
 * dispatch_reader_may() - whether the caller's role lets it attach a share
 *
 * A reader may not for writing, nor what is handed over: it would be the owner. If it may not, the
 * reply is an error.
 */
KMEM_MUST_USE bool dispatch_reader_may(const struct call *call, uint32_t share, bool write);

/** dispatch_attached() - what was attached, as answers have it */
Kmem__AttachedBlock *dispatch_attached(const struct call *call, const struct attached *attached);

#endif
