/* SPDX-License-Identifier: MIT */
/*
 * run - a program on a segment of its own
 */
#ifndef CTL_RUN_H
#define CTL_RUN_H

#include "client/ctl/options.h"

/** run_main() - a command_main_fn. Return: the program's exit status, or an enum status. */
int run_main(int argc, char **argv, const struct options *before);

#endif
