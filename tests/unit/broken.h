/* SPDX-License-Identifier: MIT */
/*
 * broken.h - a broken invariant as the expected outcome of a test
 *
 * The test links broken.c and names invariant_broken after WRAP. What is not expected aborts as
 * ever.
 */
#ifndef TESTS_UNIT_BROKEN_H
#define TESTS_UNIT_BROKEN_H

#include <setjmp.h>
#include <stdbool.h>

extern jmp_buf broken_to;
extern bool broken_expected;
extern const char *broken_condition;

/* The statement must break an invariant; what that was is in broken_condition. */
#define assert_broken(statement)                                                                   \
    do {                                                                                           \
        broken_expected = true;                                                                    \
        broken_condition = NULL;                                                                   \
        if (setjmp(broken_to) == 0) {                                                              \
            statement;                                                                             \
        }                                                                                          \
        broken_expected = false;                                                                   \
        assert_non_null(broken_condition);                                                         \
    } while (0)

#endif
