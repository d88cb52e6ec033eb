/* SPDX-License-Identifier: MIT */
/*
 * bystander.h - a client that works on beside what a test does to others, and notices nothing
 */
#ifndef TESTS_SYSTEM_BYSTANDER_H
#define TESTS_SYSTEM_BYSTANDER_H

#include "tests/system/client.h"

#define BYSTANDER_BLOCKS_MAX 64

/** bystander_start() - start one that holds so many blocks; it has joined, and is served */
struct client bystander_start(unsigned int n_blocks);

/** bystander_end() - want it to have been served since */
void bystander_end(struct client *bystander);

#endif
