/* SPDX-License-Identifier: MIT */
#include "daemon/role_names.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

/* A user or group need not have a name, as in a container. */
static bool number_parse(const char *text, uint32_t *ret_id)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    /* The last one means "leave it as it is" to chown(). */
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno || number >= UINT32_MAX) {
        return false;
    }
    *ret_id = (uint32_t)number;
    return true;
}

static bool user_find(const char *name, uint32_t *ret_id)
{
    const struct passwd *user = getpwnam(name);
    if (user) {
        *ret_id = user->pw_uid;
    }
    return user || number_parse(name, ret_id);
}

static bool group_find(const char *name, uint32_t *ret_id)
{
    const struct group *group = getgrnam(name);
    if (group) {
        *ret_id = group->gr_gid;
    }
    return group || number_parse(name, ret_id);
}

int role_names_add(struct option_principals *principals, const char *text, char *ret_why)
{
    struct option_principal principal = {.is_group = text[0] == '@'};
    const char *name = text + principal.is_group;
    const char *kind = principal.is_group ? "group" : "user";
    if (!(principal.is_group ? group_find : user_find)(name, &principal.id)) {
        (void)snprintf(ret_why, ROLE_NAME_WHY_BYTES, "there is no %s \"%s\"", kind, name); /* cut */
        return ROLE_NAMES_E_UNKNOWN;
    }
    if (principal.id == ROLE_NAME_OVERFLOW) {
        (void)snprintf(ret_why, ROLE_NAME_WHY_BYTES,
                       "%s \"%s\" is %d, which stands for every %s that has no number here: name "
                       "another",
                       kind, name, ROLE_NAME_OVERFLOW, kind); /* cut */
        return ROLE_NAMES_E_UNKNOWN;
    }
    if (principals->n == OPTION_PRINCIPALS_MAX) {
        (void)snprintf(ret_why, ROLE_NAME_WHY_BYTES,
                       "more than %d users and groups are named: make a group of them",
                       OPTION_PRINCIPALS_MAX); /* fits */
        return ROLE_NAMES_E_FULL;
    }
    principals->list[principals->n++] = principal;
    return 0;
}
