/* SPDX-License-Identifier: MIT */
/*
 * dispatch_changes.h - who wants to know what the server does, and is told
 *
 * Of what is done on request, note_x() puts it into the stream: changes.h. They are called when it
 * is done. They ring for those who wait for a change.
 */
#ifndef DAEMON_CORE_DISPATCH_CHANGES_H
#define DAEMON_CORE_DISPATCH_CHANGES_H

#include "daemon/core/call.h"

/* A handler. */
int dispatch_changes(const struct call *call);

/** note_block() - the caller has done that to a block; its reason as block_reason() */
void note_block(const struct call *call, enum change_kind kind, const struct block *block);

/** note_text() - likewise; the reason, or the name, is a text */
void note_text(const struct call *call, enum change_kind kind, uint64_t offset, uint64_t num_bytes,
               const void *text, size_t n_text_bytes);

/** note_refused() - the caller was refused */
void note_refused(const struct call *call, const struct refusal_facts *refused, const void *reason,
                  size_t n_reason_bytes);

#endif
