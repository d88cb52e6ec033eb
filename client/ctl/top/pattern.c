/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/pattern.h"

#include <fnmatch.h>
#include <string.h>

bool pattern_matches(const char *pattern, const char *text)
{
    if (!*pattern) {
        return true;
    }
    return strpbrk(pattern, "*?") ? fnmatch(pattern, text, FNM_CASEFOLD) == 0
                                  : strcasestr(text, pattern) != NULL;
}

/* The bytes of a character behind the first. */
static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

void pattern_erase(char *pattern)
{
    size_t n = strlen(pattern);
    while (n > 0 && is_continuation(pattern[n - 1])) {
        n--;
    }
    pattern[n > 0 ? n - 1 : 0] = '\0';
}

/* As UTF-8, which reasons are written in. */
void pattern_type(char *pattern, uint32_t character)
{
    const size_t n = strlen(pattern);
    char bytes[5] = {0};
    if (character < 0x20 || character == 0x7f) {
        return;
    }
    if (character < 0x80) {
        bytes[0] = (char)character;
    } else if (character < 0x800) {
        bytes[0] = (char)(0xc0 | character >> 6);
        bytes[1] = (char)(0x80 | (character & 0x3f));
    } else if (character < 0x10000) {
        bytes[0] = (char)(0xe0 | character >> 12);
        bytes[1] = (char)(0x80 | (character >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (character & 0x3f));
    } else {
        bytes[0] = (char)(0xf0 | character >> 18);
        bytes[1] = (char)(0x80 | (character >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (character >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (character & 0x3f));
    }
    if (n + strlen(bytes) < PATTERN_MAX_BYTES) {
        (void)stpcpy(pattern + n, bytes);
    }
}
