/* SPDX-License-Identifier: MIT */
/*
 * scrubber.h - the process that works on the segment's memory, because it may hang
 *
 * Taking memory from the system and giving it back take the lock of the segment's inode; clearing
 * what came back and making huge pages wait for pages of it, and for walks over its mappings. Every
 * member has that file: threads that write to it hold the lock for hundreds of milliseconds, and a
 * write whose source is served by userfaultfd or FUSE holds it for ever. A process that waits there
 * is not even ended by SIGKILL. So neither the server nor a thread of it does any of this, but a
 * process of its own: the server never waits for it, and ends without it. It is also the one to be
 * killed where memory that is taken is not there, which a memory cgroup does with whoever has the
 * most: it offers itself.
 *
 * What it may still do late decides everything else. A hole that it punches, or zeros that it
 * writes, after the pages were given to somebody would destroy what that one wrote. So pages are
 * nobody's from before the order until the answer, or until the scrubber is gone (pages.h), and
 * while a scrubber lives no other begins, not the next server's either: each holds a record lock on
 * the state's file, which no member has and which the kernel drops with the process. The scrubber
 * that has the lock says so, and that is how a server knows that no former one is left.
 *
 *      server                          scrubber
 *      scrubber_start()      ──────►   waits for the lock
 *                            ◄──────   SCRUBBER_READY
 *      pages_scrub_begin()
 *      SCRUBBER_CLEAR, ...   ──────►   clears, or punches
 *      pages_scrub_end()     ◄──────   SCRUBBER_DONE, 0 or a negative errno
 *      (its end of the socket closes)  ends; SIGKILL comes as well if the server dies
 */
#ifndef DAEMON_SERVER_SCRUBBER_H
#define DAEMON_SERVER_SCRUBBER_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/attributes.h"

/* Where the record locks on the state's file are: one byte each. */
#define STATE_LOCK_SERVER 0
#define STATE_LOCK_SCRUBBER 1

enum scrubber_kind {
    SCRUBBER_CLEAR,     /* make it zeros */
    SCRUBBER_GIVE_BACK, /* punch a hole */
    SCRUBBER_TAKE,      /* have memory behind it */
    SCRUBBER_COLLAPSE,  /* make huge pages, from where it ended last, between other orders */
    SCRUBBER_READY,     /* no other scrubber lives */
    SCRUBBER_DONE,      /* with the one order that is no SCRUBBER_COLLAPSE */
    SCRUBBER_COLLAPSED,
};

struct scrubber_order {
    uint32_t kind;
    int32_t reserved;
    uint64_t at; /* in bytes */
    uint64_t n_bytes;
};

struct scrubber_answer {
    uint32_t kind;
    int32_t error; /* 0 or a negative errno */
    uint64_t n_huge;
};

struct scrubber {
    pid_t pid;
    int fd;
};

/**
 * scrubber_start() - a process with the segment and the state's file, and no other descriptor, not
 * even stderr: what is amiss it answers
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int scrubber_start(int segment_fd, int state_fd, struct scrubber *ret_scrubber);

/** scrubber_order() - Return: 0 or a negative errno; never waits */
KMEM_MUST_USE int scrubber_order(const struct scrubber *scrubber,
                                 const struct scrubber_order *order);

/** scrubber_hear() - Return: 0; -EAGAIN: nothing was said; -EPIPE: it has ended; or another */
KMEM_MUST_USE int scrubber_hear(const struct scrubber *scrubber,
                                struct scrubber_answer *ret_answer);

/** scrubber_reap() - it has ended, or is to end by itself; never waits */
void scrubber_reap(const struct scrubber *scrubber);

#endif
