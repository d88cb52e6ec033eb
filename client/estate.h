/* SPDX-License-Identifier: MIT */
/*
 * estate.h - what a forked child has of one parent: where the copies lie, and how large they are
 *
 * Written by the parent, before the fork (inherit.c). In the child it changes by what it releases:
 * the size of that is not known any more, so that to release it again is noticed.
 */
#ifndef CLIENT_ESTATE_H
#define CLIENT_ESTATE_H

#include <stdint.h>

#include "client/map/holds.h"
#include "client/map/protections.h"

/*
 * 256 runs, of which the process has two mappings each, of the 65,530 that there are: a child of a
 * child of a child has them again.
 */
#define RUNS_MAX 256

/* Pages [begin, end) of the segment, of which n_marked are in use. */
struct stretch {
    uint32_t begin;
    uint32_t end;
    uint32_t n_marked;
};

/* A slab, or a large block: then block_bytes is what was asked for, and n_blocks 1. */
struct piece {
    uint64_t offset;
    uint64_t block_bytes;
    uint32_t first_slack; /* of the table: block_bytes - what was asked for, by block */
    uint32_t n_blocks;
};

/* No class has blocks so much larger than the one below it. */
#define SLACK_FREE UINT16_MAX
#define SLACK_RELEASED (UINT16_MAX - 1)

/*
 * What a child has of one parent.
 *
 *      n_pieces <= max_pieces;  n_slacks <= max_slacks       ascending by offset
 */
struct estate {
    const struct estate *older; /* of the parent's parent */
    unsigned char *base;
    uint64_t num_bytes;
    struct holds directs; /* direct and attached blocks, in the same mapping; 0 bytes: released */
    struct piece *pieces;
    uint32_t n_pieces;
    uint32_t max_pieces;
    _Atomic uint16_t *slacks; /* relaxed: each is of one block, which one thread releases */
    uint32_t n_slacks;
    uint32_t max_slacks;
    uint64_t *pages;       /* a bit for each page of the segment: something of it is copied */
    struct stretch used;   /* pages by lease */
    struct stretch marked; /* the first and the last of `pages` */
    uint32_t n_runs;
    struct stretch runs[RUNS_MAX];
    struct protections protections; /* last: of most programs nothing but its n is touched */
};

/** kmem__estate_add() - in the child, before it has a second thread: it is the youngest */
void kmem__estate_add(struct estate *estate);

/** kmem__estate_of() - the estate in whose range an address lies; NULL: none */
const struct estate *kmem__estate_of(const void *address);

/** kmem__estate_sizeof() - a block's size, as it was asked for; 0: none begins there */
uint64_t kmem__estate_sizeof(const struct estate *estate, uint64_t offset);

/**
 * kmem__estate_release() - forget a block
 * Return: 0; -EINVAL: none begins there; -EALREADY: it has been released.
 */
KMEM_MUST_USE int kmem__estate_release(const struct estate *estate, uint64_t offset);

#endif
