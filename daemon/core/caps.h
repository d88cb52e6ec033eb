/* SPDX-License-Identifier: MIT */
/*
 * caps.h - how much of each table one user may take, and how much it has
 *
 * Tables are for all: shares, holds, names, reasons of direct blocks. Without a cap one user fills
 * one, and the others are refused. What a record counts for:
 *
 *      share       the user that is charged for its block; when none is, the last that was
 *      hold        the holder's user
 *      name        the user that published it, whether that client lives or not
 *      reason      each user that has a direct block, a share or a hold with it: reason_users.h
 *
 *      a user's count == the records that count for it      : caps_same(), with a recount
 *
 * Root and the daemon's own user are counted and not limited. There are never more users than
 * records, clients apart, so the table has a place for each, and counting does not fail. Counts are
 * of this process: a start counts the records again.
 */
#ifndef DAEMON_CORE_CAPS_H
#define DAEMON_CORE_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/limits.h"
#include "proto/share.h"

enum cap { CAP_SHARES, CAP_HOLDS, CAP_NAMES, CAP_REASONS, N_CAPS };

/* Those that a share or a name counts for, those of clients, and the daemon's own. */
#define CAPS_USERS_MAX (SHARES_MAX + SHARE_NAMES_MAX + CLIENTS_MAX + 1)
#ifndef CAPS_BUCKETS /* the check of a core makes such a table each time */
/* 4,096: a user in each if there are as many as clients; most have a few. */
#define CAPS_BUCKETS 4096
#endif

struct caps_user {
    uint32_t uid;
    uint32_t next; /* in its bucket, or of the free ones; 0: none */
    uint32_t counts[N_CAPS];
};

struct caps {
    struct caps_user *users; /* the first is none */
    uint32_t *buckets;
    uint32_t n_most; /* places, beside the first */
    uint32_t free_user;
    uint32_t n_records; /* users below this have been used */
    uint32_t n_users;
    uint32_t limits[N_CAPS]; /* of one user */
    uint32_t owner_uid;
};

/**
 * caps_init() - nobody has anything
 * @limits:  by cap; 0: there is none
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int caps_init(struct caps *caps, const uint32_t limits[N_CAPS], uint32_t owner_uid);

/** caps_init_for() - the same, for n_most users at most: to count again what is few */
KMEM_MUST_USE int caps_init_for(struct caps *caps, const uint32_t limits[N_CAPS],
                                uint32_t owner_uid, uint32_t n_most);

void caps_fini(struct caps *caps);

/** caps_set() - other limits; what a user has beyond them it keeps */
void caps_set(struct caps *caps, const uint32_t limits[N_CAPS]);

/** caps_may_have() - whether a user may have one more */
bool caps_may_have(const struct caps *caps, enum cap cap, uint32_t uid);

/** caps_room() - how many more it may have; UINT32_MAX: any number */
uint32_t caps_room(const struct caps *caps, enum cap cap, uint32_t uid);

/** caps_add() - it has one more, whether it may or not. caps_remove(): one less */
void caps_add(struct caps *caps, enum cap cap, uint32_t uid);
void caps_remove(struct caps *caps, enum cap cap, uint32_t uid);

/** caps_count() - how many a user has */
uint32_t caps_count(const struct caps *caps, enum cap cap, uint32_t uid);

/** caps_most() - how many the limited user with the most has */
uint32_t caps_most(const struct caps *caps, enum cap cap);

/** caps_same() - whether two have counted the same */
bool caps_same(const struct caps *one, const struct caps *other);

#endif
