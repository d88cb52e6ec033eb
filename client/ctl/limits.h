/* SPDX-License-Identifier: MIT */
/*
 * limits.h - how near a limit is
 */
#ifndef CTL_LIMITS_H
#define CTL_LIMITS_H

#include <kmem/query.h>

#include "client/ctl/rows.h"

/* In this order, what is to be worried about comes last. */
enum limit_state {
    LIMIT_NONE,    /* there is no limit */
    LIMIT_ROTATES, /* of what is remembered: the oldest makes room */
    LIMIT_OK,
    LIMIT_NEAR, /* LIMIT_NEAR_PERCENT or more are in use */
    LIMIT_FULL, /* the next one is refused */
};

/* 80: time to look before something is refused; a steady half-full system stays quiet. */
#define LIMIT_NEAR_PERCENT 80

/** limits_keep() - ask, and keep rows that are as limits_shape() says. Return: 0 or -errno. */
KMEM_MUST_USE int limits_keep(struct kmem_query *query, struct rows *rows);

/** limit_state() - how near it is */
enum limit_state limit_state(const struct kmem_limit *limit);

/** limit_percent() - what of it is in use; 0 if there is no limit */
double limit_percent(const struct kmem_limit *limit);

#endif
