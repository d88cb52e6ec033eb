/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/grid.h"

#include <stdint.h>
#include <string.h>

#include "client/ctl/table.h"
#include "client/ctl/width.h"

#define GAP_COLUMNS 2
/* 24: a level of a reason, its mark and its indentation. */
#define REASON_MIN_COLUMNS 24
/* 15: what the kernel keeps of a command. */
#define COMMAND_COLUMNS 15
/* 24: a text in the middle that is longer, and none of ours is, is cut. */
#define WORD_MAX_COLUMNS 24

struct grid {
    const struct model *model;
    const struct column *shown[TABLE_MAX_COLUMNS];
    size_t widths[TABLE_MAX_COLUMNS];
    size_t n_shown;
    size_t first;
    size_t n_seen;
};

static struct escaped cell_of(const struct grid *grid, size_t i, const void *row)
{
    struct escaped cell = {.text = ""};
    const struct column *column = grid->shown[i];
    const struct model *model = grid->model;
    if (model->page == PAGE_REASONS && column->kind == COLUMN_TEXT) {
        return node_label(row, model->is_flat, model->unicode);
    }
    const char *text = column_cell(column, row, model->exactly, &cell);
    if (text != cell.text) {
        (void)stpncpy(cell.text, text, sizeof(cell.text) - 1);
    }
    return cell;
}

/* What values of a kind take when they are large. */
static size_t usual_columns(const struct column *column)
{
    switch (column->kind) {
    case COLUMN_BYTES:
    case COLUMN_AGE:
        return 9; /* "123.4 MiB", "23 h 59 m" */
    case COLUMN_GROWN_BYTES:
        return 10; /* "+123.4 MiB" */
    case COLUMN_COUNT:
    case COLUMN_GROWN_COUNT:
    case COLUMN_SHARE:
    case COLUMN_PID:
        return 7; /* "123,456", "100.0 %" */
    case COLUMN_USER:
    case COLUMN_WORD:
        return 8;
    case COLUMN_OFFSET:
        return 12;
    case COLUMN_ID:
    case COLUMN_FLAG:
    case COLUMN_TEXT:
    case COLUMN_NESTED:
        break;
    }
    return 4;
}

static size_t width_here(const struct grid *grid, size_t i)
{
    const struct column *column = grid->shown[i];
    size_t widest = usual_columns(column);
    const size_t title = width_of(column->title);
    widest = title > widest ? title : widest;
    for (size_t line = grid->first; line < grid->first + grid->n_seen; line++) {
        const struct escaped cell = cell_of(grid, i, grid->model->lines[line]);
        const size_t width = width_of(cell.text);
        widest = width > widest ? width : widest;
    }
    const bool may_cut = column_is_left(column) && column->kind != COLUMN_WORD;
    return may_cut && widest > WORD_MAX_COLUMNS ? WORD_MAX_COLUMNS : widest;
}

static size_t taken_columns(const struct grid *grid)
{
    size_t n_columns = 0;
    for (size_t i = 0; i + 1 < grid->n_shown; i++) {
        n_columns += grid->widths[i] + GAP_COLUMNS;
    }
    return n_columns;
}

static void leave_out(struct grid *grid, size_t which)
{
    const size_t n_after = grid->n_shown - which - 1;
    memmove(&grid->shown[which], &grid->shown[which + 1], n_after * sizeof(grid->shown[0]));
    memmove(&grid->widths[which], &grid->widths[which + 1], n_after * sizeof(grid->widths[0]));
    grid->n_shown--;
}

static void fit(struct grid *grid, size_t max_columns)
{
    const bool is_long = grid->model->page == PAGE_REASONS || grid->model->page == PAGE_LIMITS;
    const size_t last_columns = is_long ? REASON_MIN_COLUMNS : COMMAND_COLUMNS;
    while (max_columns > 0 && taken_columns(grid) + last_columns > max_columns) {
        size_t which = 0;
        for (size_t i = 0; i + 1 < grid->n_shown; i++) {
            which = grid->shown[i]->drop > grid->shown[which]->drop ? i : which;
        }
        if (grid->n_shown < 2 || grid->shown[which]->drop == 0) {
            return;
        }
        leave_out(grid, which);
    }
}

/* A change says with its sign which way it goes; the colour says it once more. */
static enum style cell_style(const struct column *column, const char *text)
{
    if (column->kind != COLUMN_GROWN_BYTES) {
        return STYLE_PLAIN;
    }
    if (text[0] == '+') {
        return STYLE_WARN;
    }
    return text[0] == '-' && text[1] != '\0' ? STYLE_GOOD : STYLE_DIM;
}

static void draw_cell(const struct grid *grid, size_t i, enum style style, const char *text,
                      struct canvas *canvas)
{
    const bool is_last = i + 1 == grid->n_shown;
    if (is_last) {
        canvas_put(canvas, style, text);
    } else {
        canvas_cell(canvas, style, text, grid->widths[i], !column_is_left(grid->shown[i]));
        canvas_pad(canvas, canvas_column(canvas) + GAP_COLUMNS);
    }
}

static void draw_titles(const struct grid *grid, struct canvas *canvas)
{
    const struct column *by = grid->model->views[grid->model->page].by;
    canvas_begin(canvas);
    for (size_t i = 0; i < grid->n_shown; i++) {
        draw_cell(grid, i, grid->shown[i] == by ? STYLE_BOLD : STYLE_DIM, grid->shown[i]->title,
                  canvas);
    }
}

void grid_draw(const struct model *model, size_t first, size_t n_seen, bool has_selection,
               struct canvas *canvas)
{
    struct grid grid = {.model = model, .first = first, .n_seen = n_seen};
    const size_t selected = model->views[model->page].selected_at;
    grid.n_shown = page_shown(page_get(model->page), grid.shown);
    for (size_t i = 0; i < grid.n_shown; i++) {
        grid.widths[i] = width_here(&grid, i);
    }
    fit(&grid, canvas->max_columns);
    draw_titles(&grid, canvas);
    for (size_t line = first; line < first + n_seen; line++) {
        canvas_begin(canvas);
        for (size_t i = 0; i < grid.n_shown; i++) {
            const struct escaped cell = cell_of(&grid, i, model->lines[line]);
            draw_cell(&grid, i, cell_style(grid.shown[i], cell.text), cell.text, canvas);
        }
        if (has_selection && line == selected) {
            canvas_select(canvas);
        }
    }
}
