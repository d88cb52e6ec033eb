/* SPDX-License-Identifier: MIT */
#include "daemon/setting_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/role_names.h"
#include "daemon/setting_values.h"
#include "proto/text.h"

bool quota_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_bytes(text, true, &options->quota_bytes, ret_why);
}

bool quota_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_bytes(options->quota_bytes, ret_text);
    return idx == 0;
}

bool quota_per_uid_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_bytes(text, true, &options->rules.quota_per_uid_bytes, ret_why);
}

bool quota_per_uid_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_bytes(options->rules.quota_per_uid_bytes, ret_text);
    return idx == 0;
}

bool quota_per_unit_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_bytes(text, true, &options->rules.quota_per_unit_bytes, ret_why);
}

bool quota_per_unit_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_bytes(options->rules.quota_per_unit_bytes, ret_text);
    return idx == 0;
}

/* ---------------------------------------------------------------------- of users and units -- */

static bool rule_quota_parse(void *place, const char *text, char *ret_why)
{
    return setting_parse_bytes(text, true, &((struct rules_party *)place)->quota_bytes, ret_why);
}

static bool rule_quota_print(const void *place, uint32_t idx, char *ret_text)
{
    setting_print_bytes(((const struct rules_party *)place)->quota_bytes, ret_text);
    return idx == 0;
}

static bool rule_client_quota_parse(void *place, const char *text, char *ret_why)
{
    return setting_parse_bytes(text, true, &((struct rules_party *)place)->client_quota_bytes,
                               ret_why);
}

static bool rule_client_quota_print(const void *place, uint32_t idx, char *ret_text)
{
    setting_print_bytes(((const struct rules_party *)place)->client_quota_bytes, ret_text);
    return idx == 0;
}

static bool rule_reserve_parse(void *place, const char *text, char *ret_why)
{
    return setting_parse_bytes(text, true, &((struct rules_party *)place)->reserve_bytes, ret_why);
}

static bool rule_reserve_print(const void *place, uint32_t idx, char *ret_text)
{
    setting_print_bytes(((const struct rules_party *)place)->reserve_bytes, ret_text);
    return idx == 0;
}

static bool rule_priority_parse(void *place, const char *text, char *ret_why)
{
    char *end;
    const long priority = strtol(text, &end, 10);
    if (end == text || *end != '\0' || priority < -RULES_PRIORITY_MAX ||
        priority > RULES_PRIORITY_MAX) {
        return setting_refuse(ret_why, "\"%.80s\" is no priority: write a number from %d to %d",
                              text, -RULES_PRIORITY_MAX, RULES_PRIORITY_MAX);
    }
    ((struct rules_party *)place)->priority = (int32_t)priority;
    return true;
}

static bool rule_priority_print(const void *place, uint32_t idx, char *ret_text)
{
    (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%d",
                   ((const struct rules_party *)place)->priority); /* fits */
    return idx == 0;
}

const struct setting rule_settings[] = {
    {.key = "quota",
     .argument = "SIZE",
     .parse = rule_quota_parse,
     .print = rule_quota_print,
     .help = "What all its clients together may have"},
    {.key = "client-quota",
     .argument = "SIZE",
     .parse = rule_client_quota_parse,
     .print = rule_client_quota_print,
     .help = "What each of its clients may have"},
    {.key = "reserve",
     .argument = "SIZE",
     .parse = rule_reserve_parse,
     .print = rule_reserve_print,
     .help = "What others leave it"},
    {.key = "priority",
     .argument = "N",
     .parse = rule_priority_parse,
     .print = rule_priority_print,
     .help = "Unused memory is taken from lower ones first, -100 to 100"},
    {.key = NULL},
};

/* Return: the rule of that name, a new one; or NULL and why. */
static struct rules_party *rule_new(struct rules_party *rules, uint32_t *n_rules, const char *kind,
                                    const char *title, char *ret_why)
{
    if (title[0] == '\0' || strlen(title) >= sizeof(rules->name)) {
        (void)setting_refuse(ret_why, "its name has 1 to %zu bytes", sizeof(rules->name) - 1);
        return NULL;
    }
    if (*n_rules == RULES_PARTIES_MAX) {
        (void)setting_refuse(ret_why, "there can be %d sections %s", RULES_PARTIES_MAX, kind);
        return NULL;
    }
    struct rules_party *rule = &rules[(*n_rules)++];
    *rule = (struct rules_party){.priority = 0};
    (void)snprintf(rule->name, sizeof(rule->name), "%s", title); /* fits */
    return rule;
}

void *user_open(struct options *options, const char *title, char *ret_why)
{
    struct option_principals named = {.n = 0};
    struct rules *rules = &options->rules;
    if (title[0] == '@') {
        (void)setting_refuse(ret_why, "it is a group's name: name a user");
        return NULL;
    }
    if (role_names_add(&named, title, ret_why)) {
        return NULL;
    }
    const uint32_t rule = rules_of_user(rules, named.list[0].id);
    if (rule != RULES_NONE) {
        return &rules->users[rule];
    }
    struct rules_party *user = rule_new(rules->users, &rules->n_users, "user", title, ret_why);
    if (user) {
        user->uid = named.list[0].id;
    }
    return user;
}

const void *user_get(const struct options *options, uint32_t idx, const char **ret_title)
{
    const struct rules *rules = &options->rules;
    *ret_title = idx < rules->n_users ? rules->users[idx].name : NULL;
    return idx < rules->n_users ? &rules->users[idx] : NULL;
}

void *unit_open(struct options *options, const char *title, char *ret_why)
{
    struct rules *rules = &options->rules;
    for (uint32_t i = 0; i < rules->n_units; i++) {
        if (strcmp(rules->units[i].name, title) == 0) {
            return &rules->units[i];
        }
    }
    return rule_new(rules->units, &rules->n_units, "unit", title, ret_why);
}

const void *unit_get(const struct options *options, uint32_t idx, const char **ret_title)
{
    const struct rules *rules = &options->rules;
    *ret_title = idx < rules->n_units ? rules->units[idx].name : NULL;
    return idx < rules->n_units ? &rules->units[idx] : NULL;
}

/* ------------------------------------------------------------------------------ of reasons -- */

static bool budget_max_parse(void *place, const char *text, char *ret_why)
{
    return setting_parse_bytes(text, false, &((struct rules_budget *)place)->max_bytes, ret_why);
}

static bool budget_max_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct rules_budget *budget = place;
    setting_print_bytes(budget->max_bytes, ret_text);
    return idx == 0 && budget->max_bytes > 0;
}

static bool budget_action_parse(void *place, const char *text, char *ret_why)
{
    const bool denies = strcmp(text, "deny") == 0;
    if (!denies && strcmp(text, "warn") != 0) {
        return setting_refuse(ret_why, "\"%.80s\" is not known: write deny or warn", text);
    }
    ((struct rules_budget *)place)->denies = denies;
    return true;
}

static bool budget_action_print(const void *place, uint32_t idx, char *ret_text)
{
    setting_print_word(((const struct rules_budget *)place)->denies ? "deny" : "warn", ret_text);
    return idx == 0;
}

const struct setting budget_settings[] = {
    {.key = "max",
     .argument = "SIZE",
     .parse = budget_max_parse,
     .print = budget_max_print,
     .help = "What all blocks with such a reason together may have"},
    {.key = "action",
     .argument = "deny|warn",
     .parse = budget_action_parse,
     .print = budget_action_print,
     .help = "Refuse more than that, or tell it in the log (default: deny)"},
    {.key = NULL},
};

void *budget_open(struct options *options, const char *title, char *ret_why)
{
    struct rules *rules = &options->rules;
    for (uint32_t i = 0; i < rules->n_budgets; i++) {
        if (strcmp(rules->budgets[i].pattern, title) == 0) {
            return &rules->budgets[i];
        }
    }
    if (title[0] == '\0' || strlen(title) > GLOB_MAX_BYTES ||
        !text_is_utf8((const unsigned char *)title, strlen(title))) {
        (void)setting_refuse(ret_why, "its pattern has 1 to %d bytes of UTF-8", GLOB_MAX_BYTES);
        return NULL;
    }
    if (rules->n_budgets == RULES_BUDGETS_MAX) {
        (void)setting_refuse(ret_why, "there can be %d budgets", RULES_BUDGETS_MAX);
        return NULL;
    }
    struct rules_budget *budget = &rules->budgets[rules->n_budgets++];
    *budget = (struct rules_budget){.denies = true};
    (void)snprintf(budget->pattern, sizeof(budget->pattern), "%s", title); /* fits */
    return budget;
}

const void *budget_get(const struct options *options, uint32_t idx, const char **ret_title)
{
    const struct rules *rules = &options->rules;
    *ret_title = idx < rules->n_budgets ? rules->budgets[idx].pattern : NULL;
    return idx < rules->n_budgets ? &rules->budgets[idx] : NULL;
}
