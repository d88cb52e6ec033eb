/* SPDX-License-Identifier: MIT */
/*
 * session_host.h - what sessions may ask of the server: all that they have in common
 *
 * A session reads and writes what is here, and calls the two functions. It knows nothing else of
 * the server; a test puts a host together by hand.
 */
#ifndef DAEMON_SERVER_SESSION_HOST_H
#define DAEMON_SERVER_SESSION_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "daemon/core/core.h"
#include "daemon/core/reply.h"
#include "daemon/core/users.h"
#include "daemon/log.h"
#include "daemon/server/client_files.h"
#include "proto/attributes.h"
#include "proto/frame.h"

struct session;

/* 5 lines a second: enough to see that it happens, too few to fill a disk. */
#define REFUSALS_LOGGED_A_SECOND 5

/**
 * session_joined_fn - a session's peer has become a client: watch its process, hand its files over
 * Return: 0, or a negative errno if its files can not be made or handed over just now.
 */
typedef int (*session_joined_fn)(struct session *session, void *user);

/* There is something to do that no peer's bytes will trigger: do not wait for them. */
typedef void (*session_work_fn)(void *user);

struct session_host {
    uv_loop_t *loop;
    struct core *core;
    struct users *users;          /* and the line in which sessions wait for their turn */
    struct client_files *ledgers; /* with the segment, what a Welcome hands over */
    int segment_fd;
    int reader_fd; /* the same file, opened for reading only */
    session_joined_fn joined;
    session_work_fn work;
    void *user;
    struct session *sessions;
    uint32_t n_sessions;
    struct session **session_of;     /* by client's slot */
    uint64_t n_turns;                /* of the loop */
    bool has_worked;                 /* in steps, since the loop was idle last */
    struct reply *reply;             /* one for all: it is sent before the next is made */
    struct arena arena;              /* for the current request */
    unsigned char *frame;            /* for its response */
    struct log_limit refusals_limit; /* of log lines that peers cause */
};

/**
 * session_host_init() - take memory for requests and responses; all else is the caller's to fill in
 * Return: 0 or -ENOMEM; then session_host_fini() is still due.
 */
KMEM_MUST_USE int session_host_init(struct session_host *host);

void session_host_fini(struct session_host *host);

/** session_host_encode() - make a frame of the reply. Return: its length. */
size_t session_host_encode(struct session_host *host);

/**
 * session_host_send() - send the frame, and with it descriptors: libuv sends no plain ones
 * Return: how many bytes the socket took, or a negative errno.
 */
KMEM_MUST_USE ssize_t session_host_send(const struct session_host *host, int socket_fd,
                                        size_t n_bytes, const int *fds, uint32_t n_fds);

/**
 * session_host_welcome() - send the frame to a client, and with it its files
 * @way_fd:  its end of a way back, if it is to have one; else -1
 *
 * What a reader gets is open for reading only, each of it a second open file.
 *
 * Return: as session_host_send(), or why there are no files.
 */
KMEM_MUST_USE ssize_t session_host_welcome(const struct session_host *host, int socket_fd,
                                           size_t n_bytes, const struct client *client, int way_fd);

/**
 * session_host_queue() - some of an answer waits until its peer reads: users_queue()
 * Return: 0; or -EDQUOT, and the log says that the process is cut off.
 */
KMEM_MUST_USE int session_host_queue(struct session_host *host, struct charge *charge, uint32_t pid,
                                     uint32_t n_bytes);

/** session_host_work() - have the loop go on without waiting */
static inline void session_host_work(struct session_host *host)
{
    host->work(host->user);
}

#endif
