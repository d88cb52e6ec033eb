/* SPDX-License-Identifier: MIT */
/*
 * The column printer.
 *
 * A list of a million blocks is a table too. So a cell is no allocation of its own: the texts of
 * all cells follow each other in one growing buffer, each with its NUL, row by row, and printing
 * walks the buffer once. Seven short cells a row make a million rows some 60 MiB.
 *
 * Two spaces separate columns; a left-aligned last column is not padded, so no line ends in blanks.
 * Only one column may be cut, and only on a terminal: what goes to a file or a pipe is complete.
 */
#include "client/ctl/table.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/width.h"

#define GAP_COLUMNS 2
/* A reason cut to less than this says nothing; then the line may wrap instead. */
#define CUT_MIN_COLUMNS 8
#define NO_RULE SIZE_MAX

struct table {
    struct table_column columns[TABLE_MAX_COLUMNS];
    size_t width_columns[TABLE_MAX_COLUMNS]; /* the widest cell so far, the title included */
    size_t n_columns;
    size_t n_rows;
    size_t rule_before_row; /* NO_RULE, or the row above which the line is drawn */
    char *texts;            /* n_rows times n_columns strings, one after the other */
    size_t used_bytes;
    size_t capacity_bytes;
};

struct table *table_new(const struct table_column *columns, size_t n_columns)
{
    struct table *table = calloc(1, sizeof(*table));

    if (!table || n_columns > TABLE_MAX_COLUMNS) {
        free(table);
        return NULL;
    }
    table->n_columns = n_columns;
    table->rule_before_row = NO_RULE;
    for (size_t i = 0; i < n_columns; i++) {
        table->columns[i] = columns[i];
        table->width_columns[i] = columns[i].title ? width_of(columns[i].title) : 0;
    }
    return table;
}

struct table *table_free(struct table *table)
{
    if (table) {
        free(table->texts);
        free(table);
    }
    return NULL;
}

static int table_reserve(struct table *table, size_t more_bytes)
{
    size_t needed_bytes = table->used_bytes + more_bytes;
    size_t capacity_bytes = table->capacity_bytes ? table->capacity_bytes : 1024;

    if (needed_bytes <= table->capacity_bytes) {
        return 0;
    }
    while (capacity_bytes < needed_bytes) {
        capacity_bytes *= 2;
    }
    char *texts = realloc(table->texts, capacity_bytes);
    if (!texts) {
        return -ENOMEM;
    }
    table->texts = texts;
    table->capacity_bytes = capacity_bytes;
    return 0;
}

static const char *cell_text(const char *cell)
{
    return cell ? cell : "";
}

static void table_append(struct table *table, size_t column, const char *text)
{
    size_t n_bytes = strlen(text) + 1;
    size_t n_columns = width_of(text);

    memcpy(table->texts + table->used_bytes, text, n_bytes);
    table->used_bytes += n_bytes;
    if (n_columns > table->width_columns[column]) {
        table->width_columns[column] = n_columns;
    }
}

int table_add(struct table *table, const char *const *cells)
{
    size_t n_bytes = 0;

    for (size_t i = 0; i < table->n_columns; i++) {
        n_bytes += strlen(cell_text(cells[i])) + 1;
    }
    int r = table_reserve(table, n_bytes);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        table_append(table, i, cell_text(cells[i]));
    }
    table->n_rows++;
    return 0;
}

void table_rule(struct table *table)
{
    table->rule_before_row = table->n_rows;
}

size_t table_row_count(const struct table *table)
{
    return table->n_rows;
}

/* ------------------------------------------------------------------------------- printing ---- */

static size_t total_columns(const struct table *table, const size_t *widths)
{
    size_t total = GAP_COLUMNS * (table->n_columns - 1);

    for (size_t i = 0; i < table->n_columns; i++) {
        total += widths[i];
    }
    return total;
}

/* The widths to print with: the column that may be cut gives what the screen lacks. */
static void fit_widths(const struct table *table, const struct screen *screen, size_t *ret_widths)
{
    memcpy(ret_widths, table->width_columns, sizeof(table->width_columns));
    size_t total = total_columns(table, ret_widths);
    if (screen->n_columns == 0 || total <= screen->n_columns) {
        return;
    }
    size_t missing = total - screen->n_columns;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (table->columns[i].may_cut && ret_widths[i] >= missing + CUT_MIN_COLUMNS) {
            ret_widths[i] -= missing;
        }
    }
}

/* A line that is being printed. Blanks wait for a text to follow, so that no line ends in them. */
struct line {
    const struct screen *screen;
    size_t pending_blanks;
};

static void line_text(struct line *line, const char *text, size_t n_bytes)
{
    if (n_bytes > 0) {
        (void)fprintf(line->screen->file, "%*s", (int)line->pending_blanks, "");
        (void)fwrite(text, 1, n_bytes, line->screen->file);
        line->pending_blanks = 0;
    }
}

/* Only a left-aligned text is cut: of a number, the end matters as much. */
static void line_cut(struct line *line, const char *text, size_t width)
{
    const char *mark = line->screen->unicode ? "…" : "...";
    size_t n_bytes = 0;
    size_t kept_columns = width_prefix(text, width - width_of(mark), &n_bytes);

    line_text(line, text, n_bytes);
    line_text(line, mark, strlen(mark));
    line->pending_blanks = width - width_of(mark) - kept_columns;
}

static void line_cell(struct line *line, const struct table_column *column, const char *text,
                      size_t width)
{
    size_t text_columns = width_of(text);

    if (text_columns > width) {
        line_cut(line, text, width);
    } else if (column->align == TABLE_RIGHT) {
        line->pending_blanks += width - text_columns;
        line_text(line, text, strlen(text));
    } else {
        line_text(line, text, strlen(text));
        line->pending_blanks += width - text_columns;
    }
    line->pending_blanks += GAP_COLUMNS;
}

static void print_titles(const struct table *table, const struct screen *screen,
                         const size_t *widths)
{
    struct line line = {.screen = screen};

    (void)fputs(screen_on(screen, STYLE_BOLD), screen->file);
    for (size_t i = 0; i < table->n_columns; i++) {
        line_cell(&line, &table->columns[i], table->columns[i].title, widths[i]);
    }
    (void)fprintf(screen->file, "%s\n", screen_off(screen, STYLE_BOLD));
}

static void print_rule(const struct table *table, const struct screen *screen, const size_t *widths)
{
    size_t n_columns = total_columns(table, widths);

    (void)fputs(screen_on(screen, STYLE_DIM), screen->file);
    for (size_t i = 0; i < n_columns; i++) {
        (void)fputs(screen->unicode ? "─" : "-", screen->file);
    }
    (void)fprintf(screen->file, "%s\n", screen_off(screen, STYLE_DIM));
}

/* Return: where the next row's texts begin. */
static const char *print_row(const struct table *table, const struct screen *screen,
                             const size_t *widths, const char *text)
{
    struct line line = {.screen = screen};

    for (size_t i = 0; i < table->n_columns; i++) {
        line_cell(&line, &table->columns[i], text, widths[i]);
        text += strlen(text) + 1;
    }
    (void)fputc('\n', screen->file);
    return text;
}

void table_print(const struct table *table, const struct screen *screen)
{
    size_t widths[TABLE_MAX_COLUMNS];
    const char *text = table->texts;

    fit_widths(table, screen, widths);
    if (table->columns[0].title) {
        print_titles(table, screen, widths);
    }
    for (size_t row = 0; row < table->n_rows; row++) {
        if (row == table->rule_before_row) {
            print_rule(table, screen, widths);
        }
        text = print_row(table, screen, widths, text);
    }
}
