/* SPDX-License-Identifier: MIT */
/*
 * config_print.h - the options as a configuration file that gives the same options
 */
#ifndef DAEMON_CONFIG_PRINT_H
#define DAEMON_CONFIG_PRINT_H

#include <stdio.h>

#include "daemon/options.h"
#include "daemon/origins.h"

/** config_print() - all settings, each with where it comes from */
void config_print(FILE *file, const struct options *options, const struct origins *origins);

/** config_print_fixed() - those that stay as they are until a restart, and are in no file */
void config_print_fixed(FILE *file, const struct options *options);

#endif
