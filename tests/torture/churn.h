/* SPDX-License-Identifier: MIT */
/*
 * churn.h - eight programs that replace blocks as fast as they can
 *
 * What the benchmark calls churn: each has 1,000 live blocks of mixed sizes and replaces one of
 * them at each step. Nothing is checked here but that no call fails.
 */
#ifndef TESTS_TORTURE_CHURN_H
#define TESTS_TORTURE_CHURN_H

#include <stdbool.h>
#include <stdint.h>

struct churn_plan {
    unsigned int seconds; /* with the killer, who kills every 50 ms; there are as many without */
    bool without_rest; /* all of the killer's in one, between halves of the others; else in turns,
                             which is fairer to a machine that does other things, too */
    bool is_strict;    /* want five kills of six to meet a server, and at least 70 % of the steps;
                             else only that some kills do, and the figures are printed */
};

/** churn_survive() - count steps with and without a killer; want no server to die of itself */
void churn_survive(const struct churn_plan *plan);

/**
 * churn_soak() - kill a client every second, and want descriptors and memory of keeper and server,
 * and of all ledgers, to be the same in the first and in the last quarter
 */
void churn_soak(unsigned int seconds);

#endif
