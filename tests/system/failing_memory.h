/* SPDX-License-Identifier: MIT */
/*
 * failing_memory.h - malloc() and the like, of which the n-th fails
 *
 * kmemd is loaded with it; a test of clients links it. A sanitizer has its own malloc(): there a
 * test has nothing that fails.
 */
#ifndef TESTS_SYSTEM_FAILING_MEMORY_H
#define TESTS_SYSTEM_FAILING_MEMORY_H

#include "tests/system/fault_plan.h"

/** failing_memory_begin() - count this process's from here on, as the plan says */
void failing_memory_begin(struct fault_plan *plan, enum fault_role role);

#endif
