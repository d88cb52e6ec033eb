/* SPDX-License-Identifier: MIT */
/*
 * bars.h - what the measured figures are to reach, and whether they do
 */
#ifndef TESTS_BENCH_BARS_H
#define TESTS_BENCH_BARS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/bench/contest.h"

/**
 * bars_print() - a line for each: what, how it stands, what is asked, PASS or MISS
 * @is_huge:  whether the segment is made of huge pages
 * @before:   is put before each line
 *
 * For everybody who is to be compared with and did not play there is a line NOT PLAYED: a bar is
 * not cleared by who stayed away. Of contests that were not run there is nothing.
 *
 * Return: how many are missed, or were not played.
 */
uint32_t bars_print(FILE *to, const char *before, const struct result *results, uint32_t n_results,
                    bool is_huge);

#endif
