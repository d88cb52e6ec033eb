/* SPDX-License-Identifier: MIT */
/*
 * roles.h - what a process may be in the segment, by its user and its groups
 *
 *      role        what it may                                         who has it
 *      member      allocate, share, attach; and what a reader may      lists[ROLES_MEMBERS]
 *      reader      attach for reading; and ask                         lists[ROLES_READERS]
 *      observer    ask, and gets no descriptor ever                    lists[ROLES_OBSERVERS]
 *      admin       ask, and change settings while the daemon runs      lists[ROLES_ADMINS]
 *
 * Root and the daemon's own user have all of them. A role lets a process in; it exempts it from
 * nothing: an admin's blocks, connections and names count like any other user's. Root and the
 * daemon's user are exempt because no limit of the daemon's holds them: they can end it.
 *
 * User and groups are what the kernel said when the process connected. What one names here and its
 * groups say later changes who is let in next; a client stays what it joined as.
 */
#ifndef DAEMON_CORE_ROLES_H
#define DAEMON_CORE_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

/* Bits of a set of roles; 0: it may not even connect. */
#define ROLE_OBSERVER 1U
#define ROLE_READER 2U
#define ROLE_MEMBER 4U
#define ROLE_ADMIN 8U
#define ROLES_ALL (ROLE_OBSERVER | ROLE_READER | ROLE_MEMBER | ROLE_ADMIN)

enum role_list { ROLES_MEMBERS, ROLES_READERS, ROLES_OBSERVERS, ROLES_ADMINS, N_ROLE_LISTS };

/* 64, and the one group that is named by itself: a list that is longer wants a group. */
#define PRINCIPALS_MAX 65

/* A user, or the members of a group. */
struct principal {
    bool is_group;
    uint32_t id;
};

struct principals {
    struct principal list[PRINCIPALS_MAX];
    uint32_t n;
};

struct roles {
    uint32_t owner_uid; /* the daemon's own user */
    struct principals lists[N_ROLE_LISTS];
};

/* A process, as the kernel told of it when it connected. */
struct roles_peer {
    uint32_t uid;
    uint32_t gid;
    const uint32_t *groups; /* the others that it is in */
    size_t n_groups;
};

enum {
    ROLES_OK,
    ROLES_E_FULL, /* the list has PRINCIPALS_MAX already */
};

/** roles_add() - let a user, or a group, have the role of a list. Return: 0 or ROLES_E_FULL. */
KMEM_MUST_USE int roles_add(struct roles *roles, enum role_list list, struct principal principal);

/**
 * roles_of() - the roles that a process has
 *
 * The user that the kernel shows for all those without a number here (OVERFLOW_ID) has none, unless
 * it is the daemon's own; nor has such a group.
 */
unsigned roles_of(const struct roles *roles, const struct roles_peer *peer);

/* What the kernel shows for a user or group that has no number in this namespace. */
#define OVERFLOW_ID UINT32_C(65534)

#endif
