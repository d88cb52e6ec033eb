/* SPDX-License-Identifier: MIT */
/*
 * accounts.c - a table of users and one of units; a client points into both
 *
 * They are looked through from the beginning when a client joins, which also looks at all clients.
 * A place is free when nothing is charged to it, and is given to the next that comes.
 */
#include "daemon/core/accounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct rules no_rules;

int accounts_init(struct accounts *accounts, const struct rules *rules, uint32_t owner_uid)
{
    *accounts = (struct accounts){
        .rules = rules ? rules : &no_rules,
        .owner_uid = owner_uid,
        .users = calloc(ACCOUNTS_MAX, sizeof(struct account)),
        .units = calloc(ACCOUNTS_MAX, sizeof(struct account)),
        .others = {.rule = RULES_NONE},
    };
    accounts->has_reserves = rules_have_reserves(accounts->rules);
    if (!accounts->users || !accounts->units) {
        accounts_fini(accounts);
        return -ENOMEM;
    }
    return 0;
}

void accounts_fini(struct accounts *accounts)
{
    free(accounts->users);
    free(accounts->units);
    *accounts = (struct accounts){.users = NULL};
}

static bool is_used(const struct account *account)
{
    return account->n_clients > 0 || account->kept_bytes > 0;
}

/* ------------------------------------------------------------------------- who has which -- */

static void user_set_rule(struct accounts *accounts, struct account *user)
{
    user->rule = rules_of_user(accounts->rules, user->uid);
    user->rule_bytes = user->rule != RULES_NONE ? &accounts->user_rule_bytes[user->rule] : NULL;
}

static void unit_set_rule(struct accounts *accounts, struct account *unit)
{
    unit->rule = rules_of_unit(accounts->rules, unit->unit);
    unit->rule_bytes = unit->rule != RULES_NONE ? &accounts->unit_rule_bytes[unit->rule] : NULL;
}

/* The account of a user, which is made if there is none. */
static struct account *user_get(struct accounts *accounts, uint32_t uid)
{
    struct account *free_place = NULL;
    for (uint32_t i = 0; i < accounts->n_users; i++) {
        struct account *user = &accounts->users[i];
        if (is_used(user) && user->uid == uid) {
            return user;
        }
        free_place = is_used(user) || free_place ? free_place : user;
    }
    if (!free_place && accounts->n_users == ACCOUNTS_MAX) {
        return &accounts->others;
    }
    free_place = free_place ? free_place : &accounts->users[accounts->n_users++];
    *free_place = (struct account){.uid = uid};
    user_set_rule(accounts, free_place);
    return free_place;
}

/* The account of a unit; NULL: it has no name, or it is not known. */
static struct account *unit_get(struct accounts *accounts, const char *name)
{
    struct account *free_place = NULL;
    if (name[0] == '\0' || strcmp(name, "?") == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < accounts->n_units; i++) {
        struct account *unit = &accounts->units[i];
        if (is_used(unit) && strcmp(unit->unit, name) == 0) {
            return unit;
        }
        free_place = is_used(unit) || free_place ? free_place : unit;
    }
    KMEM_ASSERT(free_place != NULL || accounts->n_units < ACCOUNTS_MAX); /* a client has one */
    free_place = free_place ? free_place : &accounts->units[accounts->n_units++];
    *free_place = (struct account){.rule = RULES_NONE};
    (void)snprintf(free_place->unit, sizeof(free_place->unit), "%s", name); /* fits */
    unit_set_rule(accounts, free_place);
    return free_place;
}

void accounts_join(struct accounts *accounts, struct client *client)
{
    const uint64_t charged_bytes = client_charged_bytes(client);
    client->user_account = user_get(accounts, client->identity.uid);
    client->user_account->n_clients++;
    account_charge(client->user_account, charged_bytes);
    client->unit_account = unit_get(accounts, client->unit);
    if (client->unit_account) {
        client->unit_account->n_clients++;
        account_charge(client->unit_account, charged_bytes);
    }
}

static void account_leave(struct account *account, uint64_t charged_bytes)
{
    if (account) {
        KMEM_ASSERT(account->n_clients > 0);
        account_discharge(account, charged_bytes);
        account->n_clients--;
    }
}

void accounts_leave(struct accounts *accounts, struct client *client)
{
    (void)accounts;
    account_leave(client->user_account, client_charged_bytes(client));
    account_leave(client->unit_account, client_charged_bytes(client));
    client->user_account = NULL;
    client->unit_account = NULL;
}

void accounts_keep(struct accounts *accounts, uint32_t uid, uint64_t num_bytes)
{
    struct account *user = user_get(accounts, uid);
    user->kept_bytes += num_bytes;
    account_charge(user, num_bytes);
}

void accounts_unkeep(struct accounts *accounts, uint32_t uid, uint64_t num_bytes)
{
    struct account *user = user_get(accounts, uid);
    /* It may have been among the others when it was kept. */
    user = user->kept_bytes >= num_bytes ? user : &accounts->others;
    KMEM_ASSERT(user->kept_bytes >= num_bytes);
    user->kept_bytes -= num_bytes;
    account_discharge(user, num_bytes);
}

void accounts_set_rules(struct accounts *accounts, const struct rules *rules)
{
    accounts->rules = rules ? rules : &no_rules;
    accounts->has_reserves = rules_have_reserves(accounts->rules);
    memset(accounts->user_rule_bytes, 0, sizeof(accounts->user_rule_bytes));
    memset(accounts->unit_rule_bytes, 0, sizeof(accounts->unit_rule_bytes));
    for (uint32_t i = 0; i < accounts->n_users; i++) {
        struct account *user = &accounts->users[i];
        user_set_rule(accounts, user);
        if (user->rule_bytes) {
            *user->rule_bytes += user->charged_bytes;
        }
    }
    for (uint32_t i = 0; i < accounts->n_units; i++) {
        struct account *unit = &accounts->units[i];
        unit_set_rule(accounts, unit);
        if (unit->rule_bytes) {
            *unit->rule_bytes += unit->charged_bytes;
        }
    }
}

/* --------------------------------------------------------------------------------- quotas -- */

static const struct rules_party *user_rule(const struct accounts *accounts,
                                           const struct account *user)
{
    return user && user->rule != RULES_NONE ? &accounts->rules->users[user->rule] : NULL;
}

static const struct rules_party *unit_rule(const struct accounts *accounts,
                                           const struct account *unit)
{
    return unit && unit->rule != RULES_NONE ? &accounts->rules->units[unit->rule] : NULL;
}

/* The smaller one, where 0 is none. */
static uint64_t tighter(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t accounts_quota_of_client(const struct accounts *accounts, const struct client *client,
                                  uint64_t usual_bytes)
{
    const struct rules_party *user = user_rule(accounts, client->user_account);
    const struct rules_party *unit = unit_rule(accounts, client->unit_account);
    const uint64_t own_bytes =
        tighter(user ? user->client_quota_bytes : 0, unit ? unit->client_quota_bytes : 0);
    return own_bytes > 0 ? own_bytes : usual_bytes;
}

uint64_t accounts_quota_of_user(const struct accounts *accounts, const struct account *user)
{
    const struct rules_party *rule = user_rule(accounts, user);
    if (rule && rule->quota_bytes > 0) {
        return rule->quota_bytes;
    }
    const bool is_limited =
        user != &accounts->others && user->uid != 0 && user->uid != accounts->owner_uid;
    return is_limited ? accounts->rules->quota_per_uid_bytes : 0;
}

uint64_t accounts_quota_of_unit(const struct accounts *accounts, const struct account *unit)
{
    const struct rules_party *rule = unit_rule(accounts, unit);
    return rule && rule->quota_bytes > 0 ? rule->quota_bytes
                                         : accounts->rules->quota_per_unit_bytes;
}

static bool fits(uint64_t used_bytes, uint64_t limit_bytes, uint64_t num_bytes)
{
    uint64_t sum_bytes;
    return limit_bytes == 0 ||
           (checked_add(used_bytes, num_bytes, &sum_bytes) && sum_bytes <= limit_bytes);
}

struct bar accounts_bar(const struct accounts *accounts, const struct client *client,
                        uint64_t usual_bytes, uint64_t num_bytes)
{
    struct bar bar = {BAR_CLIENT, client_charged_bytes(client),
                      accounts_quota_of_client(accounts, client, usual_bytes)};
    if (!fits(bar.used_bytes, bar.limit_bytes, num_bytes)) {
        return bar;
    }
    const struct account *user = client->user_account;
    if (user) {
        bar = (struct bar){BAR_USER, user->charged_bytes, accounts_quota_of_user(accounts, user)};
        if (!fits(bar.used_bytes, bar.limit_bytes, num_bytes)) {
            return bar;
        }
    }
    const struct account *unit = client->unit_account;
    if (unit) {
        bar = (struct bar){BAR_UNIT, unit->charged_bytes, accounts_quota_of_unit(accounts, unit)};
        if (!fits(bar.used_bytes, bar.limit_bytes, num_bytes)) {
            return bar;
        }
    }
    return (struct bar){.kind = BAR_NONE};
}

/* 4: as in the segment, slabs with hardly a block in them are to take no more than a quarter. */
#define LEASED_FRACTION 4

static bool is_half_used(uint64_t used_bytes, uint64_t limit_bytes)
{
    return limit_bytes > 0 && used_bytes > limit_bytes / 2;
}

bool accounts_is_tight(const struct accounts *accounts, const struct client *client,
                       uint64_t usual_bytes)
{
    const uint64_t own_bytes = accounts_quota_of_client(accounts, client, usual_bytes);
    const uint64_t leased_bytes = client->leased_pages << PAGE_SHIFT;
    const struct account *user = client->user_account;
    const struct account *unit = client->unit_account;
    return is_half_used(client_charged_bytes(client), own_bytes) ||
           (own_bytes > 0 && leased_bytes > own_bytes / LEASED_FRACTION) ||
           (user && is_half_used(user->charged_bytes, accounts_quota_of_user(accounts, user))) ||
           (unit && is_half_used(unit->charged_bytes, accounts_quota_of_unit(accounts, unit)));
}

bool accounts_bars(enum bar_kind kind, const struct client *barred, const struct client *client)
{
    switch (kind) {
    case BAR_CLIENT:
        return client == barred;
    case BAR_USER:
        return client->user_account == barred->user_account;
    case BAR_UNIT:
        return client->unit_account == barred->unit_account;
    case BAR_NONE:
        break;
    }
    return false;
}

/* ------------------------------------------------------------------------------- reserves -- */

static uint64_t unmet(const struct rules_party *rule, uint64_t charged_bytes)
{
    return rule->reserve_bytes > charged_bytes ? rule->reserve_bytes - charged_bytes : 0;
}

static uint32_t rule_of(const struct account *account)
{
    return account ? account->rule : RULES_NONE;
}

uint64_t accounts_reserved(const struct accounts *accounts, const struct client *client)
{
    const struct rules *rules = accounts->rules;
    uint64_t num_bytes = 0;
    for (uint32_t i = 0; accounts->has_reserves && i < rules->n_users; i++) {
        num_bytes += i == rule_of(client->user_account)
                         ? 0
                         : unmet(&rules->users[i], accounts->user_rule_bytes[i]);
    }
    for (uint32_t i = 0; accounts->has_reserves && i < rules->n_units; i++) {
        num_bytes += i == rule_of(client->unit_account)
                         ? 0
                         : unmet(&rules->units[i], accounts->unit_rule_bytes[i]);
    }
    return num_bytes;
}

uint64_t accounts_own_reserve(const struct accounts *accounts, const struct client *client)
{
    const struct rules_party *user = user_rule(accounts, client->user_account);
    const struct rules_party *unit = unit_rule(accounts, client->unit_account);
    const uint64_t of_user = user ? unmet(user, *client->user_account->rule_bytes) : 0;
    const uint64_t of_unit = unit ? unmet(unit, *client->unit_account->rule_bytes) : 0;
    return of_user > of_unit ? of_user : of_unit;
}

uint64_t accounts_promised(const struct accounts *accounts, const struct client *client)
{
    const struct rules *rules = accounts->rules;
    uint64_t num_bytes = 0;
    for (uint32_t i = 0; accounts->has_reserves && i < rules->n_users; i++) {
        num_bytes += i == rule_of(client->user_account) ? 0 : rules->users[i].reserve_bytes;
    }
    for (uint32_t i = 0; accounts->has_reserves && i < rules->n_units; i++) {
        num_bytes += i == rule_of(client->unit_account) ? 0 : rules->units[i].reserve_bytes;
    }
    return num_bytes;
}

int32_t accounts_priority(const struct accounts *accounts, const struct client *client)
{
    const struct rules_party *user = user_rule(accounts, client->user_account);
    const struct rules_party *unit = unit_rule(accounts, client->unit_account);
    if (user && unit) {
        return user->priority > unit->priority ? user->priority : unit->priority;
    }
    return user ? user->priority : unit ? unit->priority : 0;
}

/* -------------------------------------------------------------------------------- checking -- */

/* What the clients of an account are charged. */
static bool account_is_sound(const struct account *account, const struct clients *clients,
                             bool is_user)
{
    uint64_t charged_bytes = account->kept_bytes;
    uint32_t n_clients = 0;
    const struct client *client = clients_next(clients, 0);
    for (; client; client = clients_next(clients, client->slot + 1)) {
        if (account == (is_user ? client->user_account : client->unit_account)) {
            charged_bytes += client_charged_bytes(client);
            n_clients++;
        }
    }
    return charged_bytes == account->charged_bytes && n_clients == account->n_clients;
}

static bool are_sound(const struct account *table, uint32_t n_accounts,
                      const struct clients *clients, bool is_user)
{
    for (uint32_t i = 0; i < n_accounts; i++) {
        if (!account_is_sound(&table[i], clients, is_user)) {
            return false;
        }
    }
    return true;
}

static bool rule_bytes_are_sound(const struct account *table, uint32_t n_accounts,
                                 const uint64_t *rule_bytes)
{
    uint64_t sums[RULES_PARTIES_MAX] = {0};
    for (uint32_t i = 0; i < n_accounts; i++) {
        if (table[i].rule_bytes) {
            sums[table[i].rule] += table[i].charged_bytes;
        }
    }
    return memcmp(sums, rule_bytes, sizeof(sums)) == 0;
}

int accounts_check(const struct accounts *accounts, const struct clients *clients,
                   uint64_t n_kept_bytes)
{
    uint64_t kept_bytes = accounts->others.kept_bytes;
    for (uint32_t i = 0; i < accounts->n_users; i++) {
        kept_bytes += accounts->users[i].kept_bytes;
    }
    const bool adds_up =
        kept_bytes == n_kept_bytes &&
        are_sound(accounts->users, accounts->n_users, clients, true) &&
        are_sound(accounts->units, accounts->n_units, clients, false) &&
        account_is_sound(&accounts->others, clients, true) &&
        rule_bytes_are_sound(accounts->users, accounts->n_users, accounts->user_rule_bytes) &&
        rule_bytes_are_sound(accounts->units, accounts->n_units, accounts->unit_rule_bytes);
    return adds_up ? 0 : ACCOUNTS_E_CORRUPT;
}
