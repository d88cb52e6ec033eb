/* SPDX-License-Identifier: MIT */
/*
 * segments.h - which segments there are
 */
#ifndef CTL_SEGMENTS_H
#define CTL_SEGMENTS_H

#include <kmem/query.h>

#include "client/ctl/options.h"

/**
 * segments_open() - connect to the daemon that the options name, or say why not, on stderr
 *
 * And which segments do answer this user, if that may be what was meant.
 * Ownership: the caller's until kmem_query_close(). Return: STATUS_OK or an exit status.
 */
KMEM_MUST_USE int segments_open(const struct options *options, struct kmem_query **ret_query);

#endif
