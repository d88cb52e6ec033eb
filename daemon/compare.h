/* SPDX-License-Identifier: MIT */
/*
 * compare.h - kmemd --compare: what a running daemon would have to be restarted for
 */
#ifndef DAEMON_COMPARE_H
#define DAEMON_COMPARE_H

#include "daemon/options.h"
#include "proto/attributes.h"

/** compare_options() - a line in the log for each that differs. Return: how many there are. */
unsigned compare_options(const struct options *wanted, const struct options *running);

/**
 * compare_main() - the same, with the command line of process wanted->compare_pid
 *
 * Both have the configuration files as they are now: what is other in these since it was started a
 * reload applies, or says why not.
 * Return: the exit status: 0, or EXIT_SYSTEM if that can not be read. */
KMEM_MUST_USE int compare_main(const struct options *wanted);

#endif
