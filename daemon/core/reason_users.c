/* SPDX-License-Identifier: MIT */
#include "daemon/core/reason_users.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/state.h"

static uint32_t buckets_for(uint32_t n_pairs)
{
    uint32_t n_buckets = 64;
    while (n_buckets < n_pairs && n_buckets < REASON_USERS_BUCKETS) {
        n_buckets *= 2;
    }
    return n_buckets;
}

int reason_users_init(struct reason_users *users, struct caps *caps)
{
    return reason_users_init_for(users, caps, REASON_USERS_MAX);
}

int reason_users_init_for(struct reason_users *users, struct caps *caps, uint32_t n_most)
{
    const uint32_t n_buckets = buckets_for(n_most);
    *users = (struct reason_users){
        .caps = caps,
        .pairs = calloc((size_t)n_most + 1, sizeof(*users->pairs)),
        .buckets = calloc(n_buckets, sizeof(*users->buckets)),
        .n_most = n_most,
        .bucket_mask = n_buckets - 1,
        .n_records = 1,
    };
    if (!users->pairs || !users->buckets) {
        reason_users_fini(users);
        return -ENOMEM;
    }
    return 0;
}

void reason_users_fini(struct reason_users *users)
{
    free(users->pairs);
    free(users->buckets);
    *users = (struct reason_users){.pairs = NULL};
}

/* Reasons of one user lie side by side. */
static uint32_t *bucket_of(const struct reason_users *users, uint32_t reason, uint32_t uid)
{
    return &users->buckets[(uid * UINT32_C(0x9e3779b1) + reason) & users->bucket_mask];
}

/* 0: there is none. */
static uint32_t pair_find(const struct reason_users *users, uint32_t reason, uint32_t uid)
{
    uint32_t pair = *bucket_of(users, reason, uid);
    while (pair != 0 && (users->pairs[pair].reason != reason || users->pairs[pair].uid != uid)) {
        pair = users->pairs[pair].next;
    }
    return pair;
}

/* 0: there is no place. */
static uint32_t pair_add(struct reason_users *users, uint32_t reason, uint32_t uid)
{
    uint32_t *first = bucket_of(users, reason, uid);
    uint32_t pair = users->free_pair;
    if (pair != 0) {
        users->free_pair = users->pairs[pair].next;
    } else if (users->n_records <= users->n_most) {
        pair = users->n_records++;
    } else {
        return 0;
    }
    users->pairs[pair] = (struct reason_user){.reason = reason, .uid = uid, .next = *first};
    *first = pair;
    users->n_pairs++;
    caps_add(users->caps, CAP_REASONS, uid);
    return pair;
}

static void pair_remove(struct reason_users *users, uint32_t pair)
{
    struct reason_user *gone = &users->pairs[pair];
    uint32_t *at = bucket_of(users, gone->reason, gone->uid);
    while (*at != pair) {
        KMEM_ASSERT(*at != 0);
        at = &users->pairs[*at].next;
    }
    *at = gone->next;
    gone->next = users->free_pair;
    users->free_pair = pair;
    users->n_pairs--;
    caps_remove(users->caps, CAP_REASONS, gone->uid);
}

bool reason_users_may(const struct reason_users *users, uint32_t reason, uint32_t uid)
{
    if (reason != 0 && (users->is_short || pair_find(users, reason, uid) != 0)) {
        return true;
    }
    return users->n_pairs < users->n_most / 2 && caps_may_have(users->caps, CAP_REASONS, uid);
}

void reason_users_add(struct reason_users *users, uint32_t reason, uint32_t uid)
{
    if (reason < REASONS_RESERVED) {
        return;
    }
    const uint32_t found = pair_find(users, reason, uid);
    const uint32_t pair = found != 0 ? found : pair_add(users, reason, uid);
    users->is_short = users->is_short || pair == 0;
    users->pairs[pair].n += pair != 0;
}

void reason_users_remove(struct reason_users *users, uint32_t reason, uint32_t uid)
{
    if (reason < REASONS_RESERVED) {
        return;
    }
    const uint32_t pair = pair_find(users, reason, uid);
    KMEM_ASSERT(pair != 0 || users->is_short);
    if (pair != 0 && --users->pairs[pair].n == 0) {
        pair_remove(users, pair);
    }
}

uint32_t reason_users_count(const struct reason_users *users, uint32_t reason, uint32_t uid)
{
    return users->pairs[pair_find(users, reason, uid)].n; /* the first has none */
}
