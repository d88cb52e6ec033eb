/* SPDX-License-Identifier: MIT */
/*
 * fake_segment.h - a small segment with a bit of everything, for the tests of what kmemctl prints
 *
 * Its figures add up. One reason is Japanese, one tries to colour the terminal, one is not UTF-8.
 */
#ifndef TESTS_UNIT_FAKE_SEGMENT_H
#define TESTS_UNIT_FAKE_SEGMENT_H

#include "tests/unit/fake_query.h"

/** fake_segment() - a query that answers about it; the caller may change its copy */
struct kmem_query fake_segment(void);

/** fake_segment_empty() - the same segment before anybody joined */
struct kmem_query fake_segment_empty(void);

#endif
