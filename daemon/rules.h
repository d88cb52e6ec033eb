/* SPDX-License-Identifier: MIT */
/*
 * rules.h - the administrator's rules about memory: quotas, reserves, priorities and budgets
 *
 * Data, and what of it concerns a user, a unit or a reason. How much each has is in accounts.h. The
 * shell fills it from the configuration; a rule that is not there is all 0, which limits nothing.
 *
 *      user, unit   quota      all its clients together may have at most that
 *                   reserve    others leave it that much
 *                   priority   unused memory is taken from lower ones first
 *      budget       max        all blocks with such a reason together
 *
 * A user has one rule, a unit the first whose pattern its name matches. Of a unit's rule the quota
 * is for each unit that matches, and the reserve for all of them together.
 */
#ifndef DAEMON_RULES_H
#define DAEMON_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/limits.h"

/* 64 of each: more than is written by hand; fewer, and a machine of many services would not fit. */
#define RULES_PARTIES_MAX 64
/* 32: a reason's budgets are bits of a word. */
#define RULES_BUDGETS_MAX 32
/* Priorities, in both directions. */
#define RULES_PRIORITY_MAX 100

struct rules_party {
    char name[UNIT_NAME_BYTES]; /* the user's; of units: the pattern of their names */
    uint32_t uid;               /* the user */
    int32_t priority;
    uint64_t quota_bytes;        /* 0: what is so for all */
    uint64_t client_quota_bytes; /* for each client; 0: what is so for all */
    uint64_t reserve_bytes;
};

struct rules_budget {
    char pattern[GLOB_MAX_BYTES + 1];
    uint64_t max_bytes;
    bool denies; /* else it warns */
};

struct rules {
    uint64_t quota_per_uid_bytes; /* these two: where no rule says otherwise; 0: none */
    uint64_t quota_per_unit_bytes;
    uint32_t n_users;
    uint32_t n_units;
    uint32_t n_budgets;
    struct rules_party users[RULES_PARTIES_MAX];
    struct rules_party units[RULES_PARTIES_MAX];
    struct rules_budget budgets[RULES_BUDGETS_MAX];
};

/* What rules_of_x() say where there is no rule. */
#define RULES_NONE UINT32_MAX

/** rules_of_user() - which of the users' rules is a user's; RULES_NONE: none */
uint32_t rules_of_user(const struct rules *rules, uint32_t uid);

/** rules_of_unit() - the first of the units' rules that a name matches */
uint32_t rules_of_unit(const struct rules *rules, const char *unit);

/** rules_budgets_of() - a bit for each budget that a reason falls under */
uint32_t rules_budgets_of(const struct rules *rules, const char *reason, size_t n_bytes);

/** rules_denying() - the bits of the budgets that deny */
uint32_t rules_denying(const struct rules *rules);

/** rules_have_reserves() - whether any memory is reserved */
bool rules_have_reserves(const struct rules *rules);

enum { RULES_OK, RULES_E_WRONG };

/**
 * rules_check() - whether the rules can be kept, in a segment of that size
 * @ret_why:  a sentence that says which can not, and why
 * Return: 0 or RULES_E_WRONG.
 */
KMEM_MUST_USE int rules_check(const struct rules *rules, uint64_t segment_bytes, char *ret_why,
                              size_t why_bytes);

#endif
