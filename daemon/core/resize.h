/* SPDX-License-Identifier: MIT */
/*
 * resize.h - the segment's size while it is served: growing and shrinking
 *
 * All layouts, files and mappings are for the most that the segment may have, which is fixed when
 * it is made; what it has now ends where the PAGE_BEYOND run of the page table begins, so a new
 * size is one store there and is what any later server finds.
 *
 *      grow     the shell takes memory for [size, to) from the system, which takes time, and calls
 *               resize_taken(); then the pages are free
 *      shrink   what clients leave unused in [to, size) is taken back, slabs without a live block
 *               too; if all of it is free then, it is nobody's, and the shell gives its memory back
 *
 * To ask for the size that there is changes nothing: who lost the answer asks again.
 */
#ifndef DAEMON_CORE_RESIZE_H
#define DAEMON_CORE_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"

/* The list that those stand on who wait for a growth: no name has this bell. */
#define RESIZE_BELL (UINT32_MAX - 1)

enum {
    RESIZE_OK,       /* the segment has that size */
    RESIZE_E_WAIT,   /* memory is being taken, or pages are on their way back: call it again */
    RESIZE_E_BUSY,   /* another size is being made */
    RESIZE_E_SYSTEM, /* there is no memory: core->resize.why says it */
    RESIZE_E_HELD,   /* somebody holds what lies in the way: resize_holders() */
};

/* Of one who asks for a size, between two calls; all zero before the first. */
struct resize_request {
    uint64_t n_ended; /* of core->resize, when its growth began */
    bool grows;
    bool reclaims;  /* waits for the pass over idle slabs: */
    uint64_t until; /* see reclaim_begin() */
};

/**
 * resize_step() - make the segment that large, or go on with it
 * @to_pages:  at least 2, at most core->state.n_pages
 * Return: RESIZE_x. After RESIZE_E_WAIT it is called again, or resize_leave() is.
 */
KMEM_MUST_USE int resize_step(struct core *core, struct resize_request *request, uint32_t to_pages,
                              struct now now);

/** resize_leave() - it is not asked for any more: it was answered, or its peer has gone */
void resize_leave(struct core *core, struct resize_request *request);

/**
 * resize_taken() - the memory that core_config.take_memory() was asked for is there
 * @why:  why it is not; NULL: it is
 */
void resize_taken(struct core *core, const char *why);

/** resize_holders() - who holds what lies behind to_pages, for a sentence; too long: cut */
void resize_holders(const struct core *core, uint32_t to_pages, char *ret_text, size_t text_bytes);

#endif
