/* SPDX-License-Identifier: MIT */
/*
 * blocks - every live block, one a row
 */
#ifndef CTL_BLOCKS_H
#define CTL_BLOCKS_H

#include "client/ctl/command.h"

extern const struct argp_option blocks_options[];

/** blocks_show() - a command_show_fn */
int blocks_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);

#endif
