/* SPDX-License-Identifier: MIT */
/*
 * server.h - the loop, and what hangs on it
 */
#ifndef DAEMON_SERVER_SERVER_H
#define DAEMON_SERVER_SERVER_H

#include <stdbool.h>

#include <uv.h>

#include "daemon/server/admission.h"
#include "daemon/server/bells.h"
#include "daemon/server/clock.h"
#include "daemon/server/descriptors.h"
#include "daemon/server/obituary_log.h"
#include "daemon/server/reconnect.h"
#include "daemon/server/reload.h"
#include "daemon/server/scrub.h"
#include "daemon/server/session_host.h"
#include "daemon/server/sizing.h"
#include "daemon/server/takeover.h"
#include "proto/attributes.h"

/* None of its parts knows the server: it tells each of them which others to ask. */
/* So many tags are asked of the kernel at once: 256 bytes, which it never gives in part. */
#define SERVER_RANDOM_MAX 32

struct server {
    const struct options *options;
    struct inherited_fds *files; /* of which nothing is left but the segment when it serves */
    uv_loop_t loop;
    struct listener listener;
    struct keeper_link keeper_link;
    struct pidfd_watch pidfds;
    struct ways ways;
    struct client_files ledgers;
    struct bells bells;
    uint64_t random[SERVER_RANDOM_MAX];
    uint32_t n_random; /* how many of them are left */
    struct core core;
    struct users users;
    struct session_host host;
    struct roles roles;
    struct admission admission;
    struct reconnect reconnect;
    struct takeover takeover;
    struct reload reload;
    struct scrub scrub;
    struct sizing sizing;
    struct obituary_log obituary_log;
    uv_idle_t idle; /* runs while there is work that no peer's bytes will trigger */
    struct clock clock;
    uv_check_t turn;    /* once in each turn of the loop */
    struct alarm quiet; /* runs while something came back that is to be cleared soon */
    bool scrubs;
    bool ending;
    struct log_limit faults_limit; /* of lines that tell what the system did not give a peer */
};

/**
 * server_run() - serve until the keeper says that it is enough, or ends
 * @files:          segment, state, clock, listener and control, and those of clients
 * @descriptors:    how many clients and connections there may be
 * @source:         what the options come from; NULL: they stay as they are
 * Return: the process's exit status.
 */
KMEM_MUST_USE int server_run(const struct options *options, struct inherited_fds *files,
                             const struct descriptors *descriptors,
                             const struct reload_source *source);

/** server_wire() - tell the parts of a server, of which options and files are set, of each other */
void server_wire(struct server *server);

/** server_serve() - sessions get their turns, as long as this turn of the loop may take */
void server_serve(struct server *server);

/** server_work() - there is something to do that no peer's bytes will trigger */
void server_work(struct server *server);

#endif
