/* SPDX-License-Identifier: MIT */
#include "daemon/rules.h"

#include <stdio.h>
#include <string.h>

#include "proto/glob.h"
#include "proto/text.h"

uint32_t rules_of_user(const struct rules *rules, uint32_t uid)
{
    for (uint32_t i = 0; i < rules->n_users; i++) {
        if (rules->users[i].uid == uid) {
            return i;
        }
    }
    return RULES_NONE;
}

static bool matches(const char *pattern, const char *text, size_t n_bytes)
{
    uint32_t n_steps;
    return glob_matches(pattern, strlen(pattern), text, n_bytes, &n_steps);
}

uint32_t rules_of_unit(const struct rules *rules, const char *unit)
{
    for (uint32_t i = 0; i < rules->n_units; i++) {
        if (matches(rules->units[i].name, unit, strlen(unit))) {
            return i;
        }
    }
    return RULES_NONE;
}

uint32_t rules_budgets_of(const struct rules *rules, const char *reason, size_t n_bytes)
{
    const char *detail = n_bytes > 0 ? memchr(reason, '#', n_bytes) : NULL;
    const size_t n_told = detail ? (size_t)(detail - reason) : n_bytes;
    uint32_t budgets = 0;
    for (uint32_t i = 0; i < rules->n_budgets; i++) {
        if (matches(rules->budgets[i].pattern, reason, n_told)) {
            budgets |= UINT32_C(1) << i;
        }
    }
    return budgets;
}

uint32_t rules_denying(const struct rules *rules)
{
    uint32_t budgets = 0;
    for (uint32_t i = 0; i < rules->n_budgets; i++) {
        budgets |= rules->budgets[i].denies ? UINT32_C(1) << i : 0;
    }
    return budgets;
}

static bool parties_have_reserves(const struct rules_party *rules, uint32_t n_rules)
{
    for (uint32_t i = 0; i < n_rules; i++) {
        if (rules[i].reserve_bytes > 0) {
            return true;
        }
    }
    return false;
}

bool rules_have_reserves(const struct rules *rules)
{
    return parties_have_reserves(rules->users, rules->n_users) ||
           parties_have_reserves(rules->units, rules->n_units);
}

/* ----------------------------------------------------------------------------- checking ---- */

struct verdict {
    char *why;
    size_t why_bytes;
    uint64_t reserved_bytes;
};

/* A reserve that its own quota forbids to use. */
static int rule_check(const struct rules_party *rule, const char *kind, uint64_t usual_quota_bytes,
                      struct verdict *verdict)
{
    char reserve[TEXT_BYTES_MAX];
    char quota[TEXT_BYTES_MAX];
    const uint64_t quota_bytes = rule->quota_bytes > 0 ? rule->quota_bytes : usual_quota_bytes;
    const bool is_sum =
        checked_add(verdict->reserved_bytes, rule->reserve_bytes, &verdict->reserved_bytes);
    if (is_sum && (quota_bytes == 0 || rule->reserve_bytes <= quota_bytes)) {
        return 0;
    }
    (void)snprintf(verdict->why, verdict->why_bytes,
                   "%s \"%s\": reserve = %s is more than the %s that its quota allows: lower the "
                   "one, or raise the other",
                   kind, rule->name,
                   text_format_bytes(rule->reserve_bytes, reserve, sizeof(reserve)),
                   text_format_bytes(quota_bytes, quota, sizeof(quota))); /* or it is cut */
    return RULES_E_WRONG;
}

int rules_check(const struct rules *rules, uint64_t segment_bytes, char *ret_why, size_t why_bytes)
{
    struct verdict verdict = {ret_why, why_bytes, 0};
    int r = 0;
    for (uint32_t i = 0; i < rules->n_users && r == 0; i++) {
        r = rule_check(&rules->users[i], "user", rules->quota_per_uid_bytes, &verdict);
    }
    for (uint32_t i = 0; i < rules->n_units && r == 0; i++) {
        r = rule_check(&rules->units[i], "unit", 0, &verdict); /* it may be of several units */
    }
    if (r == 0 && verdict.reserved_bytes > segment_bytes - PAGE_BYTES) {
        char reserved[TEXT_BYTES_MAX];
        char most[TEXT_BYTES_MAX];
        (void)snprintf(
            ret_why, why_bytes,
            "all reserves together are %s, and the segment has %s to give: lower them, or raise "
            "the size",
            text_format_bytes(verdict.reserved_bytes, reserved, sizeof(reserved)),
            text_format_bytes(segment_bytes - PAGE_BYTES, most, sizeof(most))); /* or it is cut */
        r = RULES_E_WRONG;
    }
    return r;
}
