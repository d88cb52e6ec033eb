/* SPDX-License-Identifier: MIT */
/*
 * in_force.h - what the options come to, with what the system gives
 */
#ifndef DAEMON_SERVER_IN_FORCE_H
#define DAEMON_SERVER_IN_FORCE_H

#include "daemon/backing.h"
#include "daemon/core/core.h"
#include "daemon/core/readers.h"
#include "daemon/core/users.h"
#include "daemon/options.h"

/**
 * in_force_connections() - a user that is not the administrator may have half of what there is, if
 *                          nothing else is said; and half of what all may have pending, which is
 *                          half of the places
 */
struct users_limits in_force_connections(const struct options *options, uint32_t n_descriptors);

/** in_force_collapses() - whether small pages are to become huge ones */
bool in_force_collapses(const struct options *options);

/** in_force_clears() - whether what came back is cleared, or given back, in the background */
bool in_force_clears(const struct options *options);

/** in_force_begin() - what a server begins with; its segment, names and clients_limit are set */
void in_force_begin(const struct options *options, struct core_config *config);

/** in_force_apply() - what can change while clients are served is as the options have it */
void in_force_apply(const struct options *options, struct core *core, struct users *users);

#endif
