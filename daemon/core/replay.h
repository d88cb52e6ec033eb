/* SPDX-License-Identifier: MIT */
/*
 * replay.h - requests that come again because their answer was lost
 *
 * A request with the sequence number of the client's last change is that one. What became of it is
 * looked up where the truth is, in the entry or the page word that the intent leads to: if it came
 * to pass, the answer is the same again; if not, it is done now.
 */
#ifndef DAEMON_CORE_REPLAY_H
#define DAEMON_CORE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/call.h"
#include "proto/kmem.pb-c.h"

/** replay_of() - whether the request is the client's last change, which was of this kind */
bool replay_of(const struct call *call, enum intent_kind kind, struct intent *ret_intent);

/** replay_allocated() - whether the block was carved when it was asked for first */
bool replay_allocated(const struct call *call, uint64_t num_bytes, struct seg_off *ret_off);

/**
 * replay_leased() - whether the lease was granted, and is still whole
 *
 * If a part of it went back since then, the client, which knows of none of it, does not use the
 * rest either: that goes back, too.
 */
bool replay_leased(const struct call *call, Kmem__Leased *leased);

/**
 * replay_recover() - what had come to pass when the last server was killed, before it said so
 *
 * A name that has a version may be unpublished before its publisher asks again.
 */
void replay_recover(struct core *core);

#endif
