/* SPDX-License-Identifier: MIT */
/*
 * usage - how full the segment is
 */
#ifndef CTL_USAGE_H
#define CTL_USAGE_H

#include "client/ctl/command.h"

extern const struct argp_option usage_options[];

/** usage_show() - a command_show_fn */
int usage_show(struct kmem_query *query, const struct options *options,
               const struct screen *screen);

#endif
