/* SPDX-License-Identifier: MIT */
/*
 * fuzz_escape.c - foreign text on its way to a terminal, to JSON and to Prometheus
 *
 * Two bytes choose how much room there is; the rest is the text, with NULs or without.
 */
#include <json-c/json.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/utf8.h"
#include "client/ctl/width.h"
#include "client/failure.h"
#include "proto/text.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX_BYTES 300
/* Every byte of it as \u202e. */
#define ESCAPED_TEXT_BYTES (6 * TEXT_MAX_BYTES + 1)

/* The place in the text of an escaped byte's end, which is cut nowhere else. */
static void check_escape(const char *text, size_t n_bytes, size_t room)
{
    static char whole[ESCAPED_TEXT_BYTES];
    static char cut[ESCAPED_TEXT_BYTES];
    EXPECT(text_escape(text, n_bytes, whole, sizeof(whole)) == whole);
    EXPECT(fuzz_is_safe(whole, strlen(whole)));
    EXPECT(text_escape(text, n_bytes, cut, room) == cut);
    EXPECT(strlen(cut) < room);
    EXPECT(fuzz_is_safe(cut, strlen(cut)));
    EXPECT(memcmp(whole, cut, strlen(cut)) == 0);
    EXPECT(n_bytes == 0 || whole[0] != '\0');
    EXPECT(strlen(whole) >= room || strcmp(whole, cut) == 0);
}

/* What the library sends is what the daemon takes; it is cut as late as can be. */
static void check_clean(const char *text, size_t room)
{
    static char clean[TEXT_MAX_BYTES + 1];
    static char again[TEXT_MAX_BYTES + 1];
    const size_t n_clean = text_clean(text, clean, room);
    EXPECT(n_clean < room);
    EXPECT(n_clean == strlen(clean));
    EXPECT(text_is_utf8((const unsigned char *)clean, n_clean));
    EXPECT(n_clean + 4 >= room || n_clean == strlen(text));
    EXPECT(text_clean(clean, again, sizeof(again)) == n_clean);
    EXPECT(strcmp(clean, again) == 0);
    if (text_is_utf8((const unsigned char *)text, strlen(text))) {
        EXPECT(memcmp(clean, text, n_clean) == 0);
    }
}

static void check_failure(const char *text)
{
    static struct failure failure;
    EXPECT(kmem__failure_set(&failure, 1, "about \"") == -1);
    kmem__failure_add_foreign(&failure, text);
    kmem__failure_add_foreign(&failure, text);
    kmem__failure_add(&failure, "\" and more");
    EXPECT(strlen(failure.sentence) < sizeof(failure.sentence));
    EXPECT(fuzz_is_safe(failure.sentence, strlen(failure.sentence)));
}

/* What a cell of a table, and what JSON has of it. */
static void check_shown(const char *text)
{
    const struct escaped escaped = format_escaped(text);
    EXPECT(fuzz_is_safe(escaped.text, strlen(escaped.text)));
    char *valid = utf8_dup_valid(text);
    EXPECT(valid);
    EXPECT(text_is_utf8((const unsigned char *)valid, strlen(valid)));
    struct json_object *string = json_object_new_string(valid);
    const char *written = json_object_to_json_string(string);
    struct json_object *read = json_tokener_parse(written);
    EXPECT(read);
    EXPECT(strcmp(json_object_get_string(read), valid) == 0);
    json_object_put(read);
    json_object_put(string);
    free(valid);
}

static void check_width(const char *text, size_t n_columns)
{
    size_t n_bytes;
    const size_t width = width_of(text);
    const size_t prefix = width_prefix(text, n_columns, &n_bytes);
    EXPECT(n_bytes <= strlen(text));
    EXPECT(prefix <= n_columns);
    EXPECT(prefix <= width);
    EXPECT(n_columns < width || n_bytes == strlen(text));
    size_t at = 0;
    for (size_t n_lines = 0; text[at] != '\0'; n_lines++) {
        EXPECT(n_lines <= strlen(text));
        const size_t next = width_flow(text + at, n_columns + 2, &n_bytes);
        EXPECT(n_bytes <= next);
        EXPECT(next > 0);
        at += next;
    }
    EXPECT(at == strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static char text[TEXT_MAX_BYTES + 1];
    static bool is_prepared;
    if (!is_prepared) {
        is_prepared = true;
        EXPECT(setlocale(LC_ALL, "C.UTF-8"));
    }
    struct choices choices = choices_of(bytes, n_bytes);
    const size_t room = 1 + choose_byte(&choices);
    const size_t n_text = choose_bytes(&choices, text, TEXT_MAX_BYTES);
    text[n_text] = '\0';
    check_escape(text, n_text, room);
    check_clean(text, room);
    check_failure(text);
    check_shown(text);
    check_width(text, room);
    return 0;
}
