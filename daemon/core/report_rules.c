/* SPDX-License-Identifier: MIT */
/*
 * report_rules.c - the sentence of a refusal that the administrator's rules ask for
 *
 * Each says what was asked, what is there and what may be, and which key of the configuration says
 * so: that is what an administrator looks for.
 */
#include "daemon/core/report.h"

#include <stdio.h>
#include <string.h>

#include "proto/text.h"

#define HOLDER_BYTES (4 * UNIT_NAME_BYTES + 64)

/* "process 4711", "the processes of user alice", "the processes of unit web.service". */
static const char *holder_text(const struct core *core, const struct client *client,
                               enum bar_kind kind, char buffer[HOLDER_BYTES])
{
    char pid[PID_TEXT_BYTES];
    const struct account *user = client->user_account;
    if (kind == BAR_UNIT) {
        char name[4 * UNIT_NAME_BYTES];
        (void)text_escape(client->unit, strlen(client->unit), name, sizeof(name)); /* its buffer */
        (void)snprintf(buffer, HOLDER_BYTES, "the processes of unit %s have", name); /* fits */
    } else if (kind == BAR_USER && user->rule != RULES_NONE) {
        (void)snprintf(buffer, HOLDER_BYTES, "the processes of user %s have",
                       core->accounts.rules->users[user->rule].name); /* fits */
    } else if (kind == BAR_USER) {
        (void)snprintf(buffer, HOLDER_BYTES, "the processes of user %u have",
                       client->identity.uid); /* fits */
    } else {
        (void)snprintf(buffer, HOLDER_BYTES, "process %s has",
                       client_pid_text(client->identity.pid, pid)); /* fits */
    }
    return buffer;
}

/* Which key says so. */
static const char *key_text(const struct core *core, const struct client *client,
                            enum bar_kind kind, char buffer[HOLDER_BYTES])
{
    const struct rules *rules = core->accounts.rules;
    const uint32_t user = client->user_account->rule;
    const uint32_t unit = client->unit_account ? client->unit_account->rule : RULES_NONE;
    const uint64_t own_bytes = accounts_quota_of_client(&core->accounts, client, 0);
    const bool is_client = kind == BAR_CLIENT;
    if (is_client && own_bytes == 0) {
        return "start kmemd with a larger --quota";
    }
    const char *key = is_client ? "client-quota" : "quota";
    if ((kind == BAR_USER && user != RULES_NONE && rules->users[user].quota_bytes > 0) ||
        (is_client && user != RULES_NONE && rules->users[user].client_quota_bytes == own_bytes)) {
        (void)snprintf(buffer, HOLDER_BYTES, "raise %s of user \"%s\"", key,
                       rules->users[user].name); /* fits */
        return buffer;
    }
    if (unit != RULES_NONE && (is_client || rules->units[unit].quota_bytes > 0)) {
        (void)snprintf(buffer, HOLDER_BYTES, "raise %s of unit \"%s\"", key,
                       rules->units[unit].name); /* fits */
        return buffer;
    }
    return kind == BAR_USER ? "raise quota-per-uid" : "raise quota-per-unit";
}

void report_quota(const struct core *core, const struct client *client, const struct bar *bar,
                  uint64_t num_bytes, struct reply *reply)
{
    static const char *const whom[] = {
        [BAR_NONE] = "", [BAR_CLIENT] = "client", [BAR_USER] = "user", [BAR_UNIT] = "unit"};
    char asked[TEXT_BYTES_MAX];
    char charged[TEXT_BYTES_MAX];
    char quota[TEXT_BYTES_MAX];
    char holder[HOLDER_BYTES];
    char key[HOLDER_BYTES];
    reply_error(reply, KMEM__ERROR_CODE__ERROR_QUOTA,
                "%s more is over the quota: %s %s of the %s that one %s may have; %s%s",
                text_format_bytes(num_bytes, asked, sizeof(asked)),
                holder_text(core, client, bar->kind, holder),
                text_format_bytes(bar->used_bytes, charged, sizeof(charged)),
                text_format_bytes(bar->limit_bytes, quota, sizeof(quota)), whom[bar->kind],
                num_bytes > bar->limit_bytes ? ""
                : names_count_of(&core->names, client->slot) == 0
                    ? "release some of it, or "
                    : "release some of it, unpublish names, or ",
                key_text(core, client, bar->kind, key));
}

/* ------------------------------------------------------------------------------- reserves -- */

/* 3: a sentence is read, not searched. */
#define RESERVED_FOR_MAX 3

struct reserved_text {
    char text[RESERVED_FOR_MAX * HOLDER_BYTES];
    size_t n_bytes;
    uint32_t n_rules;
};

static void reserved_add(struct reserved_text *text, const struct rules_party *rules,
                         uint32_t n_rules, const uint64_t *rule_bytes, uint32_t own_rule,
                         const char *kind)
{
    for (uint32_t i = 0; i < n_rules && text->n_rules < RESERVED_FOR_MAX; i++) {
        char size[TEXT_BYTES_MAX];
        if (i == own_rule || rules[i].reserve_bytes <= rule_bytes[i]) {
            continue;
        }
        const int n =
            snprintf(text->text + text->n_bytes, sizeof(text->text) - text->n_bytes,
                     "%s%s are reserved for %s %s", text->n_rules == 0 ? "" : ", ",
                     text_format_bytes(rules[i].reserve_bytes - rule_bytes[i], size, sizeof(size)),
                     kind, rules[i].name);
        KMEM_ASSERT(n > 0);
        text->n_bytes += (size_t)n;
        text->n_rules++;
    }
}

void report_reserved(const struct core *core, const struct client *client, uint64_t num_bytes,
                     struct reply *reply)
{
    const struct accounts *accounts = &core->accounts;
    const struct rules *rules = accounts->rules;
    struct reserved_text text = {.n_bytes = 0};
    char asked[TEXT_BYTES_MAX];
    char free_text[TEXT_BYTES_MAX];
    char all[TEXT_BYTES_MAX];
    reserved_add(&text, rules->users, rules->n_users, accounts->user_rule_bytes,
                 client->user_account->rule, "user");
    reserved_add(&text, rules->units, rules->n_units, accounts->unit_rule_bytes,
                 client->unit_account ? client->unit_account->rule : RULES_NONE, "unit");
    reply_error(reply, KMEM__ERROR_CODE__ERROR_NO_MEMORY,
                "no room for %s in segment \"%s\": %s of %s free, of which %s; release some of "
                "what is held, lower a reserve, or start kmemd with a larger --size",
                text_format_bytes(num_bytes, asked, sizeof(asked)), core->config.segment_name,
                text_format_bytes(core_free_bytes(core), free_text, sizeof(free_text)),
                text_format_bytes(core_segment_bytes(core), all, sizeof(all)), text.text);
}

/* -------------------------------------------------------------------------------- budgets -- */

void report_budget(const struct core *core, uint32_t budget, uint64_t num_bytes,
                   struct reply *reply)
{
    const struct rules_budget *rule = &core->accounts.rules->budgets[budget];
    char asked[TEXT_BYTES_MAX];
    char used[TEXT_BYTES_MAX];
    char max[TEXT_BYTES_MAX];
    char pattern[4 * GLOB_MAX_BYTES + 1];
    (void)text_escape(rule->pattern, strlen(rule->pattern), pattern, sizeof(pattern)); /* fits */
    reply_error(reply, KMEM__ERROR_CODE__ERROR_BUDGET,
                "%s more is over budget \"%s\": blocks with such reasons have %s of %s; release "
                "some of them, or raise max of that budget",
                text_format_bytes(num_bytes, asked, sizeof(asked)), pattern,
                text_format_bytes(core->budgets.used_bytes[budget], used, sizeof(used)),
                text_format_bytes(rule->max_bytes, max, sizeof(max)));
}
