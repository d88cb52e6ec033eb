/* SPDX-License-Identifier: MIT */
/*
 * core_fixture.h - the core of a file of tests, which each test begins and core_teardown() ends
 */
#ifndef TESTS_UNIT_CORE_FIXTURE_H
#define TESTS_UNIT_CORE_FIXTURE_H

#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

static struct fixture fixture;
static struct core *const core = &fixture.core;

static inline int core_teardown(void **state)
{
    assert_int_equal(core_check(core), 0);
    fixture_fini(&fixture);
    return 0;
}

#endif
