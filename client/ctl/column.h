/* SPDX-License-Identifier: MIT */
/*
 * column.h - what a listing knows of each row, declared once
 *
 * A declaration says what a column is called, where in the row its value lies, and what kind of
 * value that is. The table, JSON, CSV, sorting and the choice of rows all come from it. Columns are
 * declared in the order of the JSON document.
 */
#ifndef CTL_COLUMN_H
#define CTL_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/ctl/format.h"
#include "client/ctl/json.h"

/* What the value is: its unit, how it is printed, and how it is sorted unless the user says. */
enum column_kind {
    COLUMN_COUNT,       /* how many */
    COLUMN_BYTES,       /* "1.5 KiB", or exactly */
    COLUMN_AGE,         /* milliseconds, "4.2 s" */
    COLUMN_GROWN_COUNT, /* how many more: "+3", "-3" */
    COLUMN_GROWN_BYTES, /* "+1.5 KiB" */
    COLUMN_SHARE,       /* a thousandth of the whole, "25.0 %" */
    COLUMN_OFFSET,      /* in the segment, "0x4000" */
    COLUMN_PID,         /* "?" if it is 0 */
    COLUMN_ID,          /* digits only */
    COLUMN_USER,        /* a uid, as the user's name */
    COLUMN_FLAG,        /* "yes" or "no" */
    COLUMN_TEXT,        /* foreign */
    COLUMN_WORD,        /* one of our own, from word() */
    COLUMN_NESTED,      /* a member that only JSON has, from nest() */
};

/* The type of the member of the row. */
enum column_source {
    COLUMN_U64,
    COLUMN_U32,
    COLUMN_I64,
    COLUMN_INT,
    COLUMN_STRING,
};

/* Which option that chooses rows looks at it. */
enum column_filter {
    FILTER_NONE,
    FILTER_PID,
    FILTER_USER,
    FILTER_REASON,
    FILTER_AGE,
    FILTER_SIZE,
    FILTER_OFFSET,
};

struct column {
    const char *title; /* of a table; --columns and --sort may say it too; NULL: no table has it */
    const char *key;   /* of JSON and CSV; NULL: they do not have it */
    enum column_kind kind;
    enum column_source source; /* COLUMN_AT() says both */
    size_t at;
    uint64_t (*number)(const void *row); /* in place of a member: a figure that is computed */
    /* What a table says instead of the value, NULL: the value. Of COLUMN_WORD it is the value. */
    const char *(*word)(const void *row);
    void (*nest)(struct json_row *json, const void *row);
    enum column_filter filter;
    unsigned char drop; /* a narrow table leaves out the greatest first; 0: the last one to go */
    bool is_once;       /* a table says it in the first row of its block only */
    bool is_derived;    /* JSON and CSV have it only if it is asked for */
    bool may_flow;      /* a wide table lets it go on in the next line */
};

/** COLUMN_AT() - where the value is: a member of struct row_type */
#define COLUMN_AT(row_type, member)                                                                \
    .source = _Generic(((row_type *)0)->member,                                                    \
        uint64_t: COLUMN_U64,                                                                      \
        int64_t: COLUMN_I64,                                                                       \
        uint32_t: COLUMN_U32,                                                                      \
        int: COLUMN_INT,                                                                           \
        char *: COLUMN_STRING,                                                                     \
        const char *: COLUMN_STRING),                                                              \
    .at = offsetof(row_type, member)

/** column_number() - the value as a number, in two's complement if it has grown; 0 of a text */
uint64_t column_number(const struct column *column, const void *row);

/** column_text() - the value as a text, as it came: foreign; NULL if it is a number */
const char *column_text(const struct column *column, const void *row);

/** column_cell() - the value as a table has it. Return: cell's text, or a literal. */
const char *column_cell(const struct column *column, const void *row, bool exactly,
                        struct escaped *cell);

/** column_csv() - the value as CSV has it, without quotes: exact, in the unit of the key */
const char *column_csv(const struct column *column, const void *row, struct escaped *cell);

/** column_json() - add the value to an object */
void column_json(const struct column *column, const void *row, struct json_row *json);

/** column_compare() - like strcmp(), by value */
int column_compare(const struct column *column, const void *left, const void *right);

/** column_key() - of two values the one with the lesser key is before the other */
uint64_t column_key(const struct column *column, const void *row);

/** column_key_is_all() - whether equal keys are equals; else column_compare() tells */
bool column_key_is_all(const struct column *column);

/** column_is_figure() - whether the largest is what one looks for, so that it comes first */
bool column_is_figure(const struct column *column);

/** column_stream_width() - what a figure of that kind takes in a table; 0: that can not be said */
unsigned char column_stream_width(const struct column *column, bool exactly);

/** column_is_left() - whether a table aligns it to the left, and may shorten it */
bool column_is_left(const struct column *column);

/**
 * column_find() - the column of that title or key
 * @name:     the case does not matter, and a blank may be written as '_' or '-'
 * @n_bytes:  of the name
 * Return: its index; n_columns if there is none.
 */
size_t column_find(const struct column *columns, size_t n_columns, const char *name,
                   size_t n_bytes);

#endif
