/* SPDX-License-Identifier: MIT */
#include "client/ctl/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/status.h"

static bool is_table(const struct options *options)
{
    return options->format == FORMAT_TABLE || options->format == FORMAT_WIDE;
}

bool listing_has_titles(const struct listing *listing)
{
    return listing->table && !listing->options->no_headers;
}

/* -------------------------------------------------------------------------- which columns ---- */

/* Adds the columns of a list to those that are shown. Return: what is none; NULL: all are. */
static const char *show_list(struct listing *listing, const char *list)
{
    const struct listing_shape *shape = listing->shape;
    for (const char *name = list; name; name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL) {
        const size_t found =
            column_find(shape->columns, shape->n_columns, name, strcspn(name, ","));
        if (found == shape->n_columns || listing->n_shown == TABLE_MAX_COLUMNS) {
            return name;
        }
        listing->shown[listing->n_shown++] = &shape->columns[found];
    }
    return NULL;
}

/* Those that programs get unless they ask for others. */
static void show_declared(struct listing *listing)
{
    const struct listing_shape *shape = listing->shape;
    const bool is_csv = listing->options->format == FORMAT_CSV;
    for (size_t i = 0; i < shape->n_columns; i++) {
        const struct column *column = &shape->columns[i];
        if (!column->is_derived && column->key && !(is_csv && column->kind == COLUMN_NESTED) &&
            listing->n_shown < TABLE_MAX_COLUMNS) {
            listing->shown[listing->n_shown++] = column;
        }
    }
}

/* What the column is called in that format; NULL: it does not have it. */
static const char *name_in(const struct column *column, enum format format)
{
    if (format == FORMAT_CSV && column->kind == COLUMN_NESTED) {
        return NULL;
    }
    return format == FORMAT_TABLE || format == FORMAT_WIDE ? column->title : column->key;
}

/* A table can not show what has no title, nor JSON what has no key. */
static const char *can_not_show(const struct listing *listing)
{
    for (size_t i = 0; i < listing->n_shown; i++) {
        const struct column *column = listing->shown[i];
        if (!name_in(column, listing->options->format)) {
            return column->title ? column->title : column->key;
        }
    }
    return NULL;
}

/* Return: the name of a column that is none, or is none here; NULL: all is well. */
static const char *choose_columns(struct listing *listing)
{
    const struct options *options = listing->options;
    const struct listing_shape *shape = listing->shape;
    const char *list = options->columns;
    if (!list && is_table(options)) {
        list = options->format == FORMAT_WIDE ? shape->wide : shape->table;
    }
    if (!list) {
        show_declared(listing);
        return NULL;
    }
    const char *wrong = show_list(listing, list);
    return wrong ? wrong : can_not_show(listing);
}

/* "bytes", "bytes:asc". Return: what is no such thing; NULL: all is well. */
static const char *choose_order(struct listing *listing)
{
    const struct listing_shape *shape = listing->shape;
    const char *sort = listing->options->sort;
    if (!sort) {
        return NULL;
    }
    const size_t n_bytes = strcspn(sort, ":");
    const size_t found = column_find(shape->columns, shape->n_columns, sort, n_bytes);
    const char *order = sort + n_bytes;
    const bool is_ascending = strcmp(order, ":asc") == 0;
    const bool is_descending = strcmp(order, ":desc") == 0;
    if (found == shape->n_columns || shape->columns[found].kind == COLUMN_NESTED) {
        return sort;
    }
    if (*order && !is_ascending && !is_descending) {
        return order;
    }
    listing->rows.by = &shape->columns[found];
    listing->rows.is_descending =
        is_descending || (column_is_figure(listing->rows.by) && !is_ascending);
    return NULL;
}

static const char *names_in(const struct listing_shape *shape, enum format format, char *buffer,
                            size_t buffer_bytes)
{
    size_t n = 0;
    buffer[0] = '\0';
    for (size_t i = 0; i < shape->n_columns && n < buffer_bytes; i++) {
        const char *name = name_in(&shape->columns[i], format);
        if (name) {
            n += (size_t)snprintf(buffer + n, buffer_bytes - n, "%s%s", n > 0 ? ", " : "", name);
        }
    }
    return buffer;
}

const char *listing_columns(const struct listing_shape *shape, char *buffer, size_t buffer_bytes)
{
    return names_in(shape, FORMAT_TABLE, buffer, buffer_bytes);
}

static int complain_of_column(FILE *file, const struct listing_shape *shape, enum format format,
                              const char *command, const char *option, const char *name)
{
    struct escaped escaped = format_escaped(name);
    char names[512]; /* of 24 columns */
    escaped.text[strcspn(escaped.text, ":,")] = '\0';
    (void)fprintf(file, "kmemctl %s: %s: there is no column \"%s\" here; there are %s\n", command,
                  option, escaped.text, names_in(shape, format, names, sizeof(names)));
    return STATUS_USAGE;
}

static int check_columns(FILE *file, struct listing *listing, const char *command)
{
    const char *list = listing->options->columns;
    size_t n_names = 1;
    for (const char *at = list; at && *at; at++) {
        n_names += *at == ',';
    }
    if (n_names > TABLE_MAX_COLUMNS) {
        (void)fprintf(file, "kmemctl %s: --columns takes up to %d names, not %zu\n", command,
                      TABLE_MAX_COLUMNS, n_names);
        return STATUS_USAGE;
    }
    const char *wrong = choose_columns(listing);
    return wrong ? complain_of_column(file, listing->shape, listing->options->format, command,
                                      "--columns", wrong)
                 : STATUS_OK;
}

static int check_order(FILE *file, struct listing *listing, const char *command)
{
    const char *wrong = choose_order(listing);
    if (!wrong) {
        return STATUS_OK;
    }
    if (*wrong != ':') {
        return complain_of_column(file, listing->shape, listing->options->format, command, "--sort",
                                  wrong);
    }
    (void)fprintf(file, "kmemctl %s: --sort takes COLUMN, COLUMN:asc or COLUMN:desc, not \"%s\"\n",
                  command, format_escaped(listing->options->sort).text);
    return STATUS_USAGE;
}

int listing_complain(FILE *file, const struct listing_shape *shape, const struct options *options,
                     const char *command)
{
    struct listing listing = {.shape = shape, .options = options};
    const char *option = filter_meaningless(&options->filter, shape->columns, shape->n_columns);
    if (option && !shape->chooses_itself) {
        (void)fprintf(file, "kmemctl %s: %s means nothing here: no column is about that\n", command,
                      option);
        return STATUS_USAGE;
    }
    int status = check_columns(file, &listing, command);
    return status ? status : check_order(file, &listing, command);
}

int listing_check(const struct listing_shape *shape, const struct options *options,
                  const char *command)
{
    return listing_complain(stderr, shape, options, command);
}

/* ---------------------------------------------------------------------------------- begin ---- */

static int begin_table(struct listing *listing)
{
    struct table_column columns[TABLE_MAX_COLUMNS] = {{0}};
    unsigned char drops[TABLE_MAX_COLUMNS] = {0};
    for (size_t i = 0; i < listing->n_shown; i++) {
        const struct column *column = listing->shown[i];
        columns[i] = (struct table_column){
            .title = listing->options->no_headers ? NULL : column->title,
            .align = column_is_left(column) ? TABLE_LEFT : TABLE_RIGHT,
            .may_flow = column->may_flow,
            .stream_columns = column_stream_width(column, listing->options->exact_bytes),
        };
        drops[i] = column->drop;
    }
    listing->table = table_new(columns, listing->n_shown);
    if (!listing->table) {
        return -ENOMEM;
    }
    if (listing->options->format == FORMAT_TABLE) {
        table_fit(listing->table, drops);
    }
    table_stream(listing->table, listing->screen);
    return 0;
}

static void begin_csv(const struct listing *listing)
{
    for (size_t i = 0; i < listing->n_shown && !listing->options->no_headers; i++) {
        (void)fprintf(listing->screen->file, "%s%s", i > 0 ? "," : "", listing->shown[i]->key);
    }
    (void)fputs(listing->options->no_headers ? "" : "\n", listing->screen->file);
}

int listing_begin(struct listing *listing, const struct listing_shape *shape,
                  const struct options *options, const struct screen *screen)
{
    *listing = (struct listing){.shape = shape, .options = options, .screen = screen};
    (void)choose_columns(listing); /* listing_check() has seen that they are good */
    (void)choose_order(listing);
    listing->rows.shape = shape;
    listing->rows.n_wanted = options->top;
    listing->rows.most_bytes = ROWS_MOST_BYTES;
    if (listing->rows.by && screen->notes) {
        progress_begin(&listing->progress, screen->notes);
    }
    switch (options->format) {
    case FORMAT_TABLE:
    case FORMAT_WIDE:
        return begin_table(listing);
    case FORMAT_JSON:
        json_list_begin(&listing->json, screen->file, shape->name);
        break;
    case FORMAT_CSV:
        begin_csv(listing);
        break;
    case FORMAT_JSONL:
        break;
    }
    return 0;
}

/* -------------------------------------------------------------------------------- writing ---- */

static int write_cells(struct listing *listing, const void *row)
{
    const struct column *once_by = listing->shape->once_by;
    const uint64_t once = once_by ? column_number(once_by, row) : 0;
    const bool is_first = listing->n_written == 0 || once != listing->once;
    const char *cells[TABLE_MAX_COLUMNS];
    for (size_t i = 0; i < listing->n_shown; i++) {
        const struct column *column = listing->shown[i];
        cells[i] =
            column->is_once && !is_first
                ? ""
                : column_cell(column, row, listing->options->exact_bytes, &listing->cells[i]);
    }
    listing->once = once;
    int r = table_add(listing->table, cells);
    return r == 0 && listing->shape->add_below ? listing->shape->add_below(listing, row) : r;
}

int listing_add_cells(struct listing *listing, const char *const *cells)
{
    const char *shown[TABLE_MAX_COLUMNS];
    bool is_empty = true;
    for (size_t i = 0; i < listing->n_shown; i++) {
        shown[i] = cells[listing->shown[i] - listing->shape->columns];
        is_empty = is_empty && !shown[i];
    }
    return is_empty ? 0 : table_add(listing->table, shown);
}

static void write_quoted(FILE *file, const char *text)
{
    (void)putc_unlocked('"', file);
    for (; *text; text++) {
        (void)fputs(*text == '"' ? "\"" : "", file);
        (void)putc_unlocked(*text, file);
    }
    (void)putc_unlocked('"', file);
}

/* Control characters are visible already, so a row is a line. */
static void write_csv(struct listing *listing, const void *row)
{
    FILE *file = listing->screen->file;
    for (size_t i = 0; i < listing->n_shown; i++) {
        const char *text = column_csv(listing->shown[i], row, &listing->cells[i]);
        if (i > 0) {
            (void)putc_unlocked(',', file);
        }
        const size_t n_bytes = strcspn(text, ",\"");
        if (text[n_bytes]) {
            write_quoted(file, text);
        } else {
            (void)fwrite_unlocked(text, 1, n_bytes, file);
        }
    }
    (void)putc_unlocked('\n', file);
}

/* A table shows a column as often as it is asked for; an object has each member once. */
static bool is_shown_before(const struct listing *listing, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (listing->shown[i] == listing->shown[index]) {
            return true;
        }
    }
    return false;
}

static int write_json(struct listing *listing, const void *row)
{
    struct json_row json;
    json_row_init(&json);
    for (size_t i = 0; i < listing->n_shown; i++) {
        if (!is_shown_before(listing, i)) {
            column_json(listing->shown[i], row, &json);
        }
    }
    return listing->options->format == FORMAT_JSONL ? json_row_print(&json, listing->screen->file)
                                                    : json_list_add(&listing->json, &json);
}

/*
 * 20 ms: a row that is there is seen soon, whatever comes after it, and a million rows are still
 * written in some hundred pieces.
 */
#define EARLY_MS 20

static uint64_t clock_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A row that is complete does not wait in a buffer. Of a table those that are kept do: they say how
 * wide it is. */
static void show_early(struct listing *listing)
{
    const uint64_t now_ms = listing->table ? 0 : clock_ms();
    if (!listing->table && now_ms - listing->flushed_ms >= EARLY_MS) {
        (void)fflush(listing->screen->file); /* a failure is told by the last flush, too */
        listing->flushed_ms = now_ms;
    }
}

static int write_row(struct listing *listing, const void *row)
{
    int r = 0;
    if (listing->options->top > 0 && listing->n_written >= listing->options->top) {
        return 0;
    }
    if (listing->table) {
        r = write_cells(listing, row);
    } else if (listing->options->format == FORMAT_CSV) {
        write_csv(listing, row);
    } else {
        r = write_json(listing, row);
    }
    listing->n_written++;
    show_early(listing);
    return r;
}

int listing_add(struct listing *listing, const void *row)
{
    const struct listing_shape *shape = listing->shape;
    if (!filter_passes(&listing->options->filter, shape->columns, shape->n_columns, row)) {
        return 0;
    }
    listing->n_rows++;
    progress_step(&listing->progress, listing->n_rows, "rows");
    int r = listing->rows.by ? rows_add(&listing->rows, row) : write_row(listing, row);
    return r < 0 ? r : 1;
}

/* ------------------------------------------------------------------------------------ end ---- */

static int write_sorted(const void *row, void *user)
{
    return write_row(user, row);
}

int listing_flush(struct listing *listing)
{
    int r = 0;
    progress_end(&listing->progress);
    if (listing->rows.by) {
        r = rows_each(&listing->rows, write_sorted, listing);
    }
    if (r == 0) {
        rows_fini(&listing->rows);
    }
    return r;
}

/* What a narrow screen has no room for is said, so that it is not missed unknowingly. */
static void tell_dropped(const struct listing *listing)
{
    const uint32_t dropped = table_dropped(listing->table, listing->screen);
    const struct screen notes = {.file = listing->screen->notes,
                                 .n_columns = listing->screen->n_columns};
    char text[512]; /* 24 titles of 12 bytes: fits */
    char *end = stpcpy(text, "kmemctl: no room for");
    const char *comma = " ";
    if (dropped == 0) {
        return;
    }
    for (size_t i = 0; i < listing->n_shown; i++) {
        if (dropped & (UINT32_C(1) << i)) {
            end = stpcpy(stpcpy(end, comma), listing->shown[i]->title);
            comma = ", ";
        }
    }
    (void)fflush(listing->screen->file);
    (void)stpcpy(end, "; -o wide shows all");
    (void)screen_flow(&notes, 0, 4, text);
    (void)fputc('\n', notes.file);
}

static void print_table(const struct listing *listing)
{
    const struct listing_shape *shape = listing->shape;
    if (table_row_count(listing->table) > 0) {
        table_print(listing->table, listing->screen);
        tell_dropped(listing);
    } else if (!listing->options->no_headers) {
        const bool is_chosen = filter_is_set(&listing->options->filter) && shape->nothing_chosen;
        (void)screen_flow(listing->screen, 0, 2,
                          is_chosen ? shape->nothing_chosen : shape->nothing);
        (void)fputc('\n', listing->screen->file);
    }
}

int listing_end(struct listing *listing, int r)
{
    if (r == 0) {
        r = listing_flush(listing);
    }
    if (r == 0 && listing->table) {
        print_table(listing);
    } else if (r == 0 && listing->options->format == FORMAT_JSON) {
        json_list_end(&listing->json);
    }
    progress_end(&listing->progress);
    if (r < 0 && *rows_error(&listing->rows)) {
        (void)fprintf(stderr, "kmemctl %s: %s\n", listing->shape->name, rows_error(&listing->rows));
        r = STATUS_ERROR;
    }
    rows_fini(&listing->rows);
    listing->table = table_free(listing->table);
    return r;
}
