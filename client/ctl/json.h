/* SPDX-License-Identifier: MIT */
/*
 * json.h - answers for programs
 *
 * A list is written row by row, so that a million blocks never exist as JSON in memory. If the
 * daemon ends in the middle of an answer the document is cut short, and the exit status says so.
 * Strings are valid UTF-8 whatever the daemon sent: a byte that is none becomes U+FFFD. They are
 * not escaped for terminals; JSON escapes what JSON must.
 */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <kmem/kmem.h>

/*
 * An object being built, until it is written, or becomes a part of another. Members are added until
 * one fails; then the row is as good as gone.
 */
struct json_row {
    char *text; /* of the members so far, not terminated */
    size_t n_bytes;
    size_t capacity_bytes;
    const char *list; /* the key of the last member, if that is a list; NULL */
    bool list_has_values;
    bool has_members;
    bool failed;
};

/** json_row_init() - begin an empty object */
void json_row_init(struct json_row *row);

/** json_row_number() - add a member; the key is copied */
void json_row_number(struct json_row *row, const char *key, uint64_t number);

/** json_row_signed() - likewise */
void json_row_signed(struct json_row *row, const char *key, int64_t number);

/** json_row_bool() - add a member; the key is copied */
void json_row_bool(struct json_row *row, const char *key, bool value);

/** json_row_text() - add a member, made valid UTF-8; the key is copied */
void json_row_text(struct json_row *row, const char *key, const char *text);

/** json_row_row() - add a whole object as a member; takes the object out of child */
void json_row_row(struct json_row *row, const char *key, struct json_row *child);

/** json_row_list() - add an empty list as a member; the key is kept until the next member comes */
void json_row_list(struct json_row *row, const char *key);

/** json_row_append() - add an object to the list that is the last member; takes it out of child */
void json_row_append(struct json_row *row, const char *key, struct json_row *child);

/** json_row_append_text() - add a text to the list that is the last member, made valid UTF-8 */
void json_row_append_text(struct json_row *row, const char *key, const char *text);

/** json_row_print() - write the object and a line feed, and free it. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int json_row_print(struct json_row *row, FILE *file);

/** json_row_drop() - free an object that is not to be written after all */
void json_row_drop(struct json_row *row);

/* A document {"NAME": [row, row, ...]} that is being written. */
struct json_list {
    FILE *file;
    bool has_rows;
};

/** json_list_begin() - write the document's head; name is a literal */
void json_list_begin(struct json_list *list, FILE *file, const char *name);

/** json_list_add() - write a row, and free it. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int json_list_add(struct json_list *list, struct json_row *row);

/** json_list_end() - write the document's tail */
void json_list_end(struct json_list *list);

#endif
