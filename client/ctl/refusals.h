/* SPDX-License-Identifier: MIT */
/*
 * refusals.h - what was refused, for more than a listing
 */
#ifndef CTL_REFUSALS_H
#define CTL_REFUSALS_H

#include <kmem/query.h>

#include "client/ctl/rows.h"

/** refusals_keep() - ask, and keep rows that are as refusals_shape() says. Return: 0 or -errno. */
KMEM_MUST_USE int refusals_keep(struct kmem_query *query, struct rows *rows);

#endif
