/* SPDX-License-Identifier: MIT */
/*
 * obituaries - who has ended, and what they never released
 */
#ifndef CTL_OBITUARIES_H
#define CTL_OBITUARIES_H

#include "client/ctl/command.h"

/** obituaries_show() - a command_show_fn */
int obituaries_show(struct kmem_query *query, const struct options *options,
                    const struct screen *screen);

#endif
