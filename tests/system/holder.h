/* SPDX-License-Identifier: MIT */
/*
 * holder.h - a client that holds something, and comes back to find it whenever it is told to
 */
#ifndef TESTS_SYSTEM_HOLDER_H
#define TESTS_SYSTEM_HOLDER_H

#include "tests/system/client.h"

/* Two blocks, "held/first" of 100 bytes and "held/second", and a lease of four pages. */
#define HELD_BYTES 300
#define HELD_BLOCKS 2

/** holder_start() - start one, alone in its segment */
struct client holder_start(void);

/** holder_expect_held() - want it to come back and find everything, and nothing more */
void holder_expect_held(const struct client *client);

/** holder_end() - let it end, and want everything to be back */
void holder_end(struct client *client);

#endif
