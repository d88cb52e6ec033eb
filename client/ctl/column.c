/* SPDX-License-Identifier: MIT */
#include "client/ctl/column.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <kmem/query.h>

#include "client/ctl/digits.h"
#include "client/ctl/user.h"

/* --------------------------------------------------------------------------------- values ---- */

uint64_t column_number(const struct column *column, const void *row)
{
    const char *at = (const char *)row + column->at;
    if (column->number) {
        return column->number(row);
    }
    if (column->kind == COLUMN_WORD || column->kind == COLUMN_NESTED) {
        return 0;
    }
    switch (column->source) {
    case COLUMN_U64:
        return *(const uint64_t *)(const void *)at;
    case COLUMN_I64:
        return (uint64_t) * (const int64_t *)(const void *)at;
    case COLUMN_U32:
        return *(const uint32_t *)(const void *)at;
    case COLUMN_INT:
        return (uint64_t)(*(const int *)(const void *)at != 0);
    case COLUMN_STRING:
        break;
    }
    return 0;
}

const char *column_text(const struct column *column, const void *row)
{
    const char *at = (const char *)row + column->at;
    if (column->kind == COLUMN_WORD && column->word) {
        return column->word(row);
    }
    return column->kind == COLUMN_TEXT ? *(const char *const *)(const void *)at : NULL;
}

static bool is_growth(const struct column *column)
{
    return column->kind == COLUMN_GROWN_COUNT || column->kind == COLUMN_GROWN_BYTES;
}

int column_compare(const struct column *column, const void *left, const void *right)
{
    const char *text = column_text(column, left);
    if (column->kind == COLUMN_USER) {
        const uint32_t left_uid = (uint32_t)column_number(column, left);
        const struct user_name left_name = user_name(left_uid);
        const struct user_name right_name = user_name((uint32_t)column_number(column, right));
        return strcmp(left_name.text, right_name.text);
    }
    if (text) {
        return strcmp(text, column_text(column, right));
    }
    const uint64_t left_number = column_number(column, left);
    const uint64_t right_number = column_number(column, right);
    if (is_growth(column)) {
        return ((int64_t)left_number > (int64_t)right_number) -
               ((int64_t)left_number < (int64_t)right_number);
    }
    return (left_number > right_number) - (left_number < right_number);
}

/* A text's first bytes, as one number. */
static uint64_t text_key(const char *text)
{
    uint64_t key = 0;
    for (size_t i = 0; i < sizeof(key); i++) {
        key = key << 8 | (unsigned char)*text;
        text += *text != '\0';
    }
    return key;
}

uint64_t column_key(const struct column *column, const void *row)
{
    const char *text = column_text(column, row);
    const uint64_t number = column_number(column, row);
    if (column->kind == COLUMN_USER) {
        return text_key(user_name((uint32_t)number).text);
    }
    if (text) {
        return text_key(text);
    }
    return is_growth(column) ? number ^ (UINT64_C(1) << 63) : number; /* what is below 0 first */
}

bool column_key_is_all(const struct column *column)
{
    return column->kind != COLUMN_USER && column->kind != COLUMN_TEXT &&
           column->kind != COLUMN_WORD;
}

bool column_is_figure(const struct column *column)
{
    return column->kind == COLUMN_COUNT || column->kind == COLUMN_BYTES ||
           column->kind == COLUMN_AGE || column->kind == COLUMN_SHARE || is_growth(column);
}

bool column_is_left(const struct column *column)
{
    return column->kind == COLUMN_TEXT || column->kind == COLUMN_WORD ||
           column->kind == COLUMN_USER || column->kind == COLUMN_FLAG;
}

unsigned char column_stream_width(const struct column *column, bool exactly)
{
    switch (column->kind) {
    case COLUMN_BYTES:
        return exactly ? sizeof("1,073,741,824") - 1 : sizeof("1023.9 KiB") - 1;
    case COLUMN_AGE:
        return sizeof("59 m 59 s") - 1;
    case COLUMN_OFFSET:
        return sizeof("0x1000000000") - 1; /* up to 64 GiB and more */
    case COLUMN_PID:
        return sizeof("4194304") - 1;
    case COLUMN_COUNT:
    case COLUMN_GROWN_COUNT:
    case COLUMN_GROWN_BYTES:
    case COLUMN_SHARE:
    case COLUMN_ID:
    case COLUMN_USER:
    case COLUMN_FLAG:
    case COLUMN_TEXT:
    case COLUMN_WORD:
    case COLUMN_NESTED:
        break;
    }
    return 0;
}

/* ------------------------------------------------------------------------------- printing ---- */

static struct label share_label(uint64_t permille)
{
    struct label label = {.text = ""};
    (void)snprintf(label.text, sizeof(label.text), "%" PRIu64 ".%" PRIu64 " %%", permille / 10,
                   permille % 10);
    return label;
}

static struct label number_label(const struct column *column, uint64_t number, bool exactly)
{
    switch (column->kind) {
    case COLUMN_BYTES:
        return format_bytes(number, exactly);
    case COLUMN_GROWN_COUNT:
        return format_growth((int64_t)number, false, exactly);
    case COLUMN_GROWN_BYTES:
        return format_growth((int64_t)number, true, exactly);
    case COLUMN_AGE:
        return format_age(number);
    case COLUMN_SHARE:
        return share_label(number);
    case COLUMN_OFFSET:
        return format_offset(number);
    case COLUMN_PID:
        return format_pid((uint32_t)number);
    case COLUMN_ID:
        return format_id((uint32_t)number);
    case COLUMN_FLAG:
        return (struct label){.text = {number ? 'y' : 'n', number ? 'e' : 'o', number ? 's' : 0}};
    case COLUMN_COUNT:
    case COLUMN_USER:
    case COLUMN_TEXT:
    case COLUMN_WORD:
    case COLUMN_NESTED:
        break;
    }
    return format_count(number);
}

static const char *escape(const char *foreign, struct escaped *cell)
{
    return kmem_query_escape(foreign, cell->text, sizeof(cell->text));
}

const char *column_cell(const struct column *column, const void *row, bool exactly,
                        struct escaped *cell)
{
    const char *word = column->word ? column->word(row) : NULL;
    const char *text = column_text(column, row);
    if (word) {
        return word;
    }
    if (text) {
        return escape(text, cell);
    }
    if (column->kind == COLUMN_USER) {
        const struct user_name name = user_name((uint32_t)column_number(column, row));
        return escape(name.text, cell);
    }
    const struct label label = number_label(column, column_number(column, row), exactly);
    (void)stpcpy(cell->text, label.text);
    return cell->text;
}

const char *column_csv(const struct column *column, const void *row, struct escaped *cell)
{
    const char *text = column_text(column, row);
    const uint64_t number = column_number(column, row);
    if (text) {
        return escape(text, cell);
    }
    if (column->kind == COLUMN_USER) {
        const struct user_name name = user_name((uint32_t)number);
        return escape(name.text, cell);
    }
    if (column->kind == COLUMN_FLAG) {
        return number ? "true" : "false";
    }
    const bool is_less = is_growth(column) && (int64_t)number < 0;
    (void)digits_write(is_less ? -number : number, stpcpy(cell->text, is_less ? "-" : ""));
    return cell->text;
}

void column_json(const struct column *column, const void *row, struct json_row *json)
{
    const char *text = column_text(column, row);
    const uint64_t number = column_number(column, row);
    if (column->kind == COLUMN_NESTED) {
        column->nest(json, row);
    } else if (text) {
        json_row_text(json, column->key, text);
    } else if (column->kind == COLUMN_USER) {
        json_row_text(json, column->key, user_name((uint32_t)number).text);
    } else if (column->kind == COLUMN_FLAG) {
        json_row_bool(json, column->key, number != 0);
    } else if (is_growth(column)) {
        json_row_signed(json, column->key, (int64_t)number);
    } else {
        json_row_number(json, column->key, number);
    }
}

/* -------------------------------------------------------------------------------- finding ---- */

static int folded(char character)
{
    return character == ' ' || character == '-' ? '_' : tolower((unsigned char)character);
}

static bool is_called(const char *called, const char *name, size_t n_bytes)
{
    if (!called || strlen(called) != n_bytes) {
        return false;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        if (folded(called[i]) != folded(name[i])) {
            return false;
        }
    }
    return true;
}

/* A title goes before a key: REASON is what the table calls so, whatever the key of another is. */
size_t column_find(const struct column *columns, size_t n_columns, const char *name, size_t n_bytes)
{
    size_t found = n_columns;
    for (size_t i = 0; i < n_columns; i++) {
        if (is_called(columns[i].title, name, n_bytes)) {
            return i;
        }
        if (found == n_columns && is_called(columns[i].key, name, n_bytes)) {
            found = i;
        }
    }
    return found;
}
