/* SPDX-License-Identifier: MIT */
#include "client/ctl/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "client/ctl/utf8.h"

void json_row_init(struct json_row *row)
{
    row->object = json_object_new_object();
    row->failed = !row->object;
}

/* Takes the value. */
static void row_give(struct json_row *row, const char *key, struct json_object *value)
{
    if (row->failed || !value || json_object_object_add(row->object, key, value) < 0) {
        json_object_put(value);
        row->failed = true;
    }
}

void json_row_number(struct json_row *row, const char *key, uint64_t number)
{
    row_give(row, key, json_object_new_uint64(number));
}

void json_row_signed(struct json_row *row, const char *key, int64_t number)
{
    row_give(row, key, json_object_new_int64(number));
}

void json_row_bool(struct json_row *row, const char *key, bool value)
{
    row_give(row, key, json_object_new_boolean(value));
}

void json_row_text(struct json_row *row, const char *key, const char *text)
{
    char *valid = utf8_dup_valid(text);
    row_give(row, key, valid ? json_object_new_string(valid) : NULL);
    free(valid);
}

static struct json_object *row_take(struct json_row *row)
{
    struct json_object *object = row->object;
    row->object = NULL;
    if (row->failed) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

void json_row_row(struct json_row *row, const char *key, struct json_row *child)
{
    row_give(row, key, row_take(child));
}

void json_row_list(struct json_row *row, const char *key)
{
    row_give(row, key, json_object_new_array());
}

void json_row_append(struct json_row *row, const char *key, struct json_row *child)
{
    struct json_object *object = row_take(child);
    struct json_object *list = NULL;
    bool has_list = !row->failed && json_object_object_get_ex(row->object, key, &list);
    if (!object || !has_list || json_object_array_add(list, object) < 0) {
        json_object_put(object);
        row->failed = true;
    }
}

void json_row_append_text(struct json_row *row, const char *key, const char *text)
{
    char *valid = utf8_dup_valid(text);
    struct json_object *string = valid ? json_object_new_string(valid) : NULL;
    struct json_object *list = NULL;
    const bool has_list = !row->failed && json_object_object_get_ex(row->object, key, &list);
    if (!string || !has_list || json_object_array_add(list, string) < 0) {
        json_object_put(string);
        row->failed = true;
    }
    free(valid);
}

/* Writes the object, if there is one, with what is around it, and frees it. */
static int row_write(struct json_row *row, FILE *file, const char *before, const char *after)
{
    int flags = JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    const char *text = row->failed ? NULL : json_object_to_json_string_ext(row->object, flags);
    bool is_there = text != NULL;
    if (is_there) {
        (void)fprintf(file, "%s%s%s", before, text, after);
    }
    json_object_put(row->object);
    row->object = NULL;
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
