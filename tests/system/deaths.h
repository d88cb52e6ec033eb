/* SPDX-License-Identifier: MIT */
/*
 * deaths.h - how servers have ended, as the keeper's log tells
 *
 * A test that goes on after the end of a server would not notice one too many: a server that a test
 * kills, and one that dies of itself, are followed alike.
 */
#ifndef TESTS_SYSTEM_DEATHS_H
#define TESTS_SYSTEM_DEATHS_H

#include <stdint.h>

struct deaths {
    uint64_t n;         /* of servers that were followed by others */
    uint64_t n_kills;   /* of them: by signal 9, and not by the watchdog's */
    uint64_t n_unready; /* of those: before they were ready */
};

/** deaths_count() - in the log so far, which has to be whole: its first MiB is looked at */
struct deaths deaths_count(void);

/** expect_only_kills() - want the log to have so many deaths soon, each by signal 9 from outside */
#define expect_only_kills(n_kills) deaths_expect_only_kills(__FILE__, __LINE__, n_kills)
void deaths_expect_only_kills(const char *file, int line, uint64_t n_kills);

#endif
