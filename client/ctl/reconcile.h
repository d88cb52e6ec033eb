/* SPDX-License-Identifier: MIT */
/*
 * reconcile - whether all figures add up
 */
#ifndef CTL_RECONCILE_H
#define CTL_RECONCILE_H

#include "client/ctl/command.h"

/** reconcile_show() - a command_show_fn */
int reconcile_show(struct kmem_query *query, const struct options *options,
                   const struct screen *screen);

#endif
