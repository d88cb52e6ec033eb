/* SPDX-License-Identifier: MIT */
/*
 * clients - who holds how much
 */
#ifndef CTL_CLIENTS_H
#define CTL_CLIENTS_H

#include "client/ctl/command.h"

/** clients_show() - a command_show_fn */
int clients_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen);

#endif
