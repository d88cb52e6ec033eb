/* SPDX-License-Identifier: MIT */
/*
 * waits.h - answers that wait until a name means another block, or none
 *
 * Each stands on the list of its name's bell (proto/notice.h), and is taken from it when that is
 * rung: then it is looked at, and perhaps waits again. Nothing is looked at while nothing changes.
 *
 *      n == the waits on all lists
 */
#ifndef DAEMON_CORE_WAITS_H
#define DAEMON_CORE_WAITS_H

#include <stdint.h>

#define WAIT_FOR_EVER UINT64_MAX

/* Of one answer; all zero: it waits for nothing. */
struct wait {
    struct wait *next;
    struct wait **at; /* what leads to it; NULL: it is on no list */
    uint32_t bell;
    uint64_t until_ms; /* the caller's: when it has waited long enough; or WAIT_FOR_EVER */
};

/* 256: with 4,096 clients that all wait there are 16 on each. */
#define WAIT_LISTS 256

struct waits {
    struct wait *lists[WAIT_LISTS];
    uint32_t n;
};

/** waits_add() - it waits from now on; it is on no list */
void waits_add(struct waits *waits, struct wait *wait, uint32_t bell);

/** waits_remove() - it waits no more; nothing changes if it did not */
void waits_remove(struct waits *waits, struct wait *wait);

typedef void (*waits_fn)(struct wait *wait, void *user);

/** waits_ring() - those that wait for a bell do not any more, and each is told; NULL: none is */
void waits_ring(struct waits *waits, uint32_t bell, waits_fn woken, void *user);

#endif
