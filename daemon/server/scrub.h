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
 * them, and only the piece that it has in hand, a megabyte or four, is kept from everybody. It
 * clears through a mapping, which takes no inode lock, but a fault waits while somebody punches
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
    bool clears;              /* false: what came back stays as it is */
    uint64_t huge_bytes;      /* of the segment, to be made of huge pages; 0: it is not */
    uint64_t *granule_bytes;  /* becomes PAGE_BYTES if there are none */
    uint64_t *made_bytes;     /* becomes how many were made of them */
    void (*done)(void *user); /* a piece was cleared, or never will be */
    void *user;
    void (*taken)(int error, void *taken_user); /* scrub_take() ended: 0 or a negative errno */
    void *taken_user;
};

enum scrub_phase {
    SCRUB_ABSENT,   /* there is no scrubber */
    SCRUB_STARTING, /* there is one, that waits until no other is left */
    SCRUB_IDLE,
    SCRUB_BUSY,     /* it has the pages at pages->scrub_page in hand */
    SCRUB_TAKING,   /* memory for what the segment is to grow by */
    SCRUB_TRIMMING, /* it gives back what lies beyond the segment */
};

/* Of the segment's file, in bytes. */
struct scrub_range {
    uint64_t at;
    uint64_t end;
};

struct scrub {
    struct scrub_config config;
    enum scrub_phase phase;
    struct scrubber scrubber;
    uv_poll_t poll;             /* what it says */
    uv_timer_t timer;           /* it is waited for; or it is started again */
    struct scrub_range take;    /* is to have memory; at == end: nothing is */
    uint64_t take_from;         /* where that began */
    struct scrub_range trim;    /* beyond the segment, is to have none; likewise */
    bool trims_pages;           /* and these pages are known to be 0 then */
    struct scrub_range in_hand; /* of SCRUB_TAKING and SCRUB_TRIMMING */
    uint32_t n_waits;           /* how often the timer went off meanwhile */
    uint32_t at;                /* the page where the next step looks first */
    bool collapsed;             /* or it has said why not */
    bool collapses;             /* it can, as the last answer says */
    bool failed;                /* and was said to; it is not tried again */
    bool mute;                  /* what is amiss was said already */
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

/**
 * scrub_take() - have memory taken from the system for a part of the segment's file that lies
 *                beyond the segment
 *
 * config.taken() is called when it is there, or can not be had; in a segment that takes its memory
 * when it is used, as soon as nothing is left to be given back there.
 */
void scrub_take(struct scrub *scrub, uint64_t at, uint64_t n_bytes);

/**
 * scrub_trim() - have the memory of what lies beyond the segment given back
 * @is_pages:  whether the page table is to know that it is 0 then: it has been in the segment
 */
void scrub_trim(struct scrub *scrub, uint64_t at, uint64_t end, bool is_pages);

/** scrub_collapse() - the segment is to be made of huge pages as far as n_bytes */
void scrub_collapse(struct scrub *scrub, uint64_t n_bytes);

#endif
