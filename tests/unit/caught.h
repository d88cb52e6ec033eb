/* SPDX-License-Identifier: MIT */
/*
 * caught.h - a failure handler that remembers what it was told, and returns
 */
#ifndef TESTS_UNIT_CAUGHT_H
#define TESTS_UNIT_CAUGHT_H

#include <kmem/kmem.h>

/* What the last failure was; the strings are copies. */
extern struct kmem_failure caught;
extern unsigned int n_caught;

/** caught_install() - become the failure handler, nothing remembered */
void caught_install(void);

/** caught_remember() - the handler */
void caught_remember(const struct kmem_failure *failure);

/** assert_caught() - want exactly one failure since the last time, of that call with that errno */
void assert_caught(const char *call, int error);

#endif
