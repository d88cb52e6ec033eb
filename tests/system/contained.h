/* SPDX-License-Identifier: MIT */
/*
 * contained.h - what the program in a container (contained.c) does when it is told a number
 *
 * It answers each with a number: 0, or the positive errno of the call; behind 0 comes what is said
 * here. What the library says of an error is on its stderr.
 */
#ifndef TESTS_SYSTEM_CONTAINED_H
#define TESTS_SYSTEM_CONTAINED_H

#include <stdint.h>

enum {
    CONTAINED_ALLOCATE, /* CONTAINED_BYTES, each of them CONTAINED_FILL */
    CONTAINED_SHARE,    /* that; then the handle: hear_handle() */
    CONTAINED_ATTACH,   /* hears a handle: tell_handle(); then the block's first byte */
    CONTAINED_ASK,      /* then how many clients the daemon names, its own among them */
    CONTAINED_END,      /* exits; there is no answer */
};

#define CONTAINED_BYTES UINT64_C(100000)
#define CONTAINED_FILL 0x5a

#endif
