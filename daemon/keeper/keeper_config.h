/* SPDX-License-Identifier: MIT */
/*
 * keeper_config.h - the configuration that is in force, as the keeper holds it
 *
 * One that is read anew takes three steps, so that what does not work changes nothing:
 *
 *      read     by the keeper, for SIGHUP; the program that is to take over is asked what it thinks
 *      offered  the server that is made of it starts with it
 *      kept     that server is ready; else what was in force before is again
 *
 * One that a server has read, for `kmemctl reload`, is in force at once.
 */
#ifndef DAEMON_KEEPER_KEEPER_CONFIG_H
#define DAEMON_KEEPER_KEEPER_CONFIG_H

#include <stdbool.h>

#include "daemon/options.h"
#include "proto/attributes.h"

struct keeper_config {
    struct options *options; /* the keeper's own; borrowed */
    int argc;
    char **argv;    /* borrowed */
    int *config_fd; /* what is in force: the next server is handed it */
    int read_fd;    /* read, and not offered yet; -1: none */
    int former_fd;  /* in force before what is offered; -1: nothing is */
};

/** keeper_config_init() - what was read at the start is in *config_fd */
void keeper_config_init(struct keeper_config *config, struct options *options, char **argv,
                        int *config_fd);

/** keeper_config_read() - read the files anew. Return: whether it went well; else it is logged. */
KMEM_MUST_USE bool keeper_config_read(struct keeper_config *config);

/** keeper_config_drop() - what was read is not wanted */
void keeper_config_drop(struct keeper_config *config);

/** keeper_config_offer() - the next server starts with what was read */
void keeper_config_offer(struct keeper_config *config);

/** keeper_config_keep() - it is ready: the keeper's own settings follow, and changes are logged */
void keeper_config_keep(struct keeper_config *config);

/** keeper_config_undo() - it is not: what was in force is again */
void keeper_config_undo(struct keeper_config *config);

/** keeper_config_accept() - a server has applied this one; the descriptor is the keeper's */
void keeper_config_accept(struct keeper_config *config, int fd);

#endif
