/* SPDX-License-Identifier: MIT */
#include "daemon/core/roles.h"

/* What comes with the role of each list. */
static const unsigned implied[N_ROLE_LISTS] = {
    [ROLES_MEMBERS] = ROLE_MEMBER | ROLE_READER | ROLE_OBSERVER,
    [ROLES_READERS] = ROLE_READER | ROLE_OBSERVER,
    [ROLES_OBSERVERS] = ROLE_OBSERVER,
    [ROLES_ADMINS] = ROLE_ADMIN | ROLE_OBSERVER,
};

int roles_add(struct roles *roles, enum role_list list, struct principal principal)
{
    struct principals *principals = &roles->lists[list];
    if (principals->n == PRINCIPALS_MAX) {
        return ROLES_E_FULL;
    }
    principals->list[principals->n++] = principal;
    return 0;
}

static bool is_in_group(const struct roles_peer *peer, uint32_t group)
{
    if (group == OVERFLOW_ID) {
        return false;
    }
    bool is_in = peer->gid == group;
    for (size_t i = 0; i < peer->n_groups && !is_in; i++) {
        is_in = peer->groups[i] == group;
    }
    return is_in;
}

static bool is_named(const struct principals *principals, const struct roles_peer *peer)
{
    for (uint32_t i = 0; i < principals->n; i++) {
        const struct principal *principal = &principals->list[i];
        if (principal->is_group ? is_in_group(peer, principal->id) : principal->id == peer->uid) {
            return true;
        }
    }
    return false;
}

unsigned roles_of(const struct roles *roles, const struct roles_peer *peer)
{
    unsigned has = 0;
    if (peer->uid == 0 || peer->uid == roles->owner_uid) {
        return ROLES_ALL;
    }
    for (uint32_t list = 0; list < N_ROLE_LISTS && peer->uid != OVERFLOW_ID; list++) {
        has |= is_named(&roles->lists[list], peer) ? implied[list] : 0;
    }
    return has;
}
