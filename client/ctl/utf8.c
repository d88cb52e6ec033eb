/* SPDX-License-Identifier: MIT */
#include "client/ctl/utf8.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* The last character that there is: glibc also reads numbers above it, of up to six bytes. */
#define CHARACTER_MAX 0x10FFFF

size_t utf8_bytes(const char *text)
{
    mbstate_t state = {0};
    wchar_t character = 0;
    size_t n_bytes = mbrtowc(&character, text, strnlen(text, MB_LEN_MAX), &state);

    return n_bytes > MB_LEN_MAX || character > CHARACTER_MAX ? 0 : n_bytes;
}

char *utf8_dup_valid(const char *text)
{
    char *valid = malloc(strlen(text) * strlen(UTF8_REPLACEMENT) + 1);
    char *end = valid;
    while (valid && *text) {
        size_t n_bytes = *text > 0 && *text < 0x7F ? 1 : utf8_bytes(text);
        end = n_bytes ? mempcpy(end, text, n_bytes) : stpcpy(end, UTF8_REPLACEMENT);
        text += n_bytes ? n_bytes : 1;
    }
    if (valid) {
        *end = '\0';
    }
    return valid;
}
