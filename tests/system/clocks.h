/* SPDX-License-Identifier: MIT */
/*
 * clocks.h - a kmemd whose clocks a test sets
 *
 * kmemd_shifted is kmemd with another clock_gettime(), time() and gettimeofday(): they add what a
 * file says that the test writes at any time, and count who asks for the wall clock.
 */
#ifndef TESTS_SYSTEM_CLOCKS_H
#define TESTS_SYSTEM_CLOCKS_H

#include <stdatomic.h>
#include <stdint.h>

#define CLOCKS_VARIABLE "KMEMD_CLOCKS"

/* The file. */
struct clocks {
    _Atomic int64_t wall_s;   /* added to the wall clock; the test writes, kmemd reads */
    _Atomic int64_t boot_s;   /* to the clock that counts suspended time; likewise */
    _Atomic uint64_t n_wall;  /* how often the wall clock was asked for; kmemd counts */
    _Atomic uint64_t n_asked; /* and any other */
};

/** clocks_prepare() - before the daemon is started. Ownership: the harness's, for this test. */
struct clocks *clocks_prepare(void);

#endif
