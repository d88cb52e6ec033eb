/* SPDX-License-Identifier: MIT */
/*
 * scrub.h - makes what came back zero again, while nobody waits for anything
 *
 * A block is zeroed when it is allocated, and for a large one that is most of what it costs, unless
 * its pages are known to be zero already. Those of a new segment are; those that a process has used
 * and that came back are made so here, a piece at a time, when the server has nothing else to do.
 * So a new process finds its first gigabyte as cheap as the first process did; and what a process
 * wrote does not outlast it by much.
 *
 * It is written, not mapped: the server maps nothing that clients can write to, and a write fills
 * holes that a client has punched. In a segment that takes its memory when it is used (--commit
 * lazy) the memory is given back instead, which makes it zero as well.
 */
#ifndef DAEMON_SCRUB_H
#define DAEMON_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/pages.h"
#include "proto/attributes.h"

/*
 * 64 pages, 1 MiB: below that a client clears as fast as it asks; and a slab that opens and closes
 * with a single block must not be cleared each time.
 */
#define SCRUB_MIN_PAGES 64

struct scrub {
    int fd; /* the segment's; borrowed */
    bool gives_back;
    bool failed; /* and was said to; it is not tried again */
    uint32_t at; /* the page where the next step looks first */
};

void scrub_init(struct scrub *scrub, int fd, bool gives_back);

/** scrub_is_wanted() - whether so much came back that it is worth a step */
bool scrub_is_wanted(const struct scrub *scrub, const struct pages *pages);

/**
 * scrub_step() - clear one piece of what came back
 *
 * Waiting: some 40 us. Return: whether there is more.
 */
bool scrub_step(struct scrub *scrub, struct pages *pages);

#endif
