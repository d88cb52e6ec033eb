/* SPDX-License-Identifier: MIT */
/*
 * ledger - what the live blocks are for, rolled up
 */
#ifndef CTL_LEDGER_H
#define CTL_LEDGER_H

#include "client/ctl/command.h"

extern const struct argp_option ledger_options[];

/** ledger_show() - a command_show_fn */
int ledger_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);

#endif
