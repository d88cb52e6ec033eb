/* SPDX-License-Identifier: MIT */
/*
 * reason_users.h - which users have a reason, and by how many blocks and records
 *
 * A reason's place in the table is every user's that has something with it, and counts for each of
 * them: what one user has with another's reason is no charge on that one, and does not keep it
 * charged. The first two reasons, which are for ever, count for nobody.
 *
 *      a pair's n == the direct blocks of the user's clients, the shares that count for it, and the
 *                    holds of its clients, that have the reason        : reasons_check()
 *      a user's pairs == its count of CAP_REASONS
 *
 * A new pair is refused from half of the table on: the other half is for pairs that come about
 * without being asked for, when another user is charged for a block. If even that is full they are
 * not counted, and `is_short` says so until the next start.
 */
#ifndef DAEMON_CORE_REASON_USERS_H
#define DAEMON_CORE_REASON_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/caps.h"
#include "proto/attributes.h"
#include "proto/limits.h"

/* 4 for each reason: most are one user's; 16 bytes each, touched as they are used. */
#define REASON_USERS_MAX (UINT32_C(4) * REASONS_MAX)
#define REASON_USERS_BUCKETS ((uint32_t)REASONS_MAX) /* a power of two */

struct reason_user {
    uint32_t reason;
    uint32_t uid;
    uint32_t n;    /* 0: the place is free */
    uint32_t next; /* in its bucket, or of the free ones; 0: none */
};

struct reason_users {
    struct caps *caps;
    struct reason_user *pairs; /* the first is none */
    uint32_t *buckets;
    uint32_t free_pair;
    uint32_t n_most; /* places, beside the first */
    uint32_t bucket_mask;
    uint32_t n_records;
    uint32_t n_pairs;
    bool is_short; /* some were not counted */
};

/** reason_users_init() - no user has a reason. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int reason_users_init(struct reason_users *users, struct caps *caps);

/** reason_users_init_for() - the same, for n_most pairs at most: to count again what is few */
KMEM_MUST_USE int reason_users_init_for(struct reason_users *users, struct caps *caps,
                                        uint32_t n_most);

void reason_users_fini(struct reason_users *users);

/** reason_users_may() - whether a user may have one more with a reason; 0: with a new one */
bool reason_users_may(const struct reason_users *users, uint32_t reason, uint32_t uid);

/** reason_users_add() - a user has one more, whether it may or not. _remove(): one less */
void reason_users_add(struct reason_users *users, uint32_t reason, uint32_t uid);
void reason_users_remove(struct reason_users *users, uint32_t reason, uint32_t uid);

/** reason_users_count() - how many a user has */
uint32_t reason_users_count(const struct reason_users *users, uint32_t reason, uint32_t uid);

#endif
