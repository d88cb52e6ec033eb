/* SPDX-License-Identifier: MIT */
/*
 * takeover.h - how a server comes by its core: it begins an empty one, or goes on with the last's
 */
#ifndef DAEMON_SERVER_TAKEOVER_H
#define DAEMON_SERVER_TAKEOVER_H

#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/inherited_fds.h"
#include "daemon/options.h"
#include "daemon/server/client_files.h"
#include "daemon/server/keeper_link.h"
#include "daemon/server/pidfd_watch.h"
#include "daemon/server/ways.h"
#include "proto/attributes.h"

/* The first five are the server's; clients' files go from the first to the others. */
struct takeover {
    struct inherited_fds *files;
    struct client_files *ledgers;
    struct keeper_link *keeper_link;
    struct ways *ways;
    struct pidfd_watch *pidfds;
    void *state_base; /* the mapping of the state, in which the core lives; NULL: none */
    uint64_t state_bytes;
};

/**
 * takeover_core() - map the state, and make the server's core of it
 * @ret_core:  written on success
 *
 * Waits until the last server is really gone. Return: 0, or the process's exit status: EXIT_STATE
 * if the state does not fit or does not add up; logged.
 */
KMEM_MUST_USE int takeover_core(struct takeover *takeover, const struct core_config *config,
                                struct core *ret_core);

/** takeover_watch() - watch the clients that were taken over end. Return: likewise. */
KMEM_MUST_USE int takeover_watch(struct takeover *takeover, const struct core *core);

/** takeover_fini() - unmap the state; the core has ended */
void takeover_fini(struct takeover *takeover);

/**
 * takeover_check() - whether this program could go on with files->state_fd; tells files->check_fd
 * Return: the process's exit status.
 */
KMEM_MUST_USE int takeover_check(const struct options *options, const struct inherited_fds *files);

#endif
