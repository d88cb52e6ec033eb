/* SPDX-License-Identifier: MIT */
/*
 * clock.h - what is done ten times a second while clients are there
 *
 * The time that they read moves on, the most that they have is noted, and once a second a look for
 * the history is begun. Without clients nothing runs, and the process sleeps.
 */
#ifndef DAEMON_SERVER_CLOCK_H
#define DAEMON_SERVER_CLOCK_H

#include <stdbool.h>

#include <uv.h>

#include "daemon/core/core.h"
#include "daemon/server/alarm.h"
#include "daemon/server/client_files.h"

struct clock {
    struct alarm alarm;
    struct core *core;
    struct client_files *ledgers;
    void (*work)(void *user); /* clock_step() has something to do */
    void *user;
};

/**
 * clock_open() - a clock that stands; the rest of it has been set
 * Return: 0 or a negative errno; then there is nothing to close.
 */
KMEM_MUST_USE int clock_open(struct clock *clock, uv_loop_t *loop);

/** clock_start() - from now on, until there is no client */
void clock_start(struct clock *clock);

void clock_close(struct clock *clock);

/** clock_has_work() - whether a look for the history is under way */
bool clock_has_work(const struct clock *clock);

/** clock_step() - a step of it. Waiting: some 25 us. */
void clock_step(struct clock *clock);

#endif
