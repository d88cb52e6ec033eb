/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - what is typed to filter
 */
#ifndef CTL_TOP_PATTERN_H
#define CTL_TOP_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

/* A reason of 127 bytes, or what is found in one. */
#define PATTERN_MAX_BYTES 128

/** pattern_matches() - whether a text is one that it means: it is in it, or its * and ? fit */
bool pattern_matches(const char *pattern, const char *text);

/** pattern_type() - add a character, as UTF-8, if there is room for it */
void pattern_type(char *pattern, uint32_t character);

/** pattern_erase() - take the last character away */
void pattern_erase(char *pattern);

#endif
