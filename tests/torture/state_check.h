/* SPDX-License-Identifier: MIT */
/*
 * state_check.h - the daemon's state, read as a server that starts reads it
 */
#ifndef TESTS_TORTURE_STATE_CHECK_H
#define TESTS_TORTURE_STATE_CHECK_H

#include <stdint.h>

/**
 * state_check() - want a core to go on with a copy of the daemon's state, and all of it to add up
 *
 * No client may ask for anything meanwhile, and no dead one be left. What must be true of shares,
 * holds, names and pages is core_check()'s to say, and that is run.
 */
void state_check(uint64_t segment_bytes);

#endif
