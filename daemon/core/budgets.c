/* SPDX-License-Identifier: MIT */
#include "daemon/core/budgets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct rules no_rules;

/* FNV-1a over the patterns of those that deny, so that each server says the same. */
static uint32_t generation_of(const struct rules *rules)
{
    uint32_t hash = 0;
    for (uint32_t i = 0; i < rules->n_budgets; i++) {
        const char *at = rules->budgets[i].denies ? rules->budgets[i].pattern : NULL;
        hash = at && hash == 0 ? UINT32_C(0x811c9dc5) : hash;
        for (; at && *at != '\0'; at++) {
            hash = (hash ^ (unsigned char)*at) * UINT32_C(0x01000193);
        }
        hash = at ? (hash ^ '/') * UINT32_C(0x01000193) | 1 : hash;
    }
    return hash;
}

static void rules_take(struct budgets *budgets, const struct rules *rules)
{
    budgets->rules = rules ? rules : &no_rules;
    budgets->denying = rules_denying(budgets->rules);
    budgets->generation = generation_of(budgets->rules);
}

int budgets_init(struct budgets *budgets, const struct rules *rules, const struct reasons *reasons)
{
    *budgets = (struct budgets){
        .reasons = reasons,
        .budgets_of = calloc(REASONS_MAX, sizeof(*budgets->budgets_of)),
    };
    rules_take(budgets, rules);
    return budgets->budgets_of ? 0 : -ENOMEM;
}

void budgets_fini(struct budgets *budgets)
{
    free(budgets->budgets_of);
    *budgets = (struct budgets){.rules = &no_rules};
}

static uint32_t budgets_of_reason(const struct budgets *budgets, uint32_t reason)
{
    size_t n_bytes;
    const char *text = reasons_text(budgets->reasons, reason, &n_bytes);
    return rules_budgets_of(budgets->rules, text, n_bytes);
}

void budgets_add(uint64_t sums[RULES_BUDGETS_MAX], uint32_t budgets_of, uint64_t num_bytes)
{
    for (; budgets_of != 0; budgets_of &= budgets_of - 1) {
        sums[__builtin_ctz(budgets_of)] += num_bytes;
    }
}

/* What direct blocks have, by what is known of their reasons. */
static void recount(const struct budgets *budgets, uint64_t ret_sums[RULES_BUDGETS_MAX])
{
    memset(ret_sums, 0, RULES_BUDGETS_MAX * sizeof(ret_sums[0]));
    for (uint32_t id = 0; id < budgets->reasons->n_ids; id++) {
        const struct reason_totals totals = reasons_totals(budgets->reasons, id);
        if (totals.n_blocks > 0) {
            budgets_add(ret_sums, budgets->budgets_of[id], totals.num_bytes);
        }
    }
}

void budgets_set_rules(struct budgets *budgets, const struct rules *rules)
{
    rules_take(budgets, rules);
    for (uint32_t id = 0; id < budgets->reasons->n_ids; id++) {
        if (reasons_totals(budgets->reasons, id).n_blocks > 0) {
            budgets->budgets_of[id] = budgets_of_reason(budgets, id);
        }
    }
    recount(budgets, budgets->used_bytes);
    memset(budgets->seen_bytes, 0, sizeof(budgets->seen_bytes));
    budgets->exceeded = 0;
}

void budgets_charge(struct budgets *budgets, uint32_t reason, uint64_t num_bytes)
{
    if (budgets->rules->n_budgets == 0) {
        return;
    }
    if (reasons_totals(budgets->reasons, reason).n_blocks == 1) {
        budgets->budgets_of[reason] = budgets_of_reason(budgets, reason);
    }
    budgets_add(budgets->used_bytes, budgets->budgets_of[reason], num_bytes);
}

void budgets_discharge(struct budgets *budgets, uint32_t reason, uint64_t num_bytes)
{
    if (budgets->rules->n_budgets == 0) {
        return;
    }
    for (uint32_t rest = budgets->budgets_of[reason]; rest != 0; rest &= rest - 1) {
        uint64_t *used_bytes = &budgets->used_bytes[__builtin_ctz(rest)];
        KMEM_ASSERT(*used_bytes >= num_bytes);
        *used_bytes -= num_bytes;
    }
}

uint32_t budgets_exceeded(const struct budgets *budgets, uint32_t budgets_of, uint64_t num_bytes)
{
    for (uint32_t rest = budgets_of & budgets->denying; rest != 0; rest &= rest - 1) {
        const uint32_t budget = (uint32_t)__builtin_ctz(rest);
        uint64_t sum_bytes;
        if (!checked_add(budgets->used_bytes[budget], num_bytes, &sum_bytes) ||
            sum_bytes > budgets->rules->budgets[budget].max_bytes) {
            return budget;
        }
    }
    return RULES_BUDGETS_MAX;
}

int budgets_check(const struct budgets *budgets)
{
    uint64_t sums[RULES_BUDGETS_MAX];
    if (budgets->rules->n_budgets == 0) {
        return 0;
    }
    for (uint32_t id = 0; id < budgets->reasons->n_ids; id++) {
        if (reasons_totals(budgets->reasons, id).n_blocks > 0 &&
            budgets->budgets_of[id] != budgets_of_reason(budgets, id)) {
            return BUDGETS_E_CORRUPT;
        }
    }
    recount(budgets, sums);
    return memcmp(sums, budgets->used_bytes, sizeof(sums)) == 0 ? 0 : BUDGETS_E_CORRUPT;
}
