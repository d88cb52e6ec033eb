/* SPDX-License-Identifier: MIT */
/*
 * show.h - kmemd --check and --dump-config: what a daemon would be started with
 */
#ifndef DAEMON_SHOW_H
#define DAEMON_SHOW_H

#include "proto/attributes.h"

/** show_main() - instead of serving. Return: the exit status, EXIT_USAGE if something is wrong. */
KMEM_MUST_USE int show_main(int argc, char **argv);

#endif
