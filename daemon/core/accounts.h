/* SPDX-License-Identifier: MIT */
/*
 * accounts.h - what users and units have, and what the rules let them have
 *
 *      charged_bytes of a user's account == sum over its clients + kept_bytes, left to names
 *      charged_bytes of a unit's         == sum over its clients
 *      charged bytes of a rule           == sum over the accounts whose rule it is
 *      an account in use has clients, or kept bytes                        : accounts_check()
 *
 * All of it is derived from the clients and the shares, and found again after a restart. What names
 * or offers keep when no process is charged for it (settle.h) is charged to the user of the process
 * that was charged last: so no user has more than its quota by leaving blocks to names. A unit is
 * not: a service that is started anew has what its processes have.
 *
 * The table has a place for each client; users beyond that, who have left blocks behind, share one
 * account that nothing limits.
 */
#ifndef DAEMON_CORE_ACCOUNTS_H
#define DAEMON_CORE_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/account.h"
#include "daemon/core/clients.h"
#include "daemon/rules.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"

struct accounts {
    const struct rules *rules; /* never NULL */
    uint32_t owner_uid;
    struct account *users; /* ACCOUNTS_MAX, of which n_users have been used; likewise units */
    struct account *units;
    uint32_t n_users;
    uint32_t n_units;
    struct account others; /* see above */
    uint64_t user_rule_bytes[RULES_PARTIES_MAX];
    uint64_t unit_rule_bytes[RULES_PARTIES_MAX];
    bool has_reserves;
};

#define ACCOUNTS_MAX CLIENTS_MAX

/** accounts_init() - @rules: borrowed; NULL: no rules. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int accounts_init(struct accounts *accounts, const struct rules *rules,
                                uint32_t owner_uid);

void accounts_fini(struct accounts *accounts);

/** accounts_join() - a client, whose unit is known, is of its user and unit from now on */
void accounts_join(struct accounts *accounts, struct client *client);

/** accounts_leave() - a client that is charged for nothing is gone */
void accounts_leave(struct accounts *accounts, struct client *client);

/** accounts_keep() - no process is charged for bytes any more that one of this user's was */
void accounts_keep(struct accounts *accounts, uint32_t uid, uint64_t num_bytes);

/** accounts_unkeep() - they are a process's again, or gone */
void accounts_unkeep(struct accounts *accounts, uint32_t uid, uint64_t num_bytes);

/** accounts_set_rules() - other rules from now on; nothing is taken away. NULL: none */
void accounts_set_rules(struct accounts *accounts, const struct rules *rules);

/* What keeps a client from being charged for more. */
enum bar_kind { BAR_NONE, BAR_CLIENT, BAR_USER, BAR_UNIT };

struct bar {
    enum bar_kind kind;
    uint64_t used_bytes;
    uint64_t limit_bytes;
};

/** accounts_quota_of_client() - what a client may have; usual_bytes where no rule says; 0: all */
uint64_t accounts_quota_of_client(const struct accounts *accounts, const struct client *client,
                                  uint64_t usual_bytes);

/** accounts_quota_of_user() - what a user may have, 0: all; of root and the daemon's by rule */
uint64_t accounts_quota_of_user(const struct accounts *accounts, const struct account *user);

uint64_t accounts_quota_of_unit(const struct accounts *accounts, const struct account *unit);

/** accounts_bar() - what forbids a client num_bytes more; BAR_NONE: nothing does */
struct bar accounts_bar(const struct accounts *accounts, const struct client *client,
                        uint64_t usual_bytes, uint64_t num_bytes);

/** accounts_may_have() - whether nothing does */
static inline bool accounts_may_have(const struct accounts *accounts, const struct client *client,
                                     uint64_t usual_bytes, uint64_t num_bytes)
{
    return accounts_bar(accounts, client, usual_bytes, num_bytes).kind == BAR_NONE;
}

/** accounts_is_tight() - a client has used half of what bounds it, or a quarter for leases */
bool accounts_is_tight(const struct accounts *accounts, const struct client *client,
                       uint64_t usual_bytes);

/** accounts_bars() - whether a client is charged to what bars another: what it gives back helps */
bool accounts_bars(enum bar_kind kind, const struct client *barred, const struct client *client);

/** accounts_reserved() - what must stay free when this client is given something */
uint64_t accounts_reserved(const struct accounts *accounts, const struct client *client);

/** accounts_own_reserve() - what is kept free for this client, and is not used */
uint64_t accounts_own_reserve(const struct accounts *accounts, const struct client *client);

/** accounts_promised() - what others may have reserved in all, used or not */
uint64_t accounts_promised(const struct accounts *accounts, const struct client *client);

/** accounts_priority() - the higher of its user's and its unit's */
int32_t accounts_priority(const struct accounts *accounts, const struct client *client);

enum { ACCOUNTS_OK, ACCOUNTS_E_CORRUPT };

/**
 * accounts_check() - recount
 * @n_kept_bytes:  what is charged to `kept`
 * Return: 0 or ACCOUNTS_E_CORRUPT.
 */
KMEM_MUST_USE int accounts_check(const struct accounts *accounts, const struct clients *clients,
                                 uint64_t n_kept_bytes);

#endif
