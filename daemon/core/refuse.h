/* SPDX-License-Identifier: MIT */
/*
 * refuse.h - keep what is being refused for those who ask later
 */
#ifndef DAEMON_CORE_REFUSE_H
#define DAEMON_CORE_REFUSE_H

#include "daemon/core/call.h"

/** refuse_note_placement() - the block or lease that the peer asks for */
void refuse_note_placement(const struct call *call, enum refusal_why why);

/** refuse_note_request() - a block, or a lease, whose request was not begun */
void refuse_note_request(const struct call *call, enum refusal_asked asked, enum refusal_why why,
                         uint64_t num_bytes);

/** refuse_note_full() - no record is left for what is shared; why: a SHARING_E_x of sharing.h */
void refuse_note_full(const struct call *call, int why);

/** refuse_note_join() - @why: an answer of core_join(); what passes by itself is not kept */
void refuse_note_join(const struct call *call, int why);

/** refuse_administration() - the peer's user is no administrator. Return: DISPATCH_OK. */
int refuse_administration(const struct call *call);

#endif
