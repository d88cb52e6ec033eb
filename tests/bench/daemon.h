/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - the kmemd that the suite measures, and what it says of itself
 */
#ifndef TESTS_BENCH_DAEMON_H
#define TESTS_BENCH_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

/**
 * daemon_start() - run a daemon in the private directory until this process ends
 * @size:  of the segment, as kmemd takes it
 *
 * $KMEM_SOCKET names it from then on. Returns when its memory is what it is going to be.
 */
void daemon_start(const char *size);

/** daemon_is_huge() - whether all of the segment is made of huge pages */
bool daemon_is_huge(void);

/** daemon_huge_pages() - the daemon's own words about that */
const char *daemon_huge_pages(void);

/** daemon_requests() - how many requests it has answered, those of this function not counted */
uint64_t daemon_requests(void);

#endif
