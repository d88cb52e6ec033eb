/* SPDX-License-Identifier: MIT */
/*
 * backing.h - what size of pages the segment's memory is made of
 *
 * The first touch of a page by a process costs 10 us through a 4 KiB mapping and 0.04 us per 4 KiB
 * through a 2 MiB one. A file in memory is made of small pages unless the system is set up
 * otherwise, but MADV_COLLAPSE (Linux 6.1) turns populated ones into huge ones without any setting,
 * at 2.6 ms per 2 MiB: in the background, once clients are served.
 */
#ifndef DAEMON_BACKING_H
#define DAEMON_BACKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proto/attributes.h"

#define BACKING_HUGE_BYTES (UINT64_C(2) << 20)

struct backing {
    uv_thread_t thread;
    uv_async_t done; /* by which the thread says that it has ended */
    int fd;
    uint64_t n_bytes;
    uint64_t n_huge; /* 2 MiB pages that were made */
    int error;       /* a negative errno: why no more; 0 if all were */
    _Atomic bool cancelled;
    bool running;
    uint64_t *granule_bytes; /* becomes PAGE_BYTES if none could be made; may be NULL */
};

/**
 * backing_start() - collapse a committed segment, and log what became of it
 * @fd:  the segment's file; borrowed until the work is done
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int backing_start(struct backing *backing, uv_loop_t *loop, int fd, uint64_t n_bytes);

/** backing_stop() - soon; the loop goes on until the work has ended */
void backing_stop(struct backing *backing);

#endif
