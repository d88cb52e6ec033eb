/* SPDX-License-Identifier: MIT */
/*
 * scrub.h - makes what came back zero again, while the server has nothing else to do
 *
 * A block is zeroed when it is allocated, and for a large one that is most of what it costs, unless
 * its pages are known to be zero already. Those of a new segment are; those that a process has used
 * and that came back are made so here, a piece at a time. So a new process finds its first gigabyte
 * as cheap as the first process did; and what a process wrote does not outlast it by much. In a
 * segment that takes its memory when it is used (--commit lazy) the memory is given back instead,
 * which makes it zero as well.
 *
 * The server decides what is cleared and when; the work is done by a process that may hang
 * (scrubber.h). While it does, nothing is cleared: pages go out as they are, their owners clear
 * them, and only the piece that it has in hand, a megabyte or four, is kept from everybody. Writing
 * through a mapping instead would take no inode lock, but a fault waits while somebody punches
 * holes where it happened, and mmap() waits for walks over everybody's mappings of the file.
 */
#ifndef DAEMON_SERVER_SCRUB_H
#define DAEMON_SERVER_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "daemon/core/pages.h"
#include "daemon/server/scrubber.h"

/*
 * 64 pages, 1 MiB: below that a client clears as fast as it asks; and a slab that opens and closes
 * with a single block must not be cleared each time.
 */
#define SCRUB_MIN_PAGES 64

struct scrub_config {
    uv_loop_t *loop;
    struct pages *pages;
    int segment_fd; /* borrowed, as is the state's */
    int state_fd;
    bool gives_back;
    uint64_t huge_bytes;      /* of the segment, to be made of huge pages; 0: it is not */
    uint64_t *granule_bytes;  /* becomes PAGE_BYTES if there are none */
    uint64_t *made_bytes;     /* becomes how many were made of them */
    void (*done)(void *user); /* a piece was cleared, or never will be */
    void *user;
};

enum scrub_phase {
    SCRUB_ABSENT,   /* there is no scrubber */
    SCRUB_STARTING, /* there is one, that waits until no other is left */
    SCRUB_IDLE,
    SCRUB_BUSY, /* it has the pages at pages->scrub_page in hand */
};

struct scrub {
    struct scrub_config config;
    enum scrub_phase phase;
    struct scrubber scrubber;
    uv_poll_t poll;   /* what it says */
    uv_timer_t timer; /* it is waited for; or it is started again */
    uint32_t n_waits; /* how often the timer went off meanwhile */
    uint32_t at;      /* the page where the next step looks first */
    bool collapsed;   /* or it has said why not */
    bool failed;      /* and was said to; it is not tried again */
    bool mute;        /* what is amiss was said already */
    bool closing;
};

void scrub_open(struct scrub *scrub, const struct scrub_config *config);

/** scrub_close() - the scrubber ends by itself, when it can */
void scrub_close(struct scrub *scrub);

/** scrub_is_wanted() - whether so much came back that it is worth a piece, and can be cleared */
bool scrub_is_wanted(const struct scrub *scrub);

/**
 * scrub_step() - have the next piece of what came back cleared
 *
 * config.done() is called when it is. Return: false if there is nothing more to do, or no way.
 */
bool scrub_step(struct scrub *scrub);

#endif
