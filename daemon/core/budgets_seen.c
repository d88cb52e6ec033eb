/* SPDX-License-Identifier: MIT */
#include "daemon/core/budgets_seen.h"

#include <string.h>

/* 1,024: the largest; a client can have so many reasons that to compare all would take a while. */
#define SEEN_GROUPS 1024

/* What all blocks have, direct ones too. */
static void sum_up(const struct rules *rules, const struct rollup *rollup,
                   uint64_t ret_sums[RULES_BUDGETS_MAX])
{
    const size_t n_groups = rollup_n_groups(rollup);
    memset(ret_sums, 0, RULES_BUDGETS_MAX * sizeof(ret_sums[0]));
    for (size_t i = 0; i < n_groups && i < SEEN_GROUPS; i++) {
        const struct rollup_group *group = rollup_group(rollup, i);
        budgets_add(ret_sums, rules_budgets_of(rules, group->key, strlen(group->key)),
                    group->num_bytes);
    }
}

uint32_t budgets_see(struct budgets *budgets, const struct rollup *rollup)
{
    uint64_t sums[RULES_BUDGETS_MAX];
    const uint32_t before = budgets->exceeded;
    const struct rules *rules = budgets->rules;
    if (rules->n_budgets == 0) {
        return 0;
    }
    sum_up(rules, rollup, sums);
    budgets->exceeded = 0;
    for (uint32_t i = 0; i < rules->n_budgets; i++) {
        const uint64_t used_bytes = budgets->used_bytes[i];
        budgets->seen_bytes[i] = sums[i] > used_bytes ? sums[i] - used_bytes : 0;
        if (!rules->budgets[i].denies && budget_bytes(budgets, i) > rules->budgets[i].max_bytes) {
            budgets->exceeded |= UINT32_C(1) << i;
        }
    }
    return budgets->exceeded & ~before;
}
