/* SPDX-License-Identifier: MIT */
/*
 * process.h - whether a process has ended, and what this one was given
 */
#ifndef CTL_PROCESS_H
#define CTL_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include <kmem/kmem.h>

/**
 * process_has_ended() - wait for a process to end, also one that is no child
 *
 * A zombie has ended. The pid must not have been given to another process.
 * Return: whether it has, within timeout_ms; 0 does not wait. If that can not be found out, false.
 */
bool process_has_ended(pid_t pid, int timeout_ms);

/**
 * process_fill_standard() - let no file that is opened become descriptor 0, 1 or 2
 *
 * One that the caller has closed is opened the wrong way round: writing and reading it fails, here
 * and in a program that is run, as it would with a closed one. Return: 0 or a negative errno.
 */
KMEM_MUST_USE int process_fill_standard(void);

#endif
