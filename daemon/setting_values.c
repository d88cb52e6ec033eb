/* SPDX-License-Identifier: MIT */
#include "daemon/setting_values.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/role_names.h"
#include "proto/text.h"

bool setting_refuse(char *ret_why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ret_why, SETTING_TEXT_BYTES, format, args); /* too long: cut */
    va_end(args);
    return false;
}

bool setting_parse_bytes(const char *text, bool none, uint64_t *ret_num_bytes, char *ret_why)
{
    if (none && strcmp(text, "none") == 0) {
        *ret_num_bytes = 0;
        return true;
    }
    if (text_parse_bytes(text, ret_num_bytes) || (none && *ret_num_bytes == 0)) {
        return setting_refuse(ret_why, "\"%.80s\" is no size: write 4096, 256MiB, 2G or 1.5GiB%s",
                              text, none ? ", or none" : "");
    }
    return true;
}

void setting_print_bytes(uint64_t num_bytes, char *ret_text)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    while (unit < 4 && num_bytes > 0 && num_bytes % 1024 == 0) {
        num_bytes /= 1024;
        unit++;
    }
    if (num_bytes == 0) {
        setting_print_word("none", ret_text);
    } else {
        (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%" PRIu64 "%s", num_bytes, units[unit]);
    }
}

bool setting_parse_number(const char *text, const char *zero, uint32_t most, uint32_t *ret_number,
                          char *ret_why)
{
    char *end;
    if (zero && strcmp(text, zero) == 0) {
        *ret_number = 0;
        return true;
    }
    const unsigned long number = isdigit((unsigned char)text[0]) ? strtoul(text, &end, 10) : 0;
    if (number == 0 || *end != '\0' || number > most) {
        return setting_refuse(ret_why, "\"%.80s\" is no number from 1 to %" PRIu32 "%s%s", text,
                              most, zero ? ", nor " : "", zero ? zero : "");
    }
    *ret_number = (uint32_t)number;
    return true;
}

void setting_print_number(uint32_t number, const char *zero, char *ret_text)
{
    if (number == 0 && zero) {
        setting_print_word(zero, ret_text);
    } else {
        (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%" PRIu32, number); /* fits */
    }
}

bool setting_parse_switch(const char *text, bool *ret_is_on, char *ret_why)
{
    static const char *const words[][2] = {
        {"off", "on"}, {"no", "yes"}, {"false", "true"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (unsigned is_on = 0; is_on < 2; is_on++) {
            if (strcmp(text, words[i][is_on]) == 0) {
                *ret_is_on = is_on;
                return true;
            }
        }
    }
    return setting_refuse(ret_why, "\"%.80s\" is not known: write on or off", text);
}

void setting_print_word(const char *word, char *ret_text)
{
    (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%s", word); /* fits */
}

/* The number of a group that need not have a name, as in a container. */
static bool gid_parse(const char *text, gid_t *ret_gid)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    /* The last one means "leave it as it is" to chown(). */
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno || number >= (gid_t)-1) {
        return false;
    }
    *ret_gid = (gid_t)number;
    return true;
}

bool setting_parse_group(const char *text, bool *ret_has_group, gid_t *ret_group, char *ret_why)
{
    if (strcmp(text, "none") == 0) { /* each server reads it: it is not looked up */
        *ret_has_group = false;
        return true;
    }
    const struct group *group = getgrnam(text);
    if (!group && !gid_parse(text, ret_group)) {
        return setting_refuse(
            ret_why, "there is no group \"%.80s\": write a group's name or number, or none", text);
    }
    *ret_group = group ? group->gr_gid : *ret_group;
    if (*ret_group == ROLE_NAME_OVERFLOW) {
        return setting_refuse(ret_why,
                              "group \"%.80s\" is %d, which stands for every group that "
                              "has no number here, and lets nobody in: name another, or none",
                              text, ROLE_NAME_OVERFLOW);
    }
    *ret_has_group = true;
    return true;
}

void setting_print_group(bool has_group, gid_t gid, char *ret_text)
{
    const struct group *group = has_group ? getgrgid(gid) : NULL;
    if (has_group && !group) {
        (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%" PRIu32, gid); /* fits */
    } else {
        setting_print_word(group ? group->gr_name : "none", ret_text);
    }
}
