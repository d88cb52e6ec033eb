/* SPDX-License-Identifier: MIT */
/*
 * budgets.h - what direct blocks have by the budget that their reasons fall under
 *
 *      used_bytes[i] == sum over the reasons with bit i, of their direct blocks   : budgets_check()
 *
 * Leased blocks are in ledgers that clients write, by which nothing is decided. So of a reason that
 * falls under a budget that denies clients are told to have direct blocks only (Allocated), and
 * what a budget that warns is compared with is what the last look at all blocks saw: seen_bytes.
 */
#ifndef DAEMON_CORE_BUDGETS_H
#define DAEMON_CORE_BUDGETS_H

#include <stdint.h>

#include "daemon/rules.h"
#include "daemon/core/reasons.h"
#include "proto/attributes.h"

struct budgets {
    const struct rules *rules; /* never NULL */
    const struct reasons *reasons;
    uint32_t *budgets_of; /* by reason: a bit for each */
    uint32_t denying;
    uint32_t generation; /* another number for other rules, 0: none denies */
    uint64_t used_bytes[RULES_BUDGETS_MAX];
    uint64_t seen_bytes[RULES_BUDGETS_MAX]; /* of leased blocks: budgets_seen.h */
    uint32_t exceeded;                      /* those that warn, when it was looked last */
};

/** budgets_init() - @rules: borrowed; NULL: no rules. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int budgets_init(struct budgets *budgets, const struct rules *rules,
                               const struct reasons *reasons);

void budgets_fini(struct budgets *budgets);

/** budgets_set_rules() - other rules from now on; NULL: none */
void budgets_set_rules(struct budgets *budgets, const struct rules *rules);

/** budgets_charge() - a direct block has just been counted in its reason */
void budgets_charge(struct budgets *budgets, uint32_t reason, uint64_t num_bytes);

/** budgets_discharge() - it is about to be counted there no more */
void budgets_discharge(struct budgets *budgets, uint32_t reason, uint64_t num_bytes);

/** budgets_exceeded() - the first of the denying budgets that num_bytes more would exceed
 * Return: its number, or RULES_BUDGETS_MAX.
 */
uint32_t budgets_exceeded(const struct budgets *budgets, uint32_t budgets_of, uint64_t num_bytes);

/** budgets_add() - add bytes to the sums of the budgets that a reason falls under */
void budgets_add(uint64_t sums[RULES_BUDGETS_MAX], uint32_t budgets_of, uint64_t num_bytes);

/** budget_bytes() - what is live under a budget, as far as it is known */
static inline uint64_t budget_bytes(const struct budgets *budgets, uint32_t budget)
{
    return budgets->used_bytes[budget] + budgets->seen_bytes[budget];
}

enum { BUDGETS_OK, BUDGETS_E_CORRUPT };

/** budgets_check() - recount. Return: 0 or BUDGETS_E_CORRUPT. */
KMEM_MUST_USE int budgets_check(const struct budgets *budgets);

#endif
