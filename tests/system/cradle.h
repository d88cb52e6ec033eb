/* SPDX-License-Identifier: MIT */
/*
 * cradle.h - strange circumstances to start a daemon in
 *
 * A cradle is a list of words, with commas between them:
 *
 *      closed     standard input is closed
 *      mute       all three standard descriptors are; nothing can be read of the daemon then
 *      ignored    every signal is ignored that can be
 *      blocked    every signal is blocked that can be
 *      umask      nothing is allowed to anybody
 *      limits     soft limits are too low, and hard ones as they were
 *      timer      an alarm of the starter's goes off, CRADLE_ALARM_S later
 *
 * What $KMEM_TEST_CRADLE says holds for every daemon of a test.
 */
#ifndef TESTS_SYSTEM_CRADLE_H
#define TESTS_SYSTEM_CRADLE_H

#include <stdbool.h>

#include "tests/system/harness.h"

#define CRADLE_VARIABLE "KMEM_TEST_CRADLE"

/* Once main() has begun it does no harm; a program with a sanitizer takes its time until then. */
#define CRADLE_ALARM_S (HARNESS_SANITIZED ? 5U : 2U)

/** cradle_lay() - in a process that is about to become a daemon; words may be NULL */
void cradle_lay(const char *words);

/** cradle_lay_from_environment() - what $KMEM_TEST_CRADLE says */
void cradle_lay_from_environment(void);

/** cradle_has() - whether a word is among them; words may be NULL */
bool cradle_has(const char *words, const char *word);

#endif
