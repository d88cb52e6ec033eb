/* SPDX-License-Identifier: MIT */
/*
 * account.h - what one user has, or one unit: see accounts.h
 */
#ifndef DAEMON_CORE_ACCOUNT_H
#define DAEMON_CORE_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/limits.h"

struct account {
    uint32_t uid; /* of a user */
    char unit[UNIT_NAME_BYTES];
    uint32_t rule; /* RULES_NONE: none */
    uint32_t n_clients;
    uint64_t charged_bytes;
    uint64_t kept_bytes;
    uint64_t *rule_bytes; /* what all accounts with that rule have; NULL: there is no rule */
};

/** account_charge() - bytes are charged to what it counts, or fewer are; NULL: to nothing */
static inline void account_charge(struct account *account, uint64_t num_bytes)
{
    if (account) {
        account->charged_bytes += num_bytes;
        if (account->rule_bytes) {
            *account->rule_bytes += num_bytes;
        }
    }
}

static inline void account_discharge(struct account *account, uint64_t num_bytes)
{
    if (account) {
        KMEM_ASSERT(account->charged_bytes >= num_bytes);
        account->charged_bytes -= num_bytes;
        if (account->rule_bytes) {
            *account->rule_bytes -= num_bytes;
        }
    }
}

#endif
