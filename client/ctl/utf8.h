/* SPDX-License-Identifier: MIT */
/*
 * utf8.h - foreign text, for formats that want valid UTF-8
 */
#ifndef CTL_UTF8_H
#define CTL_UTF8_H

#include <stddef.h>

/* U+FFFD, in the place of a byte that is none. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/** utf8_bytes() - how many bytes the character at text has; 0: it is none. The locale is UTF-8. */
size_t utf8_bytes(const char *text);

/**
 * utf8_dup_valid() - a copy that is valid whatever the text is
 * Ownership: the caller's. Return: NULL if there is no memory.
 */
char *utf8_dup_valid(const char *text);

#endif
