/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/canvas.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/width.h"

void canvas_fini(struct canvas *canvas)
{
    for (size_t i = 0; i < canvas->capacity; i++) {
        free(canvas->lines[i].text);
        free(canvas->lines[i].pieces);
    }
    free(canvas->lines);
    *canvas = (struct canvas){.max_columns = canvas->max_columns, .unicode = canvas->unicode};
}

/* Makes room for one more element. Return: whether there is. */
static bool grow(struct canvas *canvas, void **array, size_t *capacity, size_t n, size_t each_bytes)
{
    size_t larger = *capacity ? *capacity : 16;
    while (larger < n) {
        larger *= 2;
    }
    if (n <= *capacity) {
        return true;
    }
    char *grown = realloc(*array, larger * each_bytes);
    if (!grown) {
        canvas->has_failed = true;
        return false;
    }
    memset(grown + *capacity * each_bytes, 0, (larger - *capacity) * each_bytes);
    *array = grown;
    *capacity = larger;
    return true;
}

void canvas_begin(struct canvas *canvas)
{
    void *lines = canvas->lines;
    if (grow(canvas, &lines, &canvas->capacity, canvas->n_lines + 1, sizeof(*canvas->lines))) {
        canvas->lines = lines;
        canvas->n_lines++;
    }
}

static struct canvas_line *last_line(const struct canvas *canvas)
{
    return canvas->n_lines > 0 ? &canvas->lines[canvas->n_lines - 1] : NULL;
}

void canvas_select(struct canvas *canvas)
{
    struct canvas_line *line = last_line(canvas);
    if (line) {
        line->is_selected = true;
    }
}

size_t canvas_column(const struct canvas *canvas)
{
    const struct canvas_line *line = last_line(canvas);
    return line ? line->n_columns : 0;
}

size_t canvas_room(const struct canvas *canvas)
{
    const size_t taken = canvas_column(canvas);
    if (canvas->max_columns == 0) {
        return SIZE_MAX;
    }
    return canvas->max_columns > taken ? canvas->max_columns - taken : 0;
}

static void append(struct canvas *canvas, enum style style, const char *bytes, size_t n_bytes,
                   size_t n_columns)
{
    struct canvas_line *line = last_line(canvas);
    void *text = line ? line->text : NULL;
    void *pieces = line ? line->pieces : NULL;
    if (!line || n_bytes == 0 ||
        !grow(canvas, &text, &line->capacity, line->n_bytes + n_bytes, 1)) {
        return;
    }
    line->text = text;
    if (!grow(canvas, &pieces, &line->piece_capacity, line->n_pieces + 1, sizeof(*line->pieces))) {
        return;
    }
    line->pieces = pieces;
    line->pieces[line->n_pieces++] = (struct canvas_piece){n_bytes, style};
    memcpy(line->text + line->n_bytes, bytes, n_bytes);
    line->n_bytes += n_bytes;
    line->n_columns += n_columns;
}

/* Adds no more than so many columns of a text. Return: the columns that were added. */
static size_t put_cut(struct canvas *canvas, enum style style, const char *text, size_t n_columns)
{
    size_t n_bytes;
    const size_t room = canvas_room(canvas);
    const size_t limit = n_columns < room ? n_columns : room;
    size_t width = width_of(text);
    if (width <= limit) {
        append(canvas, style, text, strlen(text), width);
        return width;
    }
    if (limit == 0) {
        return 0;
    }
    width = width_prefix(text, limit - 1, &n_bytes);
    append(canvas, style, text, n_bytes, width);
    append(canvas, style, canvas->unicode ? "…" : "~", canvas->unicode ? strlen("…") : 1, 1);
    return width + 1;
}

void canvas_put(struct canvas *canvas, enum style style, const char *text)
{
    (void)put_cut(canvas, style, text, SIZE_MAX);
}

void canvas_pad(struct canvas *canvas, size_t n_columns)
{
    static const char blanks[] = "                                ";
    const size_t most = sizeof(blanks) - 1;
    while (canvas_column(canvas) < n_columns && canvas_room(canvas) > 0 && !canvas->has_failed) {
        size_t n = n_columns - canvas_column(canvas);
        n = n < most ? n : most;
        n = n < canvas_room(canvas) ? n : canvas_room(canvas);
        append(canvas, STYLE_PLAIN, blanks, n, n);
        if (canvas->n_lines == 0) {
            return;
        }
    }
}

void canvas_cell(struct canvas *canvas, enum style style, const char *text, size_t n_columns,
                 bool is_right)
{
    const size_t from = canvas_column(canvas);
    const size_t width = width_of(text);
    if (is_right && width < n_columns) {
        canvas_pad(canvas, from + n_columns - width);
    }
    (void)put_cut(canvas, style, text, n_columns);
    canvas_pad(canvas, from + n_columns);
}

static void print_line(const struct canvas_line *line, const struct screen *screen)
{
    size_t n_kept = line->n_bytes;
    size_t at = 0;
    while (n_kept > 0 && line->text[n_kept - 1] == ' ') {
        n_kept--;
    }
    for (size_t i = 0; i < line->n_pieces && at < n_kept; i++) {
        const struct canvas_piece *piece = &line->pieces[i];
        const size_t n_bytes = piece->n_bytes < n_kept - at ? piece->n_bytes : n_kept - at;
        (void)fprintf(screen->file, "%s%.*s%s", screen_on(screen, piece->style), (int)n_bytes,
                      line->text + at, screen_off(screen, piece->style));
        at += piece->n_bytes;
    }
    (void)fputc('\n', screen->file);
}

void canvas_print(const struct canvas *canvas, const struct screen *screen)
{
    for (size_t i = 0; i < canvas->n_lines; i++) {
        print_line(&canvas->lines[i], screen);
    }
}
