/* SPDX-License-Identifier: MIT */
/*
 * server.h - the loop, and what hangs on it
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "daemon/backing.h"
#include "daemon/core.h"
#include "daemon/files.h"
#include "daemon/ledgers.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/reaper.h"
#include "daemon/reply.h"
#include "daemon/scrub.h"
#include "daemon/session.h"
#include "daemon/tether.h"
#include "proto/attributes.h"
#include "proto/frame.h"

struct server {
    const struct options *options;
    uv_loop_t loop;
    struct files *files; /* of which nothing is left but the segment when it serves */
    struct listener listener;
    struct tether tether;
    struct reaper reaper;
    struct backing backing;
    struct scrub scrub;
    struct ledgers ledgers;
    struct core core;
    uv_idle_t idle;      /* runs while there is work that nobody's bytes will trigger */
    uv_timer_t clock;    /* runs while there are clients: they read the time */
    uv_check_t turn;     /* once in each turn of the loop */
    uv_timer_t quiet;    /* runs while something came back that is to be cleared soon */
    uint32_t n_accepted; /* in this turn */
    bool accept_waits;   /* a connection is left for the next turn */
    bool scrubs;
    bool ending;
    int segment_fd;
    int state_fd;
    void *state_base;
    uint64_t state_bytes;
    struct session *sessions;
    uint32_t n_sessions;
    uint32_t sessions_limit;
    struct session **session_of; /* by client's slot */
    struct session *pending_first;
    struct session *pending_last;
    struct reply *reply;             /* one for all: it is sent before the next is made */
    struct arena arena;              /* for the request in hand */
    unsigned char *frame;            /* for the response in hand */
    struct log_limit refusals_limit; /* of log lines that strangers cause */
};

/**
 * server_run() - serve until the keeper says that it is enough, or ends
 * @files:          segment, state, clock, listener and control, and those of clients
 * @clients_limit:  how many clients the descriptors suffice for
 * Return: the process's exit status.
 */
KMEM_MUST_USE int server_run(const struct options *options, struct files *files,
                             uint32_t clients_limit);

/**
 * server_check() - whether this program could go on with files->state_fd; tells files->check_fd
 * Return: the process's exit status.
 */
KMEM_MUST_USE int server_check(const struct options *options, const struct files *files);

/** server_now() - the time, for the core */
struct now server_now(void);

/**
 * server_joined() - a session's peer has become a client: watch its process, hand its files over
 *
 * A session whose client can not be served is closed. Return: 0, or a negative errno if its files
 * can not be handed over just now.
 */
KMEM_MUST_USE int server_joined(struct server *server, struct session *session);

/** server_wait() - call session_step() when there is nothing more urgent */
void server_wait(struct server *server, struct session *session);

/** server_work() - blocks of ended clients are to be taken back */
void server_work(struct server *server);

/** server_forget() - a session is closing */
void server_forget(struct server *server, struct session *session);

#endif
