/* SPDX-License-Identifier: MIT */
/*
 * check.h - whether the core is what the model says, and fit to go on
 */
#ifndef TESTS_CRASH_CHECK_H
#define TESTS_CRASH_CHECK_H

#include "tests/crash/world.h"

/** check_remember() - what is so before an operation */
void check_remember(void);

/**
 * check() - want all of it
 *
 * Every block with size, reason and owner, and no other; every page that a client uses its own, and
 * in use as before; the living clients and no other, with their ledgers and no other, and for each
 * user the sum of what its clients have; one obituary for whoever ended. Everybody is connected.
 */
void check(void);

/**
 * check_given() - at every moment: a page that somebody may have written to is not taken for zero
 *
 * Nothing is cleared here, so a page that was given once stays so. Needs no core but its state.
 */
void check_given(void);

/** check_end() - end everybody, and want the segment to be as it was before anybody came */
void check_end(void);

#endif
