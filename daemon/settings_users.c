/* SPDX-License-Identifier: MIT */
#include "daemon/settings_users.h"

#include <assert.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "daemon/options.h"
#include "daemon/role_names.h"
#include "daemon/setting_values.h"
#include "proto/limits.h"
#include "proto/text.h"

/* What stands for a limit that follows from how many there may be. */
#define HALF "half"
/* More than there can be of connections. */
#define PER_UID_MAX 1000000

static_assert(ROLE_NAME_WHY_BYTES <= SETTING_TEXT_BYTES, "one is printed into the other");

/* ----------------------------------------------------------------------------------- roles ---- */

/* By name, if it has one. */
static bool principal_print(const struct option_principals *principals, uint32_t idx,
                            char *ret_text)
{
    if (idx >= principals->n) {
        return false;
    }
    const struct option_principal *principal = &principals->list[idx];
    const struct group *group = principal->is_group ? getgrgid(principal->id) : NULL;
    const struct passwd *user = principal->is_group ? NULL : getpwuid(principal->id);
    const char *name = group ? group->gr_name : user ? user->pw_name : NULL;
    if (name) {
        (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%s%s", principal->is_group ? "@" : "",
                       name); /* a name that does not fit is none */
    } else {
        (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%s%" PRIu32, principal->is_group ? "@" : "",
                       principal->id); /* fits */
    }
    return true;
}

#define LIST(name)                                                                                 \
    bool settings_##name##_parse(void *place, const char *text, char *ret_why)                     \
    {                                                                                              \
        return role_names_add(&((struct options *)place)->name, text, ret_why) == 0;               \
    }                                                                                              \
    bool settings_##name##_print(const void *place, uint32_t idx, char *ret_text)                  \
    {                                                                                              \
        return principal_print(&((const struct options *)place)->name, idx, ret_text);             \
    }                                                                                              \
    void settings_##name##_clear(void *place)                                                      \
    {                                                                                              \
        ((struct options *)place)->name.n = 0;                                                     \
    }

LIST(members)
LIST(reader_users)
LIST(observers)
LIST(admins)

/* ---------------------------------------------------------------------------------- limits ---- */

#define NUMBER(name)                                                                               \
    bool settings_##name##_parse(void *place, const char *text, char *ret_why)                     \
    {                                                                                              \
        struct options *options = place;                                                           \
        return setting_parse_number(text, HALF, PER_UID_MAX, &options->name, ret_why);             \
    }                                                                                              \
    bool settings_##name##_print(const void *place, uint32_t idx, char *ret_text)                  \
    {                                                                                              \
        setting_print_number(((const struct options *)place)->name, HALF, ret_text);               \
        return idx == 0;                                                                           \
    }

NUMBER(clients_per_uid)
NUMBER(connections_per_uid)
NUMBER(handshakes_per_uid)
NUMBER(shares_per_uid)
NUMBER(holds_per_uid)
NUMBER(names_per_uid)
NUMBER(reasons_per_uid)

/* An answer at least: with less, a peer that is a little slow would be cut off. */
bool settings_queued_per_uid_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    uint64_t num_bytes = 0;
    if (strcmp(text, HALF) != 0 && !setting_parse_bytes(text, false, &num_bytes, ret_why)) {
        return false;
    }
    if (num_bytes > 0 && num_bytes < RESPONSE_MAX_BYTES) {
        char least[TEXT_BYTES_MAX];
        return setting_refuse(ret_why, "%.80s is less than one answer may be, %s", text,
                              text_format_bytes(RESPONSE_MAX_BYTES, least, sizeof(least)));
    }
    options->queued_per_uid = num_bytes;
    return true;
}

bool settings_queued_per_uid_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    if (options->queued_per_uid == 0) {
        setting_print_word(HALF, ret_text);
    } else {
        setting_print_bytes(options->queued_per_uid, ret_text);
    }
    return idx == 0;
}
