/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - membarrier() of all running threads of clients, each of which registers when it joins
 */
#ifndef DAEMON_SERVER_BARRIER_H
#define DAEMON_SERVER_BARRIER_H

#include <stdbool.h>

typedef bool (*barrier_fn)(void);

/**
 * barrier_find() - what makes one; whether it was made is what that returns
 *
 * NULL: a sandbox denies it, which is logged; then slabs without a live block stay their owners'.
 */
barrier_fn barrier_find(void);

#endif
