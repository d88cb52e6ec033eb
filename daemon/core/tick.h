/* SPDX-License-Identifier: MIT */
/*
 * tick.h - the time in ledgers
 *
 * A tick is 100 ms since the segment was made, by the clock that counts suspended time and that
 * nobody can set: ages stay right when the wall clock is changed. 32 bits last 13.6 years; then the
 * tick stands still, one short of the word that says that there is no time (proto/notice.h), and
 * blocks look younger than they are.
 */
#ifndef DAEMON_CORE_TICK_H
#define DAEMON_CORE_TICK_H

#include <stdint.h>

#include "proto/notice.h"

/* 100: finer than anyone reads an age, and 32 bits of it outlast the machine. */
#define TICK_MS 100

static inline uint32_t tick_of(uint64_t now_ms, uint64_t born_ms)
{
    const uint64_t ticks = now_ms > born_ms ? (now_ms - born_ms) / TICK_MS : 0;
    return ticks < TICK_STOPPED ? (uint32_t)ticks : TICK_STOPPED - 1;
}

/** tick_age_ms() - how long ago a tick was; 0 if it is yet to come */
static inline uint64_t tick_age_ms(uint32_t tick, uint32_t now)
{
    return now > tick ? (uint64_t)(now - tick) * TICK_MS : 0;
}

#endif
