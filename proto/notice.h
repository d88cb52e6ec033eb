/* SPDX-License-Identifier: MIT */
/*
 * notice.h - what the daemon tells every client without being asked: a file that clients map
 *
 *      0                 CLOCK_BYTES        NOTICE_ROSTER_AT    NOTICE_BYTES
 *      | struct notice   | bells            | roster            |
 *
 * It is kmemd:NAME:clock, of NOTICE_BYTES. Clients get a descriptor for reading only, whose open
 * file is another than the daemon's. As long as the daemon, or the service manager that keeps
 * its descriptors, has the segment, the daemon's open file holds a write lock (F_OFD_SETLK) that
 * anybody may ask for (F_OFD_GETLK); the kernel drops it with the last of these descriptors. So a
 * client can tell an end that nobody was left to write down.
 *
 *  field      written by      read by                  a stale value
 *  tick       the server      an allocation, relaxed   makes a block look older
 *  end        the daemon      who finds tick stopped   is told a moment later
 *  last_tick  the daemon      likewise                 likewise
 *  when       the daemon      likewise                 likewise
 *  n_pages    the server      the library's caps,      they are those of the former size
 *                             relaxed
 *  budgets    the server      an allocation that leaves   a reason is not yet asked for, or still
 *                             the fast way, relaxed
 *  clear      the server      who joins, relaxed       memory is cleared by a slower loop; the
 *                                                      plan of proto/clear.h; 0: it says nothing
 *  a bell     the server      who waits for a name,    the kernel finds it changed and does not
 *                             acquire                  sleep
 *  roster     nobody yet      nobody                   -
 *
 * `tick` is written last, with a whole store; a reader that sees TICK_STOPPED sees the rest.
 *
 * A BELL is rung when a name with its number means another block: it is counted up, after that has
 * become true, and who sleeps at it is woken (futex, of a shared mapping; it may be mapped for
 * reading only). To wait for a name:
 *
 *      seen = bell;  ask for what is newer (Next);  if there is nothing: FUTEX_WAIT(bell, seen)
 *
 * What comes between the first and the last step has changed the bell, and nobody sleeps. Names
 * share bells, and a server that begins rings them all: who is woken asks, and may sleep again.
 */
#ifndef PROTO_NOTICE_H
#define PROTO_NOTICE_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
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
    _Atomic uint32_t n_pages;     /* at CLOCK_PAGES: what the segment has now; 0: all of its file */
    _Atomic uint32_t budgets;     /* another number for other budgets that deny; 0: there is none */
    _Atomic uint32_t clear;       /* a plan of clear.h, measured once; 0: not measured */
};

static_assert(offsetof(struct notice, n_pages) == CLOCK_PAGES * sizeof(uint32_t), "as it says");
static_assert(sizeof(struct notice) == 60, "part of the layout");
static_assert(CLOCK_TICK_AT + sizeof(struct notice) <= CLOCK_BYTES, "it fits into the page");

/* 4,096: one for each name there usually can be; in 16 KiB, that are 4 pages to map. */
#define NOTICE_BELLS UINT32_C(4096)
#define NOTICE_BELLS_AT CLOCK_BYTES
/* It is rung when memory may be had, for those that wait for some; a name may have it, too. */
#define NOTICE_MEMORY_BELL (NOTICE_BELLS - 1)
/* Reserved: a word for each slot of a client. */
#define NOTICE_ROSTER_AT (NOTICE_BELLS_AT + NOTICE_BELLS * sizeof(uint32_t))
#define NOTICE_BYTES (NOTICE_ROSTER_AT + CLIENTS_MAX * sizeof(uint32_t))

/** notice_bell_of() - the number of the bell of a name: FNV-1a, of which 12 bits are used */
static inline uint32_t notice_bell_of(const char *name, size_t n_bytes)
{
    uint32_t hash = UINT32_C(0x811c9dc5);
    for (size_t i = 0; i < n_bytes; i++) {
        hash = (hash ^ (unsigned char)name[i]) * UINT32_C(0x01000193);
    }
    return (hash ^ hash >> 16) % NOTICE_BELLS;
}

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
