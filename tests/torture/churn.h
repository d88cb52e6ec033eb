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

/**
 * churn_survive() - count steps with and without a killer of servers, in turns
 * @seconds:  with the killer, who kills every 50 ms; there are as many without
 * @is_strict: want five kills of six to meet a server, and at least 70 % of the steps; else only
 *             that some kills do, and the figures are printed
 */
void churn_survive(unsigned int seconds, bool is_strict);

/**
 * churn_soak() - kill a client every second, and want descriptors and memory of keeper and server
 * to be the same in the first and in the last quarter
 */
void churn_soak(unsigned int seconds);

#endif
