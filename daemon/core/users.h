/* SPDX-License-Identifier: MIT */
/*
 * users.h - whose connections there are, how many each user may have, and whose turn it is
 *
 * A connection is charged to the process at its other end and to that process's user, in
 * descriptors of the server:
 *
 *      arriving    4: socket, pidfd, and the ledger and way back that a member gets
 *      observer    1: socket
 *      client's    0: the client is charged, see below
 *
 * A client is charged 4 (socket, pidfd, ledger, way back) from its Hello until its last block is
 * back, whether it has a connection or not. So no client's place is taken while it is away:
 *
 *      4 * clients + charged <= limits.n_descriptors
 *      charged: 1 or 4 for each connection that is no client's           : users_check()
 *
 * One that has not said Hello yet is pending, HELLO_TIMEOUT_MS at most, and counts apart: a flood
 * of those takes no place that others need. What a peer has not read, and its socket did not take,
 * is queued, an answer at most for each connection: it counts for the user in bytes.
 *
 *      a user's n_pending, queued_bytes == the sums over its charges; those of all likewise
 *                                                                          : users_check()
 *
 * The administrator (root, and the daemon's own user) is exempt from the limits on one user, and
 * the last ADMIN_DESCRIPTORS are for it alone. What counts against one user or one process are
 * connections that are no client's: a client has one, and the number of clients is limited itself.
 */
#ifndef DAEMON_CORE_USERS_H
#define DAEMON_CORE_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/clients.h"
#include "daemon/core/fair.h"
#include "proto/attributes.h"

/* Descriptors of a client, and of a connection that may become one's. */
#define CLIENT_DESCRIPTORS 4
/* 32: eight connections at a time that are about to say Hello; kmemctl needs one of them. */
#define ADMIN_DESCRIPTORS 32
/* 128: a process needs one, and one for each thread that asks. More are those of another. */
#define PROCESS_CONNECTIONS_MAX 128

struct users_limits {
    uint32_t n_descriptors; /* for clients and connections */
    uint32_t n_connections; /* of one user */
    uint32_t n_pending;     /* of all, but the first of each user; these four: 0: no limit */
    uint32_t n_pending_of_user;
    uint64_t queued_bytes;
    uint64_t queued_bytes_of_user;
};

struct user {
    struct fair fair;
    struct user *next;
    uint32_t uid;
    uint32_t n_processes;
    uint32_t n_connections; /* that are no client's */
    uint32_t n_pending;     /* of those, without Hello */
    uint64_t queued_bytes;
};

struct process {
    struct fair fair;
    struct user *user;
    struct process *next; /* in its bucket */
    uint32_t pid;
    uint32_t n_charges;     /* all connections */
    uint32_t n_connections; /* that are no client's */
};

struct session;

/* What a connection costs, and its place in the line. */
struct charge {
    struct fair fair;        /* first: the line hands it back */
    struct session *session; /* the caller's; nothing here looks at it */
    struct process *process; /* NULL: nothing is charged */
    uint32_t n_descriptors;
    bool is_pending;
    bool is_admin;
    uint32_t queued_bytes;
};

/* 1,024: a process in each, when there are as many as a quarter of all clients. */
#define PROCESS_BUCKETS 1024

struct users {
    struct users_limits limits;
    struct fair line;
    struct user *first;
    struct process *processes[PROCESS_BUCKETS];
    uint32_t n_charged; /* descriptors */
    uint32_t n_pending;
    uint64_t queued_bytes;
};

enum {
    USERS_OK,
    USERS_E_FULL,         /* there are as many connections as there are descriptors */
    USERS_E_USER,         /* the user has as many as one may have */
    USERS_E_PROCESS,      /* the process has */
    USERS_E_PENDING,      /* there are as many without Hello as there may be */
    USERS_E_USER_PENDING, /* the user has as many of those as one may have */
    USERS_E_QUEUED,       /* users_queue(): as much waits to be read as may */
    USERS_E_USER_QUEUED,  /* likewise, of the user's */
    USERS_E_CORRUPT,      /* users_check() */
};

void users_init(struct users *users, const struct users_limits *limits);

/** users_fini() - asserts that nothing is charged any more */
void users_fini(struct users *users);

/* A connection that has come. */
struct arrival {
    uint32_t pid;
    uint32_t uid;
    bool is_admin;
    bool is_back;       /* it comes to a client by its way back: its place is surely its own */
    bool is_client;     /* its process is a client without a connection: its place is its own */
    uint32_t n_clients; /* that there are, the ended ones included */
};

/**
 * users_charge() - a connection has come: may it stay?
 * @charge:  of which the session is set; the rest is filled in, unless it is refused
 * Return: 0, USERS_E_FULL, _USER, _PROCESS, _PENDING, _USER_PENDING, or -ENOMEM.
 */
KMEM_MUST_USE int users_charge(struct users *users, const struct arrival *arrival,
                               struct charge *charge);

/** users_charge_observer() - it asks, and will not be a client's: it costs less */
void users_charge_observer(struct users *users, struct charge *charge);

/** users_charge_client() - it is a client's now, which is charged itself */
void users_charge_client(struct users *users, struct charge *charge);

/**
 * users_queue() - some bytes of an answer wait until its peer reads; none did
 * Return: 0, USERS_E_QUEUED or USERS_E_USER_QUEUED: they may not.
 */
KMEM_MUST_USE int users_queue(struct users *users, struct charge *charge, uint32_t n_bytes);

/** users_unqueue() - they wait no more */
void users_unqueue(struct users *users, struct charge *charge);

/** users_discharge() - it has ended, or was refused; it waits no more */
void users_discharge(struct users *users, struct charge *charge);

/** users_check() - recount. Return: 0 or USERS_E_CORRUPT. */
KMEM_MUST_USE int users_check(const struct users *users);

#endif
