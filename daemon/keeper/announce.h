/* SPDX-License-Identifier: MIT */
/*
 * announce.h - the keeper's words for those who started it: on stdout, in the log, to a manager
 */
#ifndef DAEMON_KEEPER_ANNOUNCE_H
#define DAEMON_KEEPER_ANNOUNCE_H

#include "daemon/options.h"

/** announce_ready() - clients are served; once in a keeper's life */
void announce_ready(const struct options *options);

/** announce_options() - SIGHUP: what of the options can not be applied by another program */
void announce_options(const struct options *options);

/** announce_safe_mode() - no server is started any more */
void announce_safe_mode(const char *why, const char *exe_path);

/** announce_last_end() - the daemon ends, with a server that ended so; nothing if it did well */
void announce_last_end(int status);

#endif
