/* SPDX-License-Identifier: MIT */
/*
 * sampler.h - when to look for the history, so that it costs next to nothing
 *
 * Once a second, while clients are there. A look at a million blocks takes 70 ms of the processor,
 * in small steps between which others are served. Behind a look the sampler rests a hundred times
 * as long as the look took, so it has a hundredth of the processor at most, and the seconds that
 * it rests through have no point: each point says how long it stands for. When the last client has
 * gone and its blocks are back, there is one look more; then nothing changes, and nothing wakes.
 */
#ifndef DAEMON_CORE_SAMPLER_H
#define DAEMON_CORE_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"

/* 100: a hundredth of the processor; with 1,000 a million blocks have one point a minute. */
#define SAMPLER_REST 100
/* 1 s: all looks that can be kept are, or there was no memory; neither lasts long. */
#define SAMPLER_AGAIN_US 1000000

/** sampler_tick() - some ten times a second, while clients are there or sampler_is_due() */
void sampler_tick(struct core *core, struct now now);

/** sampler_has_work() - whether a look is under way */
bool sampler_has_work(const struct core *core);

/** sampler_work() - a step of it. Waiting: some 25 us. Return: as budgets_see(), at its end. */
uint32_t sampler_work(struct core *core, struct now now);

/** sampler_worked() - so much of the processor did that step take */
void sampler_worked(struct core *core, uint64_t spent_us, struct now now);

/** sampler_is_due() - whether there will be another look without clients */
bool sampler_is_due(const struct core *core);

#endif
