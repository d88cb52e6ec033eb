/* SPDX-License-Identifier: MIT */
/*
 * bells.h - waking those who sleep until a name means another block: proto/notice.h
 *
 * Nothing is known here of who sleeps: the kernel does. Waking a thousand takes it a millisecond,
 * so some are woken at once, and the rest in the next turns of the loop.
 *
 *      n_due == the bells in `due`
 */
#ifndef DAEMON_SERVER_BELLS_H
#define DAEMON_SERVER_BELLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/notice.h"

/* 64, or some 50 us: more would be felt by those who ask meanwhile, fewer would make more turns. */
#define BELL_WAKES 64

struct bells {
    _Atomic uint32_t *words;         /* NOTICE_BELLS of them, that clients read */
    uint64_t due[NOTICE_BELLS / 64]; /* a bit for each bell at which more may sleep */
    uint32_t n_due;
};

/** bells_init() - @words: of the notice file, mapped for writing; the caller's */
void bells_init(struct bells *bells, _Atomic uint32_t *words);

/** bells_ring() - a name with this bell means another block: wake BELL_WAKES, note whether more */
void bells_ring(struct bells *bells, uint32_t bell);

/** bells_ring_all() - whatever the last server has not come to ring; they are all due */
void bells_ring_all(struct bells *bells);

/** bells_are_due() - whether there is something for bells_step() */
static inline bool bells_are_due(const struct bells *bells)
{
    return bells->n_due > 0;
}

/** bells_step() - wake BELL_WAKES more, or find that at some bells nobody sleeps any more */
void bells_step(struct bells *bells);

#endif
