/* SPDX-License-Identifier: MIT */
#include "client/ctl/width.h"

#include <limits.h>
#include <string.h>
#include <wchar.h>

struct glyph {
    size_t n_bytes; /* 0 at the end of the text */
    size_t n_columns;
};

/* One character; what is none, or has no width of its own (a control character), takes a column. */
static struct glyph glyph_at(const char *text)
{
    mbstate_t state = {0};
    wchar_t character;

    if (*text == '\0') {
        return (struct glyph){0};
    }
    if (*text >= ' ' && *text <= '~') {
        return (struct glyph){.n_bytes = 1, .n_columns = 1};
    }
    size_t n_bytes = mbrtowc(&character, text, strnlen(text, MB_LEN_MAX), &state);
    if (n_bytes > MB_LEN_MAX) {
        return (struct glyph){.n_bytes = 1, .n_columns = 1};
    }
    int n_columns = wcwidth(character);
    return (struct glyph){.n_bytes = n_bytes, .n_columns = n_columns < 0 ? 1 : (size_t)n_columns};
}

size_t width_of(const char *text)
{
    size_t n_columns = 0;
    while (*text >= ' ' && *text <= '~') {
        text++; /* most of a million rows */
        n_columns++;
    }
    for (struct glyph glyph = glyph_at(text); glyph.n_bytes > 0; glyph = glyph_at(text)) {
        text += glyph.n_bytes;
        n_columns += glyph.n_columns;
    }
    return n_columns;
}

size_t width_prefix(const char *text, size_t n_columns, size_t *ret_bytes)
{
    const char *end = text;
    size_t taken_columns = 0;
    for (struct glyph glyph = glyph_at(end); glyph.n_bytes > 0; glyph = glyph_at(end)) {
        if (taken_columns + glyph.n_columns > n_columns) {
            break;
        }
        taken_columns += glyph.n_columns;
        end += glyph.n_bytes;
    }
    *ret_bytes = (size_t)(end - text);
    return taken_columns;
}

size_t width_of_words(const char *text)
{
    size_t widest = 0;
    size_t so_far = 0;
    for (struct glyph glyph = glyph_at(text); glyph.n_bytes > 0; glyph = glyph_at(text)) {
        so_far = *text == ' ' ? 0 : so_far + glyph.n_columns;
        widest = so_far > widest ? so_far : widest;
        so_far = *text == '/' ? 0 : so_far;
        text += glyph.n_bytes;
    }
    return widest;
}

/* The longest beginning of n_bytes that ends behind a blank or a '/'; 0 if there is none. */
static size_t end_of_words(const char *text, size_t n_bytes)
{
    while (n_bytes > 0 && text[n_bytes - 1] != ' ' && text[n_bytes - 1] != '/') {
        n_bytes--;
    }
    return strspn(text, " ") < n_bytes ? n_bytes : 0;
}

size_t width_flow(const char *text, size_t n_columns, size_t *ret_bytes)
{
    size_t n_fit;
    size_t n_kept;
    (void)width_prefix(text, n_columns, &n_fit);
    if (text[n_fit] == '\0') {
        *ret_bytes = n_fit;
        return n_fit;
    }
    n_kept = text[n_fit] == ' ' ? n_fit : end_of_words(text, n_fit);
    if (n_kept == 0) {
        /* One word that is wider than the column; a glyph that is, moves on all the same. */
        n_kept = n_fit > 0 ? n_fit : glyph_at(text).n_bytes;
    }
    *ret_bytes = n_kept;
    while (*ret_bytes > 0 && text[*ret_bytes - 1] == ' ') {
        (*ret_bytes)--;
    }
    return n_kept + strspn(text + n_kept, " ");
}
