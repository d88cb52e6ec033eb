/* SPDX-License-Identifier: MIT */
/*
 * trouble.h - a kmemd that dies, hangs or dawdles at a place where it is told to
 *
 * kmemd_troubled is kmemd with another recover() and takeover_check(). Both look for a file, whose
 * name is in the environment and whose text is a trouble; who finds its own removes the file, so
 * that each trouble is met once, by the next program that comes to the place.
 */
#ifndef TESTS_SYSTEM_TROUBLE_H
#define TESTS_SYSTEM_TROUBLE_H

#include <stdbool.h>

#define TROUBLE_VARIABLE "KMEMD_TROUBLE"

/* Of a server that goes on with files, before it has looked at them. */
#define TROUBLE_START_ABORTS "start aborts"
#define TROUBLE_START_EXITS "start exits"
#define TROUBLE_START_STOPS "start stops"
/* TROUBLE_SLOW_MS, with a heartbeat every tenth of a second. */
#define TROUBLE_START_IS_SLOW "start is slow"
#define TROUBLE_SLOW_MS 5000
/* Of a program that is asked whether it can go on. */
#define TROUBLE_CHECK_STOPS "check stops"

/** trouble_prepare() - before the daemon is started */
void trouble_prepare(void);

/** trouble_arm() - the next one that comes to the place meets it */
void trouble_arm(const char *trouble);

/** trouble_is_met() - whether somebody has */
bool trouble_is_met(void);

#endif
