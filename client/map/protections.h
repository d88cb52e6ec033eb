/* SPDX-License-Identifier: MIT */
/*
 * protections.h - what the program has protected of its blocks, by mprotect()
 *
 * A guard page below a stack that lies in a block, or a write barrier. It is read from /proc, and
 * only where it is known that there is any: kmem__inherit_protected(). Without /proc there is none.
 */
#ifndef CLIENT_MAP_PROTECTIONS_H
#define CLIENT_MAP_PROTECTIONS_H

#include <stdint.h>

#include "client/map/segment.h"

/*
 * 1,024 stretches, 24 KiB that are touched as far as they are needed: fewer would leave programs
 * with a guard page for each coroutine without some of them; each costs a child a call.
 */
#define PROTECTIONS_MAX 1024

/* Bytes [begin, end) of the segment, by offset: CPU pages. */
struct protection {
    uint64_t begin;
    uint64_t end;
    int allowed; /* PROT_... */
};

/* All zero: there are none. n <= PROTECTIONS_MAX, ascending; more are left out. */
struct protections {
    uint32_t n;
    struct protection all[PROTECTIONS_MAX];
};

/** kmem__protections_read() - of what the guard has open, what is not readable and writable */
void kmem__protections_read(struct protections *protections, const struct segment *segment);

/** kmem__protections_set() - the same for what lies at base now; what fails is not protected */
void kmem__protections_set(const struct protections *protections, unsigned char *base);

/**
 * kmem__protections_evade() - a second mapping of the segment, which can be read whatever they are
 * Return: to be handed to munmap(), with the segment's size; NULL: there is no room.
 */
void *kmem__protections_evade(const struct segment *segment);

#endif
