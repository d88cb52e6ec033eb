/* SPDX-License-Identifier: MIT */
/*
 * fault_filter.h - let a supervisor decide about this process's system calls, and its children's
 */
#ifndef TESTS_SYSTEM_FAULT_FILTER_H
#define TESTS_SYSTEM_FAULT_FILTER_H

/**
 * fault_filter_enter() - install the filter, and send the supervisor its descriptor
 * @line_fd:  a socket to the supervisor; moved away and left to the end, close-on-exec
 *
 * Return: 0, or -1 and errno: the kernel, or a container, has no such filter.
 */
int fault_filter_enter(int line_fd);

#endif
