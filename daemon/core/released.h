/* SPDX-License-Identifier: MIT */
/*
 * released.h - noting in core.lifetimes what was released
 */
#ifndef DAEMON_CORE_RELEASED_H
#define DAEMON_CORE_RELEASED_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/core.h"

/** released_note() - a direct block has just been released, and its reason's text stands */
void released_note(struct core *core, const struct block *block, uint64_t now_ms);

/** released_keep() - what an ended client had noted. Return: what that cost, in entries. */
uint32_t released_keep(struct core *core, uint32_t slot);

/**
 * released_reason() - the text of a reason in a client's ledger, the fixed ones too
 * @ret_text:  REASON_MAX_BYTES of room
 * Return: its length, not terminated.
 */
size_t released_reason(const struct core *core, uint32_t slot, uint32_t id, char *ret_text);

#endif
