/* SPDX-License-Identifier: MIT */
/*
 * worker.h - a program that allocates, looks and releases at random, and says what it does
 *
 * Any call that fails, any byte that is not what it should be ends it with a sentence and exit
 * status 1, which the driver takes for what it is. Several threads share the worker's blocks:
 * each may release what another has allocated.
 */
#ifndef TESTS_TORTURE_WORKER_H
#define TESTS_TORTURE_WORKER_H

#include "tests/torture/oracle.h"

/* What a worker is started with: everything it needs to know. */
struct worker {
    struct world *world;
    uint32_t number;
};

/** worker_run() - until the world ends; for client_start(), with a struct worker */
void worker_run(const void *argument);

#endif
