/* SPDX-License-Identifier: MIT */
/*
 * report_limits.c - each limit, and what of it is in use at this moment
 *
 * Who has the most is found by a walk over the clients, and one over the processes that have
 * connections: as many as there are descriptors. No block is looked at.
 */
#include "daemon/core/report.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/users.h"

/* Those of limits.def, 48 at most, and a row for each rule; of a unit's, for each such unit. */
#define LIMITS_MAX (48 + RULES_PARTIES_MAX + UNIT_ROWS_MAX + RULES_BUDGETS_MAX)
/* 64: the units that rules are about; with more, those that come first are told. */
#define UNIT_ROWS_MAX 64
/* "budget " and a pattern. */
#define NAME_BYTES (GLOB_MAX_BYTES + 16)
/* A table of users that is at most half full. */
#define USERS_TABLE (2 * (CLIENTS_MAX < 16 ? 16 : CLIENTS_MAX))

static uint64_t at_most(uint64_t number, uint64_t limit)
{
    return number < limit ? number : limit;
}

/* ---------------------------------------------------------------------------------- clients -- */

/* Who has the most. */
struct most_used {
    uint64_t charged_bytes;
    uint32_t n_clients; /* of one user that is limited */
};

/* Of users, or units, the one that has used the most of what it may have. */
struct most_of_quota {
    uint64_t used;
    uint64_t quota; /* 0: none has a quota; then the one that has the most */
};

static void most_of_quota_add(struct most_of_quota *most, uint64_t used, uint64_t quota)
{
    const double share = quota > 0 ? (double)used / (double)quota : 0;
    const double most_share = most->quota > 0 ? (double)most->used / (double)most->quota : 0;
    if (most->quota == 0 ? quota > 0 || used > most->used : quota > 0 && share > most_share) {
        *most = (struct most_of_quota){used, quota};
    }
}

static struct most_of_quota most_of_users(const struct accounts *accounts)
{
    struct most_of_quota most = {.used = 0};
    for (uint32_t i = 0; i < accounts->n_users; i++) {
        const struct account *user = &accounts->users[i];
        most_of_quota_add(&most, user->charged_bytes, accounts_quota_of_user(accounts, user));
    }
    return most;
}

static struct most_of_quota most_of_units(const struct accounts *accounts)
{
    struct most_of_quota most = {.used = 0};
    for (uint32_t i = 0; i < accounts->n_units; i++) {
        const struct account *unit = &accounts->units[i];
        most_of_quota_add(&most, unit->charged_bytes, accounts_quota_of_unit(accounts, unit));
    }
    return most;
}

/* How much of what is reserved is in use, and how much is reserved. */
static struct most_of_quota reserves_used(const struct accounts *accounts)
{
    const struct rules *rules = accounts->rules;
    struct most_of_quota sum = {.used = 0};
    for (uint32_t i = 0; i < rules->n_users; i++) {
        sum.used += at_most(accounts->user_rule_bytes[i], rules->users[i].reserve_bytes);
        sum.quota += rules->users[i].reserve_bytes;
    }
    for (uint32_t i = 0; i < rules->n_units; i++) {
        sum.used += at_most(accounts->unit_rule_bytes[i], rules->units[i].reserve_bytes);
        sum.quota += rules->units[i].reserve_bytes;
    }
    return sum;
}

struct clients_of {
    uint32_t uid;
    uint32_t n_clients; /* 0: the place is free */
};

static uint32_t user_count(struct clients_of *table, uint32_t uid)
{
    uint32_t at = (uid * UINT32_C(0x9e3779b1)) % USERS_TABLE;
    while (table[at].n_clients > 0 && table[at].uid != uid) {
        at = (at + 1) % USERS_TABLE;
    }
    table[at].uid = uid;
    return ++table[at].n_clients;
}

static struct most_used most_used(const struct core *core)
{
    struct most_used most = {.n_clients = 0};
    struct clients_of table[USERS_TABLE];
    const struct client *client = clients_next(&core->clients, 0);
    memset(table, 0, sizeof(table));
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        const uint64_t charged_bytes = client_charged_bytes(client);
        const uint32_t n_clients =
            core_is_admin(core, client->identity.uid) ? 0 : user_count(table, client->identity.uid);
        most.charged_bytes =
            charged_bytes > most.charged_bytes ? charged_bytes : most.charged_bytes;
        most.n_clients = n_clients > most.n_clients ? n_clients : most.n_clients;
    }
    return most;
}

/* ------------------------------------------------------------------------------ connections -- */

struct connections_used {
    struct users_limits limits;
    uint64_t n_descriptors;
    uint64_t n_connections;
    uint32_t n_of_user; /* these three of one user that is limited */
    uint32_t n_pending_of_user;
    uint64_t queued_of_user_bytes;
    uint32_t n_of_process;
    uint32_t n_pending;
    uint64_t queued_bytes;
};

/* Who has the most of each. */
static void note_user(struct connections_used *used, const struct user *user)
{
    used->n_of_user = user->n_connections > used->n_of_user ? user->n_connections : used->n_of_user;
    used->n_pending_of_user =
        user->n_pending > used->n_pending_of_user ? user->n_pending : used->n_pending_of_user;
    used->queued_of_user_bytes = user->queued_bytes > used->queued_of_user_bytes
                                     ? user->queued_bytes
                                     : used->queued_of_user_bytes;
}

static struct connections_used connections_used(const struct core *core)
{
    const struct users *users = core->config.users;
    struct connections_used used = {.n_descriptors = 0};
    if (!users) {
        return used;
    }
    used.limits = users->limits;
    used.n_pending = users->n_pending;
    used.queued_bytes = users->queued_bytes;
    used.n_descriptors =
        users->n_charged +
        (uint64_t)CLIENT_DESCRIPTORS * ((uint64_t)core->clients.n_live + core->clients.n_ended);
    for (const struct user *user = users->first; user; user = user->next) {
        used.n_connections += user->n_connections;
        if (!core_is_admin(core, user->uid)) {
            note_user(&used, user);
        }
    }
    for (uint32_t bucket = 0; bucket < PROCESS_BUCKETS; bucket++) {
        const struct process *process = users->processes[bucket];
        for (; process; process = process->next) {
            used.n_of_process = process->n_connections > used.n_of_process ? process->n_connections
                                                                           : used.n_of_process;
        }
    }
    return used;
}

/* ----------------------------------------------------------------------------------- report -- */

static void limit_add(struct reply *reply, const char *name, Kmem__StatisticUnit unit,
                      uint64_t used, uint64_t limit, const char *text)
{
    Kmem__LimitsReport *report = &reply->body.limits;
    Kmem__Limit *row = reply_take(reply, sizeof(*row));
    KMEM_ASSERT(report->n_limits < LIMITS_MAX);
    kmem__limit__init(row);
    row->name = reply_string(reply, name, strlen(name));
    row->unit = unit;
    row->used = used;
    row->limit = limit;
    row->text = reply_string(reply, text, strlen(text));
    report->limits[report->n_limits++] = row;
}

/* What each user, unit and budget has that a rule is about. */
static void rules_add(const struct core *core, struct reply *reply)
{
    const struct accounts *accounts = &core->accounts;
    const struct rules *rules = accounts->rules;
    char name[NAME_BYTES];
    for (uint32_t i = 0; i < rules->n_users; i++) {
        (void)snprintf(name, sizeof(name), "user %s", rules->users[i].name); /* fits */
        limit_add(reply, name, KMEM__STATISTIC_UNIT__UNIT_BYTES, accounts->user_rule_bytes[i],
                  rules->users[i].quota_bytes > 0 ? rules->users[i].quota_bytes
                                                  : rules->quota_per_uid_bytes,
                  rules->users[i].reserve_bytes > 0
                      ? "what this user's processes have, of its quota; some is reserved for it"
                      : "what this user's processes have, of its quota");
    }
    uint32_t n_units = 0;
    for (uint32_t i = 0; i < accounts->n_units && n_units < UNIT_ROWS_MAX; i++) {
        const struct account *unit = &accounts->units[i];
        if (unit->rule != RULES_NONE && unit->n_clients > 0) {
            (void)snprintf(name, sizeof(name), "unit %s", unit->unit); /* fits */
            limit_add(reply, name, KMEM__STATISTIC_UNIT__UNIT_BYTES, unit->charged_bytes,
                      accounts_quota_of_unit(accounts, unit),
                      "what this unit's processes have, of its quota");
            n_units++;
        }
    }
    for (uint32_t i = 0; i < rules->n_budgets; i++) {
        const struct rules_budget *budget = &rules->budgets[i];
        (void)snprintf(name, sizeof(name), "budget %s", budget->pattern); /* fits */
        limit_add(reply, name, KMEM__STATISTIC_UNIT__UNIT_BYTES, budget_bytes(&core->budgets, i),
                  budget->max_bytes,
                  budget->denies ? "blocks with such reasons; more are refused"
                                 : "blocks with such reasons; that there are more is told in the "
                                   "log");
    }
}

void report_limits(const struct core *core, struct reply *reply)
{
    const struct most_of_quota of_user = most_of_users(&core->accounts);
    const struct most_of_quota of_unit = most_of_units(&core->accounts);
    const struct most_of_quota reserves = reserves_used(&core->accounts);
    const struct most_used most = most_used(core);
    const struct connections_used connections = connections_used(core);
    kmem__limits_report__init(&reply->body.limits);
    reply->body.limits.limits = reply_take(reply, LIMITS_MAX * sizeof(Kmem__Limit *));
#define LIMIT(name, unit, used, limit, text)                                                       \
    limit_add(reply, #name, KMEM__STATISTIC_UNIT__UNIT_##unit, (used), (limit), text);
#include "daemon/core/limits.def"
#undef LIMIT
    rules_add(core, reply);
    reply->response.body_case = KMEM__RESPONSE__BODY_LIMITS;
    reply->response.limits = &reply->body.limits;
}
