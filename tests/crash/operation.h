/* SPDX-License-Identifier: MIT */
/*
 * operation.h - what clients do, one thing at a time; a model follows
 */
#ifndef TESTS_CRASH_OPERATION_H
#define TESTS_CRASH_OPERATION_H

#include <stdbool.h>

#include "tests/crash/world.h"

/** op_choose() - fills in `op`. Return: false if there is nothing that it could be done to. */
bool op_choose(enum op_kind kind);

/**
 * op_perform() - do `op`; the model follows from model_before
 *
 * Asked again by a client that has had no answer, it must come to the same.
 */
void op_perform(void);

/** op_ends() - whether its client is another one afterwards, or none: what it held is gone */
bool op_ends(void);

/** op_is_silent() - whether it is done without the daemon, which is not asked again either */
bool op_is_silent(void);

#endif
