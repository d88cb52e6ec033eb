/* SPDX-License-Identifier: MIT */
/*
 * budgets_seen.h - what leased blocks have by budget, as a look at all blocks has seen it
 *
 * The look is the history's: once a second, or less often, while clients are there.
 */
#ifndef DAEMON_CORE_BUDGETS_SEEN_H
#define DAEMON_CORE_BUDGETS_SEEN_H

#include <stdint.h>

#include "daemon/core/budgets.h"
#include "daemon/core/rollup.h"

/**
 * budgets_see() - such a look, by reason, is complete
 * Return: a bit for each budget that warns and is exceeded, and was not when it was looked before.
 */
uint32_t budgets_see(struct budgets *budgets, const struct rollup *rollup);

#endif
