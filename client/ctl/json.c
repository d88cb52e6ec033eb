/* SPDX-License-Identifier: MIT */
/*
 * An object is its text from the start. A tree of values, which a library would print in the end,
 * takes some forty allocations a row: of a million blocks that was most of the time of
 * `kmemctl blocks -o json`, four times what the daemon takes to list them.
 *
 * The text is what json-c prints "spaced": `{ "a": 1, "b": [ "c" ] }`.
 */
#include "client/ctl/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/digits.h"
#include "client/ctl/utf8.h"

/* 512: a block, with its reason, in one allocation. */
#define ROW_BYTES 512
/* A character of a string at most: \u001b. */
#define CHARACTER_BYTES 6

/* Return: false: the row has failed. */
static bool row_grow(struct json_row *row, size_t more_bytes)
{
    size_t capacity_bytes = row->capacity_bytes;
    while (capacity_bytes - row->n_bytes < more_bytes) {
        capacity_bytes = capacity_bytes > 0 ? capacity_bytes * 2 : ROW_BYTES;
    }
    if (!row->failed && capacity_bytes > row->capacity_bytes) {
        char *text = realloc(row->text, capacity_bytes);
        row->failed = !text;
        row->text = text ? text : row->text;
        row->capacity_bytes = text ? capacity_bytes : row->capacity_bytes;
    }
    return !row->failed;
}

/* Inline: a dozen times a member, of a dozen members a row, there is room. */
static inline bool row_reserve(struct json_row *row, size_t more_bytes)
{
    return !row->failed && row->capacity_bytes - row->n_bytes >= more_bytes
               ? true
               : row_grow(row, more_bytes);
}

static inline void row_bytes(struct json_row *row, const char *bytes, size_t n_bytes)
{
    if (row_reserve(row, n_bytes)) {
        memcpy(row->text + row->n_bytes, bytes, n_bytes);
        row->n_bytes += n_bytes;
    }
}

static char *escape(char character, char *end)
{
    static const char letters[] = "btn?fr"; /* of 8 to 13; '\v' has none */
    if (character >= '\b' && character <= '\r' && character != '\v') {
        *end++ = '\\';
        *end++ = letters[character - '\b'];
        return end;
    }
    end = stpcpy(end, "\\u00");
    *end++ = "0123456789abcdef"[(unsigned char)character >> 4];
    *end++ = "0123456789abcdef"[character & 0xF];
    return end;
}

/* The character at text, as a string has it. Return: how many bytes it has there, 1 at least. */
static size_t put_character(const char *text, char **end)
{
    if (*text == '"' || *text == '\\') {
        *(*end)++ = '\\';
        *(*end)++ = *text;
    } else if (*text > 0 && *text < ' ') {
        *end = escape(*text, *end);
    } else {
        const size_t n_bytes = utf8_bytes(text);
        *end = n_bytes ? mempcpy(*end, text, n_bytes) : stpcpy(*end, UTF8_REPLACEMENT);
        return n_bytes ? n_bytes : 1;
    }
    return 1;
}

/* Whether a character stands for itself, in every locale. */
static inline bool is_plain(char character)
{
    static const bool of_ascii[128] = {[' ' ... '!'] = true,
                                       ['#' ... '['] = true, /* without " and \ */
                                       [']' ... '~'] = true};
    return character >= 0 && of_ascii[(unsigned char)character];
}

/* A key is valid as it comes, whatever the locale; text may be anything. */
static void row_string(struct json_row *row, const char *text, bool is_valid)
{
    /* 2: the quotes. 1: stpcpy() writes a NUL. */
    if (!row_reserve(row, strlen(text) * CHARACTER_BYTES + 2 + 1)) {
        return;
    }
    char *end = row->text + row->n_bytes;
    *end++ = '"';
    while (*text) {
        const char *const begin = text;
        while (is_plain(*text) || (is_valid && *text < 0)) {
            text++;
        }
        end = mempcpy(end, begin, (size_t)(text - begin)); /* most of a million rows */
        text += *text ? put_character(text, &end) : 0;
    }
    *end++ = '"';
    row->n_bytes = (size_t)(end - row->text);
}

void json_row_init(struct json_row *row)
{
    *row = (struct json_row){.text = NULL};
    row_bytes(row, "{", 1);
}

/* What is appended to a list goes to the last one, as long as nothing follows it. */
static void row_end_list(struct json_row *row)
{
    if (row->list) {
        row_bytes(row, " ]", 2);
        row->list = NULL;
    }
}

static void row_key(struct json_row *row, const char *key)
{
    row_end_list(row);
    row_bytes(row, ", ", row->has_members ? 2 : 0);
    row_bytes(row, " ", row->has_members ? 0 : 1);
    row->has_members = true;
    row_string(row, key, true);
    row_bytes(row, ": ", 2);
}

/* A number is most of what a row has: its digits are written where they stay. */
static void row_digits(struct json_row *row, uint64_t number)
{
    if (row_reserve(row, DIGITS_MAX_BYTES)) {
        row->n_bytes += digits_write(number, row->text + row->n_bytes);
    }
}

void json_row_number(struct json_row *row, const char *key, uint64_t number)
{
    row_key(row, key);
    row_digits(row, number);
}

void json_row_signed(struct json_row *row, const char *key, int64_t number)
{
    row_key(row, key);
    row_bytes(row, "-", number < 0);
    row_digits(row, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

void json_row_bool(struct json_row *row, const char *key, bool value)
{
    row_key(row, key);
    row_bytes(row, value ? "true" : "false", value ? 4 : 5);
}

void json_row_text(struct json_row *row, const char *key, const char *text)
{
    row_key(row, key);
    row_string(row, text, false);
}

/* The whole object becomes a value of another. */
static void row_give(struct json_row *row, struct json_row *child)
{
    row_end_list(child);
    row_bytes(child, " }", 2);
    row->failed = row->failed || child->failed;
    if (!row->failed) {
        row_bytes(row, child->text, child->n_bytes);
    }
    json_row_drop(child);
}

void json_row_row(struct json_row *row, const char *key, struct json_row *child)
{
    row_key(row, key);
    row_give(row, child);
}

void json_row_list(struct json_row *row, const char *key)
{
    row_key(row, key);
    row_bytes(row, "[", 1);
    row->list = key;
    row->list_has_values = false;
}

static void list_next(struct json_row *row, const char *key)
{
    row->failed = row->failed || !row->list || strcmp(row->list, key) != 0;
    row_bytes(row, ", ", row->list_has_values ? 2 : 0);
    row_bytes(row, " ", row->list_has_values ? 0 : 1);
    row->list_has_values = true;
}

void json_row_append(struct json_row *row, const char *key, struct json_row *child)
{
    list_next(row, key);
    row_give(row, child);
}

void json_row_append_text(struct json_row *row, const char *key, const char *text)
{
    list_next(row, key);
    row_string(row, text, false);
}

void json_row_drop(struct json_row *row)
{
    free(row->text);
    row->text = NULL;
    row->failed = true;
}

/* Writes the object, if there is one, with what is around it, and frees it. */
static int row_write(struct json_row *row, FILE *file, const char *before, const char *after)
{
    row_end_list(row);
    row_bytes(row, " }", 2);
    const bool is_there = !row->failed;
    if (is_there) {
        (void)fputs_unlocked(before, file);
        (void)fwrite_unlocked(row->text, 1, row->n_bytes, file);
        (void)fputs_unlocked(after, file);
    }
    json_row_drop(row);
    return is_there ? 0 : -ENOMEM;
}

int json_row_print(struct json_row *row, FILE *file)
{
    return row_write(row, file, "", "\n");
}

void json_list_begin(struct json_list *list, FILE *file, const char *name)
{
    *list = (struct json_list){.file = file};
    (void)fprintf(file, "{ \"%s\": [", name);
}

int json_list_add(struct json_list *list, struct json_row *row)
{
    int r = row_write(row, list->file, list->has_rows ? ",\n  " : "\n  ", "");
    list->has_rows = true;
    return r;
}

void json_list_end(struct json_list *list)
{
    (void)fprintf(list->file, "%s] }\n", list->has_rows ? "\n" : "");
}
