/* SPDX-License-Identifier: MIT */
#include "daemon/core/users.h"

#include <errno.h>
#include <stdlib.h>

void users_init(struct users *users, const struct users_limits *limits)
{
    *users = (struct users){.limits = *limits};
    fair_init(&users->line, NULL);
}

void users_fini(struct users *users)
{
    KMEM_ASSERT(users->first == NULL);
    KMEM_ASSERT(users->n_charged == 0);
    KMEM_ASSERT(users->n_pending == 0);
    KMEM_ASSERT(users->queued_bytes == 0);
}

/* ---------------------------------------------------------------------- users, processes ---- */

static struct user *user_find(const struct users *users, uint32_t uid)
{
    struct user *user = users->first;
    while (user && user->uid != uid) {
        user = user->next;
    }
    return user;
}

static struct user *user_new(struct users *users, uint32_t uid)
{
    struct user *user = calloc(1, sizeof(*user));
    if (user) {
        user->uid = uid;
        fair_init(&user->fair, &users->line);
        user->next = users->first;
        users->first = user;
    }
    return user;
}

/* Of a user without processes. */
static void user_free(struct users *users, struct user *user)
{
    struct user **place = &users->first;
    KMEM_ASSERT(user->n_processes == 0);
    KMEM_ASSERT(user->n_connections == 0);
    while (*place != user) {
        place = &(*place)->next;
    }
    *place = user->next;
    free(user);
}

static struct process **process_bucket(struct users *users, uint32_t pid)
{
    return &users->processes[pid % PROCESS_BUCKETS];
}

/* A pid that is another user's now is another process. */
static struct process *process_find(struct users *users, uint32_t pid, uint32_t uid)
{
    struct process *process = *process_bucket(users, pid);
    while (process && (process->pid != pid || process->user->uid != uid)) {
        process = process->next;
    }
    return process;
}

static struct process *process_new(struct users *users, uint32_t pid, uint32_t uid)
{
    struct user *user = user_find(users, uid);
    struct process *process = calloc(1, sizeof(*process));
    if (process && !user) {
        user = user_new(users, uid);
    }
    if (!process || !user) {
        free(process);
        return NULL;
    }
    struct process **bucket = process_bucket(users, pid);
    process->pid = pid;
    process->user = user;
    user->n_processes++;
    fair_init(&process->fair, &user->fair);
    process->next = *bucket;
    *bucket = process;
    return process;
}

/* Of a process without connections. */
static void process_free(struct users *users, struct process *process)
{
    struct process **place = process_bucket(users, process->pid);
    struct user *user = process->user;
    KMEM_ASSERT(process->n_connections == 0);
    while (*place != process) {
        place = &(*place)->next;
    }
    *place = process->next;
    free(process);
    user->n_processes--;
    if (user->n_processes == 0) {
        user_free(users, user);
    }
}

/* ----------------------------------------------------------------------------- charges ---- */

/* A user's first is always one that may wait: however many others there are, each user gets in. */
static int pending_check(const struct users *users, const struct user *user)
{
    const struct users_limits *limits = &users->limits;
    if (!user || user->n_pending == 0) {
        return 0;
    }
    if (limits->n_pending_of_user > 0 && user->n_pending >= limits->n_pending_of_user) {
        return USERS_E_USER_PENDING;
    }
    return limits->n_pending > 0 && users->n_pending >= limits->n_pending ? USERS_E_PENDING : 0;
}

static int arrival_check(const struct users *users, const struct arrival *arrival,
                         const struct user *user, const struct process *process)
{
    const uint64_t n_used = (uint64_t)CLIENT_DESCRIPTORS * arrival->n_clients + users->n_charged;
    const uint64_t n_reserved = arrival->is_admin ? 0 : ADMIN_DESCRIPTORS;
    if (process && process->n_connections >= PROCESS_CONNECTIONS_MAX) {
        return USERS_E_PROCESS;
    }
    if (!arrival->is_admin && user && user->n_connections >= users->limits.n_connections) {
        return USERS_E_USER;
    }
    if (n_used + CLIENT_DESCRIPTORS + n_reserved > users->limits.n_descriptors) {
        return USERS_E_FULL;
    }
    return arrival->is_admin ? 0 : pending_check(users, user);
}

int users_charge(struct users *users, const struct arrival *arrival, struct charge *charge)
{
    struct process *process = process_find(users, arrival->pid, arrival->uid);
    const bool is_paid = arrival->is_back || (arrival->is_client && !process);
    const int r =
        is_paid ? 0 : arrival_check(users, arrival, user_find(users, arrival->uid), process);
    if (r) {
        return r;
    }
    process = process ? process : process_new(users, arrival->pid, arrival->uid);
    if (!process) {
        return -ENOMEM;
    }
    *charge = (struct charge){
        .session = charge->session,
        .process = process,
        .is_admin = arrival->is_admin,
    };
    fair_init(&charge->fair, &process->fair);
    process->n_charges++;
    if (!is_paid) {
        charge->n_descriptors = CLIENT_DESCRIPTORS;
        process->n_connections++;
        process->user->n_connections++;
        users->n_charged += CLIENT_DESCRIPTORS;
        charge->is_pending = true;
        process->user->n_pending++;
        users->n_pending++;
    }
    return 0;
}

static void charge_greet(struct users *users, struct charge *charge)
{
    if (charge->is_pending) {
        charge->is_pending = false;
        charge->process->user->n_pending--;
        users->n_pending--;
    }
}

static int queue_check(const struct users *users, const struct charge *charge, uint32_t n_bytes)
{
    const struct users_limits *limits = &users->limits;
    const struct user *user = charge->process->user;
    if (charge->is_admin) {
        return 0;
    }
    if (limits->queued_bytes_of_user > 0 &&
        user->queued_bytes + n_bytes > limits->queued_bytes_of_user) {
        return USERS_E_USER_QUEUED;
    }
    return limits->queued_bytes > 0 && users->queued_bytes + n_bytes > limits->queued_bytes
               ? USERS_E_QUEUED
               : 0;
}

int users_queue(struct users *users, struct charge *charge, uint32_t n_bytes)
{
    KMEM_ASSERT(charge->queued_bytes == 0);
    if (!charge->process) {
        return 0; /* it is being refused, and ends with this */
    }
    const int r = queue_check(users, charge, n_bytes);
    if (r == 0) {
        charge->queued_bytes = n_bytes;
        charge->process->user->queued_bytes += n_bytes;
        users->queued_bytes += n_bytes;
    }
    return r;
}

void users_unqueue(struct users *users, struct charge *charge)
{
    if (charge->queued_bytes > 0) {
        charge->process->user->queued_bytes -= charge->queued_bytes;
        users->queued_bytes -= charge->queued_bytes;
        charge->queued_bytes = 0;
    }
}

static void charge_set(struct users *users, struct charge *charge, uint32_t n_descriptors)
{
    KMEM_ASSERT(charge->n_descriptors >= n_descriptors);
    users->n_charged -= charge->n_descriptors - n_descriptors;
    charge->n_descriptors = n_descriptors;
}

void users_charge_observer(struct users *users, struct charge *charge)
{
    charge_greet(users, charge);
    if (charge->n_descriptors > 0) {
        charge_set(users, charge, 1);
    }
}

void users_charge_client(struct users *users, struct charge *charge)
{
    charge_greet(users, charge);
    if (charge->n_descriptors > 0) {
        charge_set(users, charge, 0);
        charge->process->n_connections--;
        charge->process->user->n_connections--;
    }
}

void users_discharge(struct users *users, struct charge *charge)
{
    struct process *process = charge->process;
    if (!process) {
        return;
    }
    users_unqueue(users, charge);
    users_charge_client(users, charge);
    fair_remove(&charge->fair);
    charge->process = NULL;
    process->n_charges--;
    if (process->n_charges == 0) {
        process_free(users, process);
    }
}

static bool user_is_sound(const struct users *users, const struct user *user)
{
    uint32_t n_processes = 0;
    uint32_t n_connections = 0;
    for (uint32_t i = 0; i < PROCESS_BUCKETS; i++) {
        const struct process *process = users->processes[i];
        for (; process; process = process->next) {
            n_processes += process->user == user;
            n_connections += process->user == user ? process->n_connections : 0;
        }
    }
    return n_processes > 0 && n_processes == user->n_processes &&
           n_connections == user->n_connections;
}

int users_check(const struct users *users)
{
    uint64_t n_connections = 0;
    uint64_t n_pending = 0;
    uint64_t queued_bytes = 0;
    for (const struct user *user = users->first; user; user = user->next) {
        if (!user_is_sound(users, user) || user->n_pending > user->n_connections) {
            return USERS_E_CORRUPT;
        }
        n_connections += user->n_connections;
        n_pending += user->n_pending;
        queued_bytes += user->queued_bytes;
    }
    if (n_pending != users->n_pending || queued_bytes != users->queued_bytes) {
        return USERS_E_CORRUPT;
    }
    /* Each costs one at least, and what an arriving one costs at most. */
    return n_connections <= users->n_charged &&
                   users->n_charged <= n_connections * CLIENT_DESCRIPTORS
               ? 0
               : USERS_E_CORRUPT;
}
