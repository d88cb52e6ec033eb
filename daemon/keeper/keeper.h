/* SPDX-License-Identifier: MIT */
/*
 * keeper.h - the process that was started: it holds the files and sees to it that a server runs
 *
 * It maps nothing, parses nothing that a client says, and uses no loop but poll(): the less it
 * does, the less there is that can end it. If it ends all the same, so does its server.
 */
#ifndef DAEMON_KEEPER_KEEPER_H
#define DAEMON_KEEPER_KEEPER_H

#include <stdbool.h>

#include "daemon/inherited_fds.h"
#include "daemon/keeper/socket_path.h"
#include "daemon/options.h"
#include "proto/attributes.h"

/**
 * keeper_run() - keep a server running until a signal ends it
 * @options:    a configuration that is read anew changes them
 * @argv:       what the server is started with
 * @files:      segment, state, clock and listener at least; the keeper's from now on
 * @path:       of the socket, held; released at the end
 * @is_kept:    another keeper had the files: clients may have something in the segment
 * @signal_fd:  of signals_open()
 *
 * Where a service manager has an fd store the segment is left to it, else it ends. Return: the
 * process's exit status: 0 after a signal, however the server ended.
 */
KMEM_MUST_USE int keeper_run(struct options *options, char **argv, struct inherited_fds *files,
                             struct socket_path *path, bool is_kept, int signal_fd);

#endif
