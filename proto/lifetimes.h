/* SPDX-License-Identifier: MIT */
/*
 * lifetimes.h - how long released blocks have lived, by reason: a small histogram each
 *
 * A leased block is released without a word to the server, so its client notes how long it has
 * lived, in its ledger's file, beside what it counts (counts.h). It notes one release of many, of
 * each thread, which stands for all since the one before: one in four at first, so that a program
 * that releases little is known too, and one in LIFETIMES_SAMPLED in the long run. The distance
 * varies: a program that releases blocks of two reasons in turns has both of them noted.
 *
 *  field     written by                            read by      what a stale value means
 *  reason    any thread, under a lock; once        the server   0: the record is nobody's
 *  n         any thread: atomic add, after reason  the server   the last moments are missing
 *
 * Relaxed, but for reason, whose store is the release that text and record are complete with. All
 * of it is a client's to spoil: it is shown, within limits, and nothing is decided from it.
 */
#ifndef PROTO_LIFETIMES_H
#define PROTO_LIFETIMES_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

/* 512: to note one costs some 50 ns, so 0.1 of the 7 ns that a pair takes; 64 cost 0.8. */
#define LIFETIMES_SAMPLED 512
/* 256 reasons, without what follows '#': 10 KiB. Of those that come later nothing is known. */
#define LIFETIMES_MAX 256
/* From 0, 1 s, 10 s, 1 min, 10 min, 1 h, 1 day, 1 week on: as roll-ups by age have it. */
#define LIFETIME_RANGES 8

struct ledger_lifetimes {
    _Atomic uint32_t reason; /* its number in the ledger's table, and 1; what follows '#' is cut */
    uint32_t reserved;
    _Atomic uint32_t n[LIFETIME_RANGES]; /* releases that were noted, and those they stand for */
};

static_assert(sizeof(struct ledger_lifetimes) == 40, "part of the layout");

/** lifetime_range() - which range so many ticks of 100 ms are in */
static inline uint32_t lifetime_range(uint32_t ticks)
{
    static const uint32_t least[LIFETIME_RANGES] = {0, 10, 100, 600, 6000, 36000, 864000, 6048000};
    uint32_t range = 0;
    while (range + 1 < LIFETIME_RANGES && ticks >= least[range + 1]) {
        range++;
    }
    return range;
}

/** lifetimes_next() - after which count of releases another one is noted */
static inline uint64_t lifetimes_next(uint64_t n_releases)
{
    const uint64_t wanted = n_releases / 32;
    const uint64_t mean = wanted < 4 ? 4 : wanted > LIFETIMES_SAMPLED ? LIFETIMES_SAMPLED : wanted;
    /* 1 to 2 * mean - 1, by the golden section: no period of a program's fits it. */
    return n_releases + 1 + (n_releases * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (2 * mean - 1);
}

#endif
