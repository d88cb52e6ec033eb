/* SPDX-License-Identifier: MIT */
/*
 * process.h - whether a process has ended
 */
#ifndef CTL_PROCESS_H
#define CTL_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * process_has_ended() - wait for a process to end, whoever's it is
 *
 * One that nobody has reaped yet has ended. The pid must not have been given to another process.
 * Return: whether it has, within timeout_ms; 0 does not wait. If that can not be found out, false.
 */
bool process_has_ended(pid_t pid, int timeout_ms);

#endif
