/* SPDX-License-Identifier: MIT */
/*
 * reap.h - taking back what ended clients held, step by step
 */
#ifndef DAEMON_CORE_REAP_H
#define DAEMON_CORE_REAP_H

#include <stdint.h>

struct core;
struct obituary;

/*
 * What an obituary counts of reap()'s budget: a line in the log, a message to the keeper, a mapping
 * and two files closed, some 20 us; and a look at what each client has counted. A thousand clients
 * may end at once.
 */
#define REAP_OBITUARY_COST 300

typedef void (*reap_written_fn)(const struct obituary *obituary, uint32_t slot, void *user);

/**
 * reap() - take blocks of ended clients back, some at a time
 * @budget:   how many entries and pages to look at, about, before the walk, in it, and after it;
 *            an obituary counts REAP_OBITUARY_COST
 * @written:  is told each obituary; the client's slot is free from then on
 */
void reap(struct core *core, uint32_t budget, reap_written_fn written, void *user);

#endif
