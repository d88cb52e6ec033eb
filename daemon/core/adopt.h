/* SPDX-License-Identifier: MIT */
/*
 * adopt.h - the slab of shared blocks outlives the client that carved it
 *
 * While a client lives, a shared block of its lease stays where it is, and the pages are pinned.
 * When it ends, the slab goes into the server's own ledger: what is shared is entered, what is not
 * is room for anybody. No byte is moved, and nothing that the client wrote is needed, or believed.
 */
#ifndef DAEMON_CORE_ADOPT_H
#define DAEMON_CORE_ADOPT_H

#include <stdint.h>

#include "daemon/core/core.h"

/**
 * adopt_slab() - make the slab of a LEASED share, whose owner has ended, a direct one
 *
 * Whatever is shared of it is kept by others than the owner: settle_is_kept_by_others().
 * Return: what that cost, as reap()'s budget has it.
 */
uint32_t adopt_slab(struct core *core, uint32_t share);

#endif
