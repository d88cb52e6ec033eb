/* SPDX-License-Identifier: MIT */
/*
 * canvas.h - a picture of text: lines, each of them styled pieces one behind the other
 *
 * What draws on it knows no terminal, so a test compares a whole screen as text. No line gets wider
 * than the canvas: what has no room is cut, and the last character of what is left is a mark.
 */
#ifndef CTL_TOP_CANVAS_H
#define CTL_TOP_CANVAS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/ctl/screen.h"

struct canvas_piece {
    size_t n_bytes;
    enum style style;
};

struct canvas_line {
    char *text; /* without an end: the pieces have their lengths */
    size_t n_bytes;
    size_t capacity;
    size_t n_columns;
    struct canvas_piece *pieces;
    size_t n_pieces;
    size_t piece_capacity;
    bool is_selected;
};

struct canvas {
    size_t max_columns; /* 0: a line is as long as it is */
    bool unicode;
    bool has_failed; /* there was no memory; the picture is to be thrown away */
    struct canvas_line *lines;
    size_t n_lines;
    size_t capacity;
};

/** canvas_fini() - free all; an empty canvas has nothing but its width and its characters */
void canvas_fini(struct canvas *canvas);

/** canvas_begin() - begin a line, below all others */
void canvas_begin(struct canvas *canvas);

/** canvas_select() - mark the last line as the selected one */
void canvas_select(struct canvas *canvas);

/** canvas_put() - add a text that a terminal may see to the last line */
void canvas_put(struct canvas *canvas, enum style style, const char *text);

/** canvas_cell() - the same in a field of n_columns, at its left or its right */
void canvas_cell(struct canvas *canvas, enum style style, const char *text, size_t n_columns,
                 bool is_right);

/** canvas_pad() - add blanks until the last line has n_columns */
void canvas_pad(struct canvas *canvas, size_t n_columns);

/** canvas_column() - how many columns the last line has */
size_t canvas_column(const struct canvas *canvas);

/** canvas_room() - how many more it can have; SIZE_MAX if that is not limited */
size_t canvas_room(const struct canvas *canvas);

/** canvas_print() - write the picture as text, without blanks at the end of a line */
void canvas_print(const struct canvas *canvas, const struct screen *screen);

#endif
