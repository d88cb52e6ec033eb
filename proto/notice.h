/* SPDX-License-Identifier: MIT */
/*
 * notice.h - what the daemon tells every client without being asked: a page that clients map
 *
 * It is a file, kmemd:NAME:clock, of CLOCK_BYTES. Clients get a descriptor for reading only, whose
 * open file is another than the daemon's. As long as the daemon, or the service manager that keeps
 * its descriptors, has the segment, the daemon's open file holds a write lock (F_OFD_SETLK) that
 * anybody may ask for (F_OFD_GETLK); the kernel drops it with the last of these descriptors. So a
 * client can tell an end that nobody was left to write down.
 *
 *  field      written by      read by                  a stale value
 *  tick       the server      an allocation, relaxed   makes a block look older
 *  end        the daemon      who finds tick stopped   is told a moment later
 *  last_tick  the daemon      likewise                 likewise
 *  when       the daemon      likewise                 likewise
 *
 * `tick` is written last, with a whole store; a reader that sees TICK_STOPPED sees the rest.
 */
#ifndef PROTO_NOTICE_H
#define PROTO_NOTICE_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/limits.h"

/* No time: the segment is suspended or has ended. The last tick that is a time is one less. */
#define TICK_STOPPED UINT32_MAX

enum notice_end {
    NOTICE_SERVED,    /* or is about to be */
    NOTICE_SUSPENDED, /* kmemd was stopped, and a service manager may start it on the same files */
    NOTICE_ENDED,     /* by an orderly end: nobody will serve this segment any more */
};

/* "2026-11-22 14:03:05" and room for more. */
#define NOTICE_WHEN_BYTES 32

/* At CLOCK_TICK_AT in the page. */
struct notice {
    _Atomic uint32_t tick;
    _Atomic uint32_t end;         /* enum notice_end */
    _Atomic uint32_t last_tick;   /* before it was stopped */
    _Atomic uint32_t spare;       /* at CLOCK_SPARE: see daemon/core/shortage.h */
    char when[NOTICE_WHEN_BYTES]; /* it was stopped, by the daemon's clock; ends with a NUL */
};

static_assert(sizeof(struct notice) == 48, "part of the layout");
static_assert(CLOCK_TICK_AT + sizeof(struct notice) <= CLOCK_BYTES, "it fits into the page");

/** notice_tick() - the time, which stands still while the segment is suspended */
static inline uint32_t notice_tick(const _Atomic uint32_t *tick)
{
    /* Relaxed, both: times, which order nothing. */
    const uint32_t now = atomic_load_explicit(tick, memory_order_relaxed);
    return KMEM_LIKELY(now != TICK_STOPPED)
               ? now
               : atomic_load_explicit(&((const struct notice *)tick)->last_tick,
                                      memory_order_relaxed);
}

#endif
