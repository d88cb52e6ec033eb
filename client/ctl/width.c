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
        return (struct glyph){.n_bytes = 1, .n_columns = 1}; /* most of a million rows */
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
