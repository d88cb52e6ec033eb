/* SPDX-License-Identifier: MIT */
/*
 * reload.h - the configuration, read anew while clients are served
 *
 * The keeper has the new one before anything is applied: a server that is killed after that is
 * followed by one with the new settings, one that is killed before by one with the old ones.
 */
#ifndef DAEMON_SERVER_RELOAD_H
#define DAEMON_SERVER_RELOAD_H

#include "daemon/config.h"
#include "daemon/core/reply.h"
#include "daemon/options.h"
#include "daemon/server/keeper_link.h"
#include "daemon/server/sizing.h"

/* What the server was started with. */
struct reload_source {
    struct options *options; /* in force */
    struct config *config;   /* where they come from */
    int argc;
    char **argv;
};

struct reload {
    const struct reload_source *source; /* NULL: nothing can be read anew */
    const struct keeper_link *keeper_link;
    struct sizing *sizing;
    void (*apply)(void *user); /* the options in force are others now */
    void *user;
};

/** reload_answer() - core_config.reload, of a struct reload: do it, and say what has changed */
void reload_answer(struct reply *reply, void *user);

#endif
