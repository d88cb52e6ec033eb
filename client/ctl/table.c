/* SPDX-License-Identifier: MIT */
/*
 * The column printer.
 *
 * A cell is no allocation of its own: the texts of all cells follow each other in one growing
 * buffer, each behind its size and with its NUL, row by row, and printing walks the buffer once. A
 * list of a million blocks is a table too, which streams: the buffer takes a batch of rows, is
 * printed, and is empty. A text is measured once, when it is added, and a line is put together
 * before it is written: a call for each piece was most of the time of such a list.
 *
 * Two spaces separate columns; a left-aligned last column is not padded, so no line ends in blanks.
 *
 * No line is wider than the terminal. A table that is to fit (table_fit()) has one line a row: its
 * texts are shortened, down to some letters, then columns are left out, those that matter least
 * first; what room is left, the texts share.
 *
 * Of any other table nothing is ever cut. What has no room gives way in two steps: the text of the
 * last column goes on below itself, and if even that leaves it no room, the table is folded: the
 * columns from there on, titles too, stand in a second line, indented. A column that is wider than
 * a line has one for itself, and goes on below itself like the last one. What goes to a file or a
 * pipe has one line a row.
 */
#include "client/ctl/table.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/width.h"

#define GAP_COLUMNS 2
/* Of a folded row, all lines but the first. */
#define FOLD_INDENT_COLUMNS 4
/* Narrower, a text has a word a line; it is easier to read in a line of its own. */
#define FLOW_MIN_COLUMNS 20
/* No column of numbers is wider; on a terminal that is narrower, the lines wrap. */
#define SCREEN_MIN_COLUMNS 28
/* 10: the beginning of a reason by which one knows it; fewer letters tell nothing. */
#define SHORT_MIN_COLUMNS 10
#define NO_RULE SIZE_MAX
/* The line of a column that is left out. */
#define NO_LINE SIZE_MAX

/* A table on a screen: where each column stands. */
struct layout {
    const struct table *table;
    const struct screen *screen;
    size_t width_columns[TABLE_MAX_COLUMNS];
    size_t line_of[TABLE_MAX_COLUMNS]; /* of the lines that a row has; 0 is the first */
    size_t n_lines;
    size_t n_columns; /* the widest line */
};

/* What stands before the text of a cell. */
struct cell_head {
    uint32_t n_bytes; /* without the NUL */
    uint32_t n_columns;
};

/* A text that is ready to be printed. */
struct cell {
    const char *text;
    size_t n_bytes;
    size_t n_columns;
};

struct table {
    struct table_column columns[TABLE_MAX_COLUMNS];
    size_t width_columns[TABLE_MAX_COLUMNS]; /* the widest cell so far, the title included */
    size_t word_columns[TABLE_MAX_COLUMNS];  /* the widest word of a text that may flow */
    size_t n_columns;
    bool is_fitted;
    unsigned char drops[TABLE_MAX_COLUMNS];
    size_t n_rows;          /* that are kept */
    size_t n_printed;       /* those before them: of a table that streams */
    size_t rule_before_row; /* NO_RULE, or the row above which the line is drawn */
    char *texts; /* n_rows times n_columns cells, one after the other: a head and a string each */
    size_t used_bytes;
    size_t capacity_bytes;
    const struct screen *streams_to; /* NULL: it does not */
    struct layout layout;            /* of what is printed already, if anything is */
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
    const size_t n_bytes = strlen(text);
    const size_t n_columns = width_of(text);
    const struct cell_head head = {(uint32_t)n_bytes, (uint32_t)n_columns};
    char *end = mempcpy(table->texts + table->used_bytes, &head, sizeof(head));
    memcpy(end, text, n_bytes + 1);
    table->used_bytes += sizeof(head) + n_bytes + 1;
    if (n_columns > table->width_columns[column]) {
        table->width_columns[column] = n_columns;
    }
    if (table->columns[column].may_flow && !table->is_fitted) {
        size_t word_columns = width_of_words(text);
        if (word_columns > table->word_columns[column]) {
            table->word_columns[column] = word_columns;
        }
    }
}

void table_fit(struct table *table, const unsigned char *drops)
{
    table->is_fitted = true;
    memcpy(table->drops, drops, table->n_columns);
}

void table_rule(struct table *table)
{
    table->rule_before_row = table->n_printed + table->n_rows;
}

size_t table_row_count(const struct table *table)
{
    return table->n_printed + table->n_rows;
}

void table_stream(struct table *table, const struct screen *screen)
{
    table->streams_to = screen;
}

/* --------------------------------------------------------------------------------- layout ---- */

size_t table_width(const struct table *table)
{
    size_t total = GAP_COLUMNS * (table->n_columns - 1);
    for (size_t i = 0; i < table->n_columns; i++) {
        total += table->width_columns[i];
    }
    return total;
}

/* The least that a column takes: all of it, but for a text that can flow, between its words. */
static size_t least_width(const struct table *table, size_t column)
{
    size_t width = table->width_columns[column];
    size_t word = table->word_columns[column];
    size_t least = word > FLOW_MIN_COLUMNS ? word : FLOW_MIN_COLUMNS;
    return table->columns[column].may_flow && width > least ? least : width;
}

static size_t columns_to_fit(const struct screen *screen)
{
    if (screen->n_columns == 0) {
        return SIZE_MAX;
    }
    return screen->n_columns < SCREEN_MIN_COLUMNS ? SCREEN_MIN_COLUMNS : screen->n_columns;
}

/* Puts column after column into a line, as long as there is room. */
static void layout_fold(struct layout *layout, size_t limit)
{
    const struct table *table = layout->table;
    size_t end = 0; /* of the line so far, without the gap that follows */

    for (size_t i = 0; i < table->n_columns; i++) {
        size_t from = i == 0 ? 0 : end + GAP_COLUMNS;
        if (i > 0 && from + least_width(table, i) > limit) {
            layout->n_lines++;
            from = FOLD_INDENT_COLUMNS;
        }
        layout->line_of[i] = layout->n_lines - 1;
        layout->width_columns[i] = table->width_columns[i];
        if (from + table->width_columns[i] > limit) {
            layout->width_columns[i] = limit - from; /* the last of its line: it flows */
        }
        end = from + layout->width_columns[i];
        layout->n_columns = end > layout->n_columns ? end : layout->n_columns;
    }
}

/* Of the one line that each row has. */
static size_t fitted_width(const struct layout *layout)
{
    size_t n_columns = 0;
    for (size_t i = 0; i < layout->table->n_columns; i++) {
        if (layout->line_of[i] != NO_LINE) {
            n_columns += layout->width_columns[i] + (n_columns > 0 ? GAP_COLUMNS : 0);
        }
    }
    return n_columns;
}

/* Return: the column that matters least of those that are left; NO_LINE: one is left. */
static size_t least_wanted(const struct layout *layout)
{
    size_t found = NO_LINE;
    size_t n_left = 0;
    for (size_t i = 0; i < layout->table->n_columns; i++) {
        if (layout->line_of[i] == NO_LINE) {
            continue;
        }
        n_left++;
        if (found == NO_LINE || layout->table->drops[i] >= layout->table->drops[found]) {
            found = i;
        }
    }
    return n_left > 1 ? found : NO_LINE;
}

/* Return: the text that was shortened most; NO_LINE: none is. */
static size_t shortest(const struct layout *layout)
{
    size_t found = NO_LINE;
    for (size_t i = 0; i < layout->table->n_columns; i++) {
        if (layout->line_of[i] != NO_LINE &&
            layout->width_columns[i] < layout->table->width_columns[i] &&
            (found == NO_LINE || layout->width_columns[i] < layout->width_columns[found])) {
            found = i;
        }
    }
    return found;
}

static void layout_fit(struct layout *layout, size_t limit)
{
    const struct table *table = layout->table;
    for (size_t i = 0; i < table->n_columns; i++) {
        const size_t width = table->width_columns[i];
        const bool is_short = table->columns[i].align == TABLE_LEFT && width > SHORT_MIN_COLUMNS;
        layout->width_columns[i] = is_short ? SHORT_MIN_COLUMNS : width;
    }
    size_t dropped = 0;
    while (fitted_width(layout) > limit && dropped != NO_LINE) {
        dropped = least_wanted(layout);
        if (dropped != NO_LINE) {
            layout->line_of[dropped] = NO_LINE;
        }
    }
    layout->n_columns = fitted_width(layout);
    for (size_t i = shortest(layout); layout->n_columns < limit && i != NO_LINE;
         i = shortest(layout)) {
        layout->width_columns[i]++;
        layout->n_columns++;
    }
}

static void layout_init(struct layout *layout, const struct table *table,
                        const struct screen *screen)
{
    *layout = (struct layout){.table = table, .screen = screen, .n_lines = 1};
    if (table->is_fitted) {
        layout_fit(layout, columns_to_fit(screen));
    } else {
        layout_fold(layout, columns_to_fit(screen));
    }
}

uint32_t table_dropped(const struct table *table, const struct screen *screen)
{
    struct layout layout = table->layout;
    uint32_t dropped = 0;
    if (table->n_printed == 0) {
        layout_init(&layout, table, screen);
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        dropped |= layout.line_of[i] == NO_LINE ? UINT32_C(1) << i : 0;
    }
    return dropped;
}

/* ------------------------------------------------------------------------------- printing ---- */

/* 256: most lines, so that each is written at once. */
#define LINE_BYTES 256

/* A line that is being printed. Blanks wait for a text to follow, so that no line ends in them. */
struct line {
    const struct screen *screen;
    size_t at_columns; /* pending blanks included */
    size_t pending_blanks;
    size_t n_bytes; /* that are not written yet */
    char bytes[LINE_BYTES];
};

static void line_write(struct line *line)
{
    (void)fwrite_unlocked(line->bytes, 1, line->n_bytes, line->screen->file);
    line->n_bytes = 0;
}

static void line_bytes(struct line *line, const char *bytes, size_t n_bytes)
{
    if (n_bytes > sizeof(line->bytes) - line->n_bytes) {
        line_write(line);
    }
    if (n_bytes > sizeof(line->bytes)) {
        (void)fwrite_unlocked(bytes, 1, n_bytes, line->screen->file);
        return;
    }
    memcpy(line->bytes + line->n_bytes, bytes, n_bytes);
    line->n_bytes += n_bytes;
}

static void line_blanks(struct line *line, size_t n_columns)
{
    line->pending_blanks += n_columns;
    line->at_columns += n_columns;
}

static void line_text(struct line *line, const char *text, size_t n_bytes, size_t n_columns)
{
    static const char blanks[] = "                                ";
    if (n_bytes == 0) {
        return;
    }
    while (line->pending_blanks > 0) {
        const size_t most = sizeof(blanks) - 1;
        const size_t n_blanks = line->pending_blanks < most ? line->pending_blanks : most;
        line_bytes(line, blanks, n_blanks);
        line->pending_blanks -= n_blanks;
    }
    line_bytes(line, text, n_bytes);
    line->at_columns += n_columns;
}

/* The text of the last column, below itself as often as it must be. */
static void line_flow(struct line *line, const char *text, size_t width)
{
    size_t from_columns = line->at_columns;
    while (*text) {
        size_t n_bytes;
        size_t next = width_flow(text, width, &n_bytes);
        line_text(line, text, n_bytes, 0);
        text += next;
        if (*text) {
            line_bytes(line, "\n", 1);
            line->pending_blanks = from_columns;
        }
    }
}

/* As much of a text as there is room for, and a sign that it is not all. */
static void line_short(struct line *line, const char *text, size_t width)
{
    size_t n_bytes;
    size_t n_columns = width_prefix(text, width - 1, &n_bytes);
    line_text(line, text, n_bytes, n_columns);
    line_text(line, line->screen->unicode ? "…" : "~", line->screen->unicode ? 3 : 1, 1);
    line_blanks(line, width - 1 - n_columns);
}

static void line_cell(struct line *line, const struct table *table, size_t index,
                      const struct cell *cell, size_t width)
{
    const struct table_column *column = &table->columns[index];
    const size_t blanks = cell->n_columns < width ? width - cell->n_columns : 0;
    const bool is_cut = table->is_fitted && column->align == TABLE_LEFT;
    if (cell->n_columns > width && is_cut && line->screen->n_columns > 0) {
        line_short(line, cell->text, width);
    } else if (cell->n_columns > width && !table->is_fitted) {
        line_flow(line, cell->text, width);
    } else if (column->align == TABLE_RIGHT) {
        line_blanks(line, blanks);
        line_text(line, cell->text, cell->n_bytes, cell->n_columns);
    } else {
        line_text(line, cell->text, cell->n_bytes, cell->n_columns);
        line_blanks(line, blanks);
    }
}

static void line_style(struct line *line, const char *bytes)
{
    line_bytes(line, bytes, strlen(bytes));
}

static void print_line(const struct layout *layout, size_t number, const struct cell *cells,
                       enum style style)
{
    const struct screen *screen = layout->screen;
    struct line line;
    line.screen = screen;
    line.at_columns = 0;
    line.pending_blanks = 0;
    line.n_bytes = 0;
    line_style(&line, style != STYLE_PLAIN ? screen_on(screen, style) : "");
    line_blanks(&line, number > 0 ? FOLD_INDENT_COLUMNS : 0);
    for (size_t i = 0, n_cells = 0; i < layout->table->n_columns; i++) {
        if (layout->line_of[i] == number) {
            line_blanks(&line, n_cells++ > 0 ? GAP_COLUMNS : 0);
            line_cell(&line, layout->table, i, &cells[i], layout->width_columns[i]);
        }
    }
    line_style(&line, style != STYLE_PLAIN ? screen_off(screen, style) : "");
    line_bytes(&line, "\n", 1);
    line_write(&line);
}

static bool line_is_empty(const struct layout *layout, size_t number, const struct cell *cells)
{
    for (size_t i = 0; i < layout->table->n_columns; i++) {
        if (layout->line_of[i] == number && cells[i].n_bytes > 0) {
            return false;
        }
    }
    return true;
}

/* Of a folded row, the lines that say nothing are left out. */
static void print_cells(const struct layout *layout, const struct cell *cells, enum style style)
{
    for (size_t number = 0; number < layout->n_lines; number++) {
        if (layout->n_lines == 1 || !line_is_empty(layout, number, cells)) {
            print_line(layout, number, cells, style);
        }
    }
}

static void print_titles(const struct layout *layout)
{
    struct cell titles[TABLE_MAX_COLUMNS];
    for (size_t i = 0; i < layout->table->n_columns; i++) {
        const char *title = layout->table->columns[i].title;
        titles[i] = (struct cell){title, strlen(title), width_of(title)};
    }
    print_cells(layout, titles, STYLE_BOLD);
}

static void print_rule(const struct layout *layout)
{
    const struct screen *screen = layout->screen;
    (void)fputs(screen_on(screen, STYLE_DIM), screen->file);
    for (size_t i = 0; i < layout->n_columns; i++) {
        (void)fputs(screen->unicode ? "─" : "-", screen->file);
    }
    (void)fprintf(screen->file, "%s\n", screen_off(screen, STYLE_DIM));
}

/* Return: where the next row's texts begin. */
static const char *print_row(const struct layout *layout, const char *text)
{
    struct cell cells[TABLE_MAX_COLUMNS];
    for (size_t i = 0; i < layout->table->n_columns; i++) {
        struct cell_head head;
        memcpy(&head, text, sizeof(head));
        cells[i] = (struct cell){text + sizeof(head), head.n_bytes, head.n_columns};
        text += sizeof(head) + head.n_bytes + 1;
    }
    print_cells(layout, cells, STYLE_PLAIN);
    return text;
}

/* Whether the columns of what is printed already have room for what is not. */
static bool layout_serves(const struct table *table)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        const bool gives_way = table->is_fitted && table->columns[i].align == TABLE_LEFT;
        if (!gives_way && table->width_columns[i] > table->layout.width_columns[i] &&
            table->layout.line_of[i] != NO_LINE) {
            return false;
        }
    }
    return true;
}

/* What is printed already may have had other columns. */
static void stream_layout(struct table *table, const struct screen *screen)
{
    const struct layout before = table->layout;
    if (table->n_printed > 0 && layout_serves(table)) {
        return;
    }
    layout_init(&table->layout, table, screen);
    if (table->columns[0].title &&
        (table->n_printed == 0 ||
         memcmp(before.line_of, table->layout.line_of, sizeof(before.line_of)) != 0)) {
        print_titles(&table->layout);
    }
}

void table_print(struct table *table, const struct screen *screen)
{
    const char *text = table->texts;
    stream_layout(table, screen);
    for (size_t row = 0; row < table->n_rows; row++) {
        if (table->n_printed + row == table->rule_before_row) {
            print_rule(&table->layout);
        }
        text = print_row(&table->layout, text);
    }
    if (table->streams_to) {
        table->n_printed += table->n_rows;
        table->n_rows = 0;
        table->used_bytes = 0;
    }
}

/* Prints the rows that are kept, because more come. */
static void table_spill(struct table *table)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        if (table->columns[i].stream_columns > table->width_columns[i]) {
            table->width_columns[i] = table->columns[i].stream_columns;
        }
    }
    table_print(table, table->streams_to);
    (void)fflush(table->streams_to->file); /* a failure is told by the last flush, too */
}

int table_add(struct table *table, const char *const *cells)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        n_bytes += sizeof(struct cell_head) + strlen(cell_text(cells[i])) + 1;
    }
    if (table->streams_to && table->n_rows == TABLE_STREAM_ROWS) {
        table_spill(table);
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
