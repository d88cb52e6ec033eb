/* SPDX-License-Identifier: MIT */
/*
 * shares_fixture.h - one table of shares, with its checker behind each change
 */
#ifndef TESTS_UNIT_SHARES_FIXTURE_H
#define TESTS_UNIT_SHARES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/broken.h"
#include "tests/unit/records.h"

extern struct records records;
extern struct shares *const shares;

#define SHARES_TEST(test) cmocka_unit_test_setup_teardown(test, shares_setup, shares_teardown)

int shares_setup(void **state);
int shares_teardown(void **state);
void assert_sound(void);
/* Of a block of 100 bytes at a number of KiB, in the second half of the segment. */
struct share_new fresh_at(uint32_t kib);
/* Of a block in a slab of four pages. */
#define IN_SLAB_CLASS 25 /* 7,168 bytes, in slabs of four pages */
struct share_new fresh_in(uint32_t slab_page, uint32_t index);
uint32_t add(struct share_new fresh);
uint32_t hold(uint32_t share, uint32_t slot);
void let_go(uint32_t held);
void remove_share(uint32_t share);
void restart(void);
void assert_text(uint32_t reason, const char *wanted);

#endif
