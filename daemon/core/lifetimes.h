/* SPDX-License-Identifier: MIT */
/*
 * lifetimes.h - how long blocks lived that were released, by reason: what ended clients had noted
 *               of theirs (proto/lifetimes.h), and every direct block
 *
 * A table of LIFETIMES_KEPT reasons, without what follows '#'. A reason has its place among
 * LIFETIMES_PROBED, by its hash. If all of those are others', the one that was released least has
 * its figures halved, and gives its place up when they are 0: so a client that makes up reasons
 * takes no place from those that are released again and again. It is this server's: the next one
 * begins anew, with what the clients that live on have noted. Nothing is decided from it.
 */
#ifndef DAEMON_CORE_LIFETIMES_H
#define DAEMON_CORE_LIFETIMES_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/lifetimes.h"
#include "proto/limits.h"

/* 1,024: more reasons than leaks are looked for among; 200 KiB. Fewer in tests of many cores. */
#ifndef LIFETIMES_KEPT
#define LIFETIMES_KEPT 1024
#endif
#define LIFETIMES_PROBED 8

struct lifetimes_kept {
    uint64_t n[LIFETIME_RANGES]; /* released, by how long they had lived */
    uint8_t n_bytes;             /* 0: the place is free */
    char text[REASON_MAX_BYTES];
};

struct lifetimes {
    uint64_t seed; /* of the hash: clients choose the texts */
    struct lifetimes_kept kept[LIFETIMES_KEPT];
};

void lifetimes_init(struct lifetimes *lifetimes, uint64_t seed);

/** lifetimes_add() - so many were released; @text: cut at '#' here */
void lifetimes_add(struct lifetimes *lifetimes, const char *text, size_t n_bytes,
                   const uint32_t *n_by_range);

/** lifetimes_find() - of a reason, cut already; NULL: nothing is known */
const struct lifetimes_kept *lifetimes_find(const struct lifetimes *lifetimes, const char *text,
                                            size_t n_bytes);

/** lifetimes_key() - how much of a reason stands before '#' */
size_t lifetimes_key(const char *text, size_t n_bytes);

#endif
