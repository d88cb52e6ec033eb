/* SPDX-License-Identifier: MIT */
/*
 * server.h - the loop, and what hangs on it
 */
#ifndef DAEMON_SERVER_SERVER_H
#define DAEMON_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "daemon/core/core.h"
#include "daemon/server/descriptors.h"
#include "daemon/inherited_fds.h"
#include "daemon/server/client_files.h"
#include "daemon/server/listener.h"
#include "daemon/log.h"
#include "daemon/server/obituary_log.h"
#include "daemon/options.h"
#include "daemon/server/pidfd_watch.h"
#include "daemon/core/reply.h"
#include "daemon/server/scrub.h"
#include "daemon/server/session.h"
#include "daemon/server/keeper_link.h"
#include "daemon/core/users.h"
#include "daemon/server/ways.h"
#include "proto/attributes.h"
#include "proto/frame.h"

struct server {
    const struct options *options;
    uv_loop_t loop;
    struct inherited_fds *files; /* of which nothing is left but the segment when it serves */
    struct listener listener;
    struct keeper_link keeper_link;
    struct pidfd_watch pidfds;
    struct ways ways;
    struct scrub scrub;
    struct ledgers ledgers;
    struct core core;
    struct users users; /* and the line in which sessions wait for their turn */
    uint64_t n_turns;   /* of the loop */
    uv_idle_t idle;     /* runs while there is work that no peer's bytes will trigger */
    uv_timer_t clock;   /* runs while there are clients: they read the time */
    uv_check_t turn;    /* once in each turn of the loop */
    uv_timer_t quiet;   /* runs while something came back that is to be cleared soon */
    bool has_worked;    /* since it was idle last */
    bool scrubs;
    bool ending;
    int segment_fd;
    int state_fd;
    void *state_base;
    uint64_t state_bytes;
    struct session *sessions;
    uint32_t n_sessions;
    struct session **session_of; /* by client's slot */
    struct reply *reply;         /* one for all: it is sent before the next is made */
    struct arena arena;          /* for the request in hand */
    unsigned char *frame;        /* for the response in hand */
    struct obituary_log obituary_log;
    struct log_limit refusals_limit; /* of log lines that peers cause */
    struct log_limit faults_limit;   /* of those that tell what the system did not give a peer */
};

/**
 * server_run() - serve until the keeper says that it is enough, or ends
 * @files:          segment, state, clock, listener and control, and those of clients
 * @descriptors:    how many clients and connections there may be
 * Return: the process's exit status.
 */
KMEM_MUST_USE int server_run(const struct options *options, struct inherited_fds *files,
                             const struct descriptors *descriptors);

/**
 * server_check() - whether this program could go on with files->state_fd; tells files->check_fd
 * Return: the process's exit status.
 */
KMEM_MUST_USE int server_check(const struct options *options, const struct inherited_fds *files);

/** server_now() - the time, for the core */
struct now server_now(void);

/**
 * server_joined() - a session's peer has become a client: watch its process, hand its files over
 *
 * Return: 0, or a negative errno if its files can not be made or handed over just now.
 */
KMEM_MUST_USE int server_joined(struct server *server, struct session *session);

/** server_ready() - call session_turn() when it is the session's turn: users.h */
void server_ready(struct server *server, struct session *session);

/** server_serve() - sessions get their turns, as long as this turn of the loop may take */
void server_serve(struct server *server);

/** server_work() - there is something to do that no peer's bytes will trigger */
void server_work(struct server *server);

/** server_forget() - a session is closing */
void server_forget(struct server *server, struct session *session);

#endif
