/* SPDX-License-Identifier: MIT */
/*
 * unit.h - what every unit test begins with: cmocka, and what it wants to be included before it
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka hands each test a state, which few look at. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
