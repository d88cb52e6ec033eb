/* SPDX-License-Identifier: MIT */
/*
 * glob.c - a star takes as little as it can, and one character more when what follows does not fit
 *
 * Only the last star is ever tried again: whatever an earlier one could take more, the last one can
 * take as well. So no pattern costs more than its length times the text's.
 */
#include "proto/glob.h"

/* How many bytes the character at `at` has. */
static size_t character_bytes(const char *text, size_t n_bytes, size_t at)
{
    size_t end = at + 1;
    while (end < n_bytes && ((unsigned char)text[end] & 0xc0) == 0x80) {
        end++;
    }
    return end - at;
}

/* Whether the pattern's next item is one character, and the text's next one. Goes behind both. */
static bool item_matches(const char *glob, size_t n_glob_bytes, size_t *glob_at, const char *text,
                         size_t n_text_bytes, size_t *text_at)
{
    size_t at = *glob_at;
    if (at == n_glob_bytes) {
        return false;
    }
    if (glob[at] == '?') {
        *glob_at = at + 1;
        *text_at += character_bytes(text, n_text_bytes, *text_at);
        return true;
    }
    at += glob[at] == '\\' && at + 1 < n_glob_bytes;
    if (glob[at] != text[*text_at]) {
        return false;
    }
    *glob_at = at + 1;
    ++*text_at;
    return true;
}

bool glob_matches(const char *glob, size_t n_glob_bytes, const char *text, size_t n_text_bytes,
                  uint32_t *ret_n_steps)
{
    size_t glob_at = 0;
    size_t text_at = 0;
    size_t behind_star = 0; /* 0: there was none */
    size_t star_text = 0;   /* where what is behind the star was tried */
    *ret_n_steps = 0;
    while (text_at < n_text_bytes) {
        ++*ret_n_steps;
        if (glob_at < n_glob_bytes && glob[glob_at] == '*') {
            behind_star = ++glob_at;
            star_text = text_at;
        } else if (!item_matches(glob, n_glob_bytes, &glob_at, text, n_text_bytes, &text_at)) {
            if (behind_star == 0) {
                return false;
            }
            star_text += character_bytes(text, n_text_bytes, star_text);
            text_at = star_text;
            glob_at = behind_star;
        }
    }
    while (glob_at < n_glob_bytes && glob[glob_at] == '*') {
        glob_at++;
    }
    return glob_at == n_glob_bytes;
}
