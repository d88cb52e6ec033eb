/* SPDX-License-Identifier: MIT */
#include "client/ctl/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 1,024: below that, sorting again and again costs more than the memory is worth. */
#define ROWS_MIN 1024

/* A row's copy stands in a record, behind its head. */
static struct record_head *record_of(void *row)
{
    return (struct record_head *)row - 1;
}

static const void *row_of(const struct record_head *record)
{
    return record + 1;
}

static void rows_cut(struct rows *rows, size_t n_rows)
{
    while (rows->n_rows > n_rows) {
        struct record_head *record = record_of(rows->rows[--rows->n_rows].row);
        if (!rows->room) {
            rows->kept_bytes -= sizeof(struct kept_row) + (size_t)record->n_bytes;
            free(record);
        }
    }
    if (n_rows == 0) {
        rows->n_rows = rows->kept_bytes = rows->used_bytes = 0;
    }
}

void rows_fini(struct rows *rows)
{
    rows_cut(rows, 0);
    free(rows->room);
    free(rows->rows);
    runs_fini(&rows->runs);
    *rows = (struct rows){0};
}

/* ---------------------------------------------------------------------------------- order ---- */

static uint64_t row_key(const struct rows *rows, const void *row)
{
    const uint64_t key = rows->by ? column_key(rows->by, row) : 0;
    return rows->is_descending ? ~key : key;
}

/* Of two rows with the same key. */
static int compare_values(const struct rows *rows, const void *left, const void *right)
{
    if (column_key_is_all(rows->by)) {
        return 0;
    }
    const int order = column_compare(rows->by, left, right);
    return rows->is_descending ? -order : order;
}

static int compare_rows(const void *left, const void *right, void *user)
{
    const struct kept_row *a = left;
    const struct kept_row *b = right;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    const int order = compare_values(user, a->row, b->row);
    if (order != 0) {
        return order;
    }
    return (a->number > b->number) - (a->number < b->number);
}

#define KEY_BYTE_VALUES 256

/* Moves rows to where a byte of their keys wants them; those with the same one stay in order. */
static void sort_by_byte(const struct kept_row *from, struct kept_row *to, size_t n_rows,
                         unsigned int shift)
{
    size_t next[KEY_BYTE_VALUES] = {0};
    size_t n_before = 0;
    for (size_t i = 0; i < n_rows; i++) {
        next[from[i].key >> shift & (KEY_BYTE_VALUES - 1)]++;
    }
    for (size_t i = 0; i < KEY_BYTE_VALUES; i++) {
        const size_t n_here = next[i];
        next[i] = n_before;
        n_before += n_here;
    }
    for (size_t i = 0; i < n_rows; i++) {
        to[next[from[i].key >> shift & (KEY_BYTE_VALUES - 1)]++] = from[i];
    }
}

/* A bit is set where the keys differ. */
static uint64_t keys_differ(const struct kept_row *kept, size_t n_rows)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < n_rows; i++) {
        differ |= kept[i].key ^ kept[0].key;
    }
    return differ;
}

/*
 * By keys, byte after byte, the last one first. Keys are figures mostly, of which two bytes differ
 * or three: that is six times as fast as comparing. Return: false: there is no memory for it.
 */
static bool sort_by_keys(struct rows *rows)
{
    const uint64_t differ = keys_differ(rows->rows, rows->n_rows);
    struct kept_row *from = rows->rows;
    struct kept_row *to = malloc(rows->capacity * sizeof(*to));
    if (!to) {
        return false;
    }
    for (unsigned int shift = 0; shift < 64; shift += 8) {
        if ((differ >> shift & (KEY_BYTE_VALUES - 1)) != 0) {
            sort_by_byte(from, to, rows->n_rows, shift);
            struct kept_row *sorted = to;
            to = from;
            from = sorted;
        }
    }
    rows->rows = from;
    free(to);
    return true;
}

/* Those with the same key, which are in the order in which they came: mostly texts that are one. */
static void sort_equals(struct rows *rows)
{
    size_t end;
    for (size_t begin = 0; begin < rows->n_rows; begin = end) {
        struct kept_row *first = &rows->rows[begin];
        bool is_sorted = true;
        for (end = begin + 1; end < rows->n_rows && rows->rows[end].key == first->key; end++) {
            const struct kept_row *row = &rows->rows[end];
            is_sorted = is_sorted && compare_rows(row - 1, row, rows) < 0;
        }
        if (!is_sorted) {
            qsort_r(first, end - begin, sizeof(*first), compare_rows, rows);
        }
    }
}

void rows_sort(struct rows *rows)
{
    if (rows->n_rows > 1 && !sort_by_keys(rows)) {
        qsort_r(rows->rows, rows->n_rows, sizeof(struct kept_row), compare_rows, rows);
    } else if (rows->n_rows > 1 && !column_key_is_all(rows->by)) {
        sort_equals(rows);
    }
    if (rows->n_wanted > 0 && rows->n_rows > rows->n_wanted) {
        rows_cut(rows, (size_t)rows->n_wanted);
    }
}

/* --------------------------------------------------------------------------------- copies ---- */

static bool is_string(const struct column *column)
{
    return column->kind == COLUMN_TEXT;
}

static size_t copy_bytes(const struct listing_shape *shape, const void *row)
{
    size_t n_bytes = shape->row_bytes;
    for (size_t i = 0; i < shape->n_columns; i++) {
        n_bytes +=
            is_string(&shape->columns[i]) ? strlen(column_text(&shape->columns[i], row)) + 1 : 0;
    }
    return n_bytes;
}

/* Lets the strings of a copy follow each other from `end` on. */
static void row_point(const struct listing_shape *shape, char *copy, char *end, const void *row)
{
    for (size_t i = 0; i < shape->n_columns; i++) {
        if (is_string(&shape->columns[i])) {
            char **member = (char **)(void *)(copy + shape->columns[i].at);
            *member = end;
            end =
                row ? stpcpy(end, column_text(&shape->columns[i], row)) + 1 : end + strlen(end) + 1;
        }
    }
}

/* A list of which all is wanted goes to a file as a whole. */
static bool have_room(struct rows *rows)
{
    if (!rows->room && rows->n_rows == 0 && rows->most_bytes > 0 && rows->n_wanted == 0 &&
        !rows->shape->more_bytes) {
        rows->room = malloc(rows->most_bytes + RECORD_MAX_BYTES);
    }
    return rows->room != NULL;
}

/* Memory of zeros; NULL if there is none. */
static struct record_head *record_new(struct rows *rows, size_t n_bytes)
{
    if (!have_room(rows)) {
        return calloc(1, n_bytes);
    }
    if (n_bytes > rows->most_bytes + RECORD_MAX_BYTES - rows->used_bytes) {
        return NULL;
    }
    char *record = rows->room + rows->used_bytes;
    rows->used_bytes += n_bytes;
    return memset(record, 0, n_bytes);
}

/* What needs an alignment comes before the strings. */
static struct record_head *record_make(struct rows *rows, const void *row)
{
    const struct listing_shape *shape = rows->shape;
    const size_t more_bytes = shape->more_bytes ? shape->more_bytes(row) : 0;
    const size_t n_bytes = sizeof(struct record_head) + copy_bytes(shape, row) + more_bytes;
    const size_t record_bytes = (n_bytes + sizeof(struct record_head) - 1) /
                                sizeof(struct record_head) * sizeof(struct record_head);
    struct record_head *record = record_new(rows, record_bytes);
    if (!record) {
        return NULL;
    }
    record->n_bytes = record_bytes;
    char *copy = (char *)(record + 1);
    memcpy(copy, row, shape->row_bytes);
    if (shape->more_copy) {
        shape->more_copy(copy, copy + shape->row_bytes);
    }
    row_point(shape, copy, copy + shape->row_bytes + more_bytes, row);
    return record;
}

/* A runs_adopt_fn: the strings of a row that was read are where they were, behind it. */
static uint64_t row_adopt(struct record_head *record, const void *user)
{
    const struct rows *rows = user;
    char *row = (char *)(record + 1);
    row_point(rows->shape, row, row + rows->shape->row_bytes, NULL);
    return row_key(rows, row);
}

static int rows_reserve(struct rows *rows)
{
    const size_t capacity = rows->capacity ? rows->capacity * 2 : 64;
    if (rows->n_rows < rows->capacity) {
        return 0;
    }
    struct kept_row *grown = realloc(rows->rows, capacity * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    rows->rows = grown;
    rows->capacity = capacity;
    return 0;
}

/* ------------------------------------------------------------------------ more than memory ---- */

/* Those in memory become a run of the file. */
static int rows_spill(struct rows *rows)
{
    int r = runs_begin(&rows->runs);
    for (size_t i = 0; r == 0 && i < rows->n_rows; i++) {
        r = runs_write(&rows->runs, record_of(rows->rows[i].row));
    }
    r = r ? r : runs_finish(&rows->runs);
    rows_cut(rows, 0);
    return r;
}

/* A row that points to more than strings (more_bytes) is one of a list that is short. */
static int rows_make_room(struct rows *rows)
{
    const bool is_full = rows->most_bytes > 0 && rows->kept_bytes > rows->most_bytes;
    const bool is_long =
        rows->n_wanted > 0 && rows->n_rows >= ROWS_MIN && rows->n_rows / 2 >= rows->n_wanted;
    if (is_full || is_long) {
        rows_sort(rows);
    }
    if (is_full && rows->kept_bytes > rows->most_bytes / 2 && !rows->shape->more_bytes) {
        return rows_spill(rows);
    }
    return 0;
}

int rows_add(struct rows *rows, const void *row)
{
    int r = rows_make_room(rows);
    r = r ? r : rows_reserve(rows);
    if (r < 0) {
        return r;
    }
    struct record_head *record = record_make(rows, row);
    if (!record) {
        return -ENOMEM;
    }
    rows->kept_bytes += sizeof(struct kept_row) + (size_t)record->n_bytes;
    rows->rows[rows->n_rows++] = (struct kept_row){
        .row = record + 1,
        .key = row_key(rows, record + 1),
        .number = rows->n_seen++,
    };
    return 0;
}

/* --------------------------------------------------------------------------------- reading ---- */

struct handing {
    const struct rows *rows;
    rows_each_fn each;
    void *user;
    uint64_t n_handed;
};

/* Ends the merge: enough have been handed on. */
#define IS_ENOUGH 1

static int hand_on(const struct record_head *record, void *user)
{
    struct handing *handing = user;
    const uint64_t n_wanted = handing->rows->n_wanted;
    const int r = handing->each(row_of(record), handing->user);
    handing->n_handed++;
    return r == 0 && n_wanted > 0 && handing->n_handed == n_wanted ? IS_ENOUGH : r;
}

static int compare_records(const struct record_head *left, const struct record_head *right,
                           const void *user)
{
    return compare_values(user, row_of(left), row_of(right));
}

static int rows_merge(struct rows *rows, rows_each_fn each, void *user)
{
    struct handing handing = {.rows = rows, .each = each, .user = user};
    const struct runs_merge merge = {
        .order = compare_records,
        .adopt = row_adopt,
        .user = rows,
        .each = hand_on,
        .each_user = &handing,
    };
    int r = rows_spill(rows);
    free(rows->room);
    rows->room = NULL;
    r = r ? r : runs_merge(&rows->runs, &merge);
    return r == IS_ENOUGH ? 0 : r;
}

int rows_each(struct rows *rows, rows_each_fn each, void *user)
{
    int r = 0;
    rows_sort(rows);
    if (rows->runs.file) {
        return rows_merge(rows, each, user);
    }
    for (size_t i = 0; r == 0 && i < rows->n_rows; i++) {
        r = each(rows->rows[i].row, user);
    }
    return r;
}

const char *rows_error(const struct rows *rows)
{
    return rows->runs.sentence;
}
