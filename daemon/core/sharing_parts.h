/* SPDX-License-Identifier: MIT */
/*
 * sharing_parts.h - what the files of sharing.h have in common
 */
#ifndef DAEMON_CORE_SHARING_PARTS_H
#define DAEMON_CORE_SHARING_PARTS_H

#include "daemon/core/sharing.h"

/**
 * sharing_find_held() - the share of a block that a client holds; made, if it holds it alone
 * Return: 0, SHARING_E_FULL or a DIRECT_E_x.
 */
KMEM_MUST_USE int sharing_find_held(const struct sharing *of, struct seg_off off,
                                    uint32_t *ret_share, struct block *ret_block);

/** sharing_attach_share() - as sharing_attach(), by what a handle or a name leads to */
KMEM_MUST_USE int sharing_attach_share(const struct sharing *of, uint32_t share, bool write,
                                       struct sharing_reason reason, struct attached *ret_attached);

/**
 * sharing_end_offer() - an offer has been taken up: who made it, and is no owner, holds it no more
 * @flags:  SHARE_OWNER_HOLDS: by the owner; 0: by who has a hold that says so
 */
void sharing_end_offer(struct core *core, uint32_t share, uint64_t flags);

#endif
