/* SPDX-License-Identifier: MIT */
/*
 * fail.h - the n-th call of something fails
 *
 * A test links fail.c and names malloc, calloc and realloc after WRAP: they are "memory" together.
 * For every other call that is to fail it names the function after WRAP and writes FAIL_WRAP().
 * Only what is compiled into the test fails; the C library's own calls do not.
 *
 *      for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
 *              r = thing_init(&thing);
 *              if (fail_end()) { it must have failed cleanly } else { it must have worked }
 *      }
 */
#ifndef TESTS_UNIT_FAIL_H
#define TESTS_UNIT_FAIL_H

#include <stdbool.h>

/** fail_nth() - the nth call of `what` from now on, counted from 1, fails with an errno; once */
void fail_nth(const char *what, unsigned nth, int error);

/** fail_from() - that call fails, and all that follow */
void fail_from(const char *what, unsigned nth, int error);

/** fail_end() - nothing fails any more. Return: whether anything did. */
bool fail_end(void);

/** fail_again() - fail_nth(), unless the round before was the first in which nothing failed */
bool fail_again(const char *what, unsigned nth, int error);

/** fail_now() - for wrappers: counts a call. Return: whether it fails; errno is set then. */
bool fail_now(const char *what);

#define FAIL_WRAP(type, name, parameters, arguments, failed)                                       \
    FAIL_WRAP_AS(#name, type, name, parameters, arguments, failed)

/* The same of a function that is one of several: strdup(), which is "memory" as well. */
#define FAIL_WRAP_AS(what, type, name, parameters, arguments, failed)                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fail_now(what) ? (failed) : __real_##name arguments;                                \
    }

#endif
