/* SPDX-License-Identifier: MIT */
#include "daemon/core/caps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int caps_init(struct caps *caps, const uint32_t limits[N_CAPS], uint32_t owner_uid)
{
    return caps_init_for(caps, limits, owner_uid, CAPS_USERS_MAX);
}

int caps_init_for(struct caps *caps, const uint32_t limits[N_CAPS], uint32_t owner_uid,
                  uint32_t n_most)
{
    *caps = (struct caps){
        .users = calloc((size_t)n_most + 1, sizeof(*caps->users)),
        .n_most = n_most,
        .buckets = calloc(CAPS_BUCKETS, sizeof(*caps->buckets)),
        .n_records = 1,
        .owner_uid = owner_uid,
    };
    caps_set(caps, limits);
    if (!caps->users || !caps->buckets) {
        caps_fini(caps);
        return -ENOMEM;
    }
    return 0;
}

void caps_fini(struct caps *caps)
{
    free(caps->users);
    free(caps->buckets);
    *caps = (struct caps){.users = NULL};
}

void caps_set(struct caps *caps, const uint32_t limits[N_CAPS])
{
    memcpy(caps->limits, limits, sizeof(caps->limits));
}

static uint32_t *bucket_of(const struct caps *caps, uint32_t uid)
{
    return &caps->buckets[(uid * UINT32_C(0x9e3779b1) >> 16) % CAPS_BUCKETS];
}

/* 0: it has nothing. */
static uint32_t user_find(const struct caps *caps, uint32_t uid)
{
    uint32_t user = *bucket_of(caps, uid);
    while (user != 0 && caps->users[user].uid != uid) {
        user = caps->users[user].next;
    }
    return user;
}

static uint32_t user_add(struct caps *caps, uint32_t uid)
{
    uint32_t *first = bucket_of(caps, uid);
    uint32_t user = caps->free_user;
    if (user != 0) {
        caps->free_user = caps->users[user].next;
    } else {
        user = caps->n_records++;
        KMEM_ASSERT(user <= caps->n_most);
    }
    caps->users[user] = (struct caps_user){.uid = uid, .next = *first};
    *first = user;
    caps->n_users++;
    return user;
}

static bool user_has_none(const struct caps_user *user)
{
    static const uint32_t none[N_CAPS];
    return memcmp(user->counts, none, sizeof(none)) == 0;
}

static void user_remove(struct caps *caps, uint32_t user)
{
    uint32_t *at = bucket_of(caps, caps->users[user].uid);
    while (*at != user) {
        KMEM_ASSERT(*at != 0);
        at = &caps->users[*at].next;
    }
    *at = caps->users[user].next;
    caps->users[user].next = caps->free_user;
    caps->free_user = user;
    caps->n_users--;
}

static bool is_limited(const struct caps *caps, uint32_t uid)
{
    return uid != 0 && uid != caps->owner_uid;
}

uint32_t caps_room(const struct caps *caps, enum cap cap, uint32_t uid)
{
    const uint32_t limit = caps->limits[cap];
    const uint32_t count = caps_count(caps, cap, uid);
    if (limit == 0 || !is_limited(caps, uid)) {
        return UINT32_MAX;
    }
    return count < limit ? limit - count : 0;
}

bool caps_may_have(const struct caps *caps, enum cap cap, uint32_t uid)
{
    return caps_room(caps, cap, uid) > 0;
}

void caps_add(struct caps *caps, enum cap cap, uint32_t uid)
{
    const uint32_t found = user_find(caps, uid);
    const uint32_t user = found != 0 ? found : user_add(caps, uid);
    caps->users[user].counts[cap]++;
}

void caps_remove(struct caps *caps, enum cap cap, uint32_t uid)
{
    const uint32_t user = user_find(caps, uid);
    KMEM_ASSERT(user != 0);
    KMEM_ASSERT(caps->users[user].counts[cap] > 0);
    caps->users[user].counts[cap]--;
    if (user_has_none(&caps->users[user])) {
        user_remove(caps, user);
    }
}

uint32_t caps_count(const struct caps *caps, enum cap cap, uint32_t uid)
{
    return caps->users[user_find(caps, uid)].counts[cap]; /* the first has none */
}

uint32_t caps_most(const struct caps *caps, enum cap cap)
{
    uint32_t most = 0;
    for (uint32_t user = 1; user < caps->n_records; user++) {
        const uint32_t count = caps->users[user].counts[cap];
        most = count > most && is_limited(caps, caps->users[user].uid) ? count : most;
    }
    return most;
}

bool caps_same(const struct caps *one, const struct caps *other)
{
    uint32_t n_users = 0;
    for (uint32_t user = 1; user < one->n_records; user++) {
        const struct caps_user *has = &one->users[user];
        const struct caps_user *wanted = &other->users[user_find(other, has->uid)];
        const bool is_free = user_has_none(has);
        n_users += !is_free;
        if (!is_free && memcmp(has->counts, wanted->counts, sizeof(has->counts)) != 0) {
            return false;
        }
    }
    return n_users == one->n_users && one->n_users == other->n_users;
}
