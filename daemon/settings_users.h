/* SPDX-License-Identifier: MIT */
/*
 * settings_users.h - settings of what a user may be, and of how much one may have
 */
#ifndef DAEMON_SETTINGS_USERS_H
#define DAEMON_SETTINGS_USERS_H

#include <stdbool.h>
#include <stdint.h>

/* Of a list of users and groups, and of a number: as struct setting wants them. */
#define SETTINGS_USERS_LIST(name)                                                                  \
    bool settings_##name##_parse(void *place, const char *text, char *ret_why);                    \
    bool settings_##name##_print(const void *place, uint32_t idx, char *ret_text);                 \
    void settings_##name##_clear(void *place);
#define SETTINGS_USERS_NUMBER(name)                                                                \
    bool settings_##name##_parse(void *place, const char *text, char *ret_why);                    \
    bool settings_##name##_print(const void *place, uint32_t idx, char *ret_text);

SETTINGS_USERS_LIST(members)
SETTINGS_USERS_LIST(reader_users)
SETTINGS_USERS_LIST(observers)
SETTINGS_USERS_LIST(admins)
SETTINGS_USERS_NUMBER(clients_per_uid)
SETTINGS_USERS_NUMBER(connections_per_uid)
SETTINGS_USERS_NUMBER(handshakes_per_uid)
SETTINGS_USERS_NUMBER(shares_per_uid)
SETTINGS_USERS_NUMBER(holds_per_uid)
SETTINGS_USERS_NUMBER(names_per_uid)
SETTINGS_USERS_NUMBER(reasons_per_uid)
SETTINGS_USERS_NUMBER(queued_per_uid)

#endif
