/* SPDX-License-Identifier: MIT */
/*
 * captured.h - what is written to stderr while something runs
 */
#ifndef TESTS_UNIT_CAPTURED_H
#define TESTS_UNIT_CAPTURED_H

/** capture_begin() - stderr goes to a file in memory from now on */
void capture_begin(void);

/** capture_end() - stderr is as it was. Return: what was written; valid until the next one. */
const char *capture_end(void);

/** count_fds() - the open descriptors of this process */
unsigned count_fds(void);

#endif
