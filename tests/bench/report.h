/* SPDX-License-Identifier: MIT */
/*
 * report.h - results for people, and for programs
 */
#ifndef TESTS_BENCH_REPORT_H
#define TESTS_BENCH_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "tests/bench/contest.h"

/** report_print_header() - the table's first line */
void report_print_header(void);

/** report_print() - a result as three lines of the table: median, 99th, 99.9th percentile */
void report_print(const struct result *result);

/**
 * report_write() - every figure, separated by tabs; the names of the columns come first
 * @to:  after lines that begin with '#'
 */
void report_write(FILE *to, const struct result *results, uint32_t n_results);

#endif
