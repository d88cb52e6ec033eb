/* SPDX-License-Identifier: MIT */
/*
 * signals.h - the signals that are for the keeper, as something to read
 */
#ifndef DAEMON_SIGNALS_H
#define DAEMON_SIGNALS_H

#include "proto/attributes.h"

/** signals_open() - those, and SIGCHLD. Return: a signalfd, or a negative errno. */
KMEM_MUST_USE int signals_open(void);

/** signals_take() - the next that has come. Return: its number; 0: none. */
int signals_take(int signal_fd);

#endif
