/* SPDX-License-Identifier: MIT */
#include "client/ctl/box.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/width.h"

/* A blank inside either side of the frame. */
#define PADDING_COLUMNS 4
#define MIN_COLUMNS 44

struct frame {
    const char *top_left, *top_right, *bottom_left, *bottom_right, *across, *down;
};

static const struct frame unicode_frame = {"╭", "╮", "╰", "╯", "─", "│"};
static const struct frame ascii_frame = {"+", "+", "+", "+", "-", "|"};

void box_add(struct box *box, enum style style, const char *format, ...)
{
    char text[BOX_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* too long: cut */
    va_end(arguments);
    if (box->n_lines < BOX_MAX_LINES) {
        box->lines[box->n_lines].style = style;
        memcpy(box->lines[box->n_lines].text, text, sizeof(text));
        box->n_lines++;
    }
}

static size_t inner_columns(const struct box *box, const struct screen *screen)
{
    size_t n_columns = MIN_COLUMNS;
    for (size_t i = 0; i < box->n_lines; i++) {
        size_t line_columns = width_of(box->lines[i].text);
        n_columns = line_columns > n_columns ? line_columns : n_columns;
    }
    if (screen->n_columns > PADDING_COLUMNS && n_columns > screen->n_columns - PADDING_COLUMNS) {
        n_columns = screen->n_columns - PADDING_COLUMNS;
    }
    return n_columns;
}

static void print_edge(const struct screen *screen, const struct frame *frame, const char *left,
                       const char *title, const char *right, size_t n_columns)
{
    size_t title_columns = *title ? width_of(title) + 3 : 0;
    FILE *file = screen->file;
    (void)fprintf(file, "%s%s", screen_on(screen, STYLE_DIM), left);
    if (*title) {
        (void)fprintf(file, "%s%s %s%s%s ", frame->across, screen_off(screen, STYLE_DIM),
                      screen_on(screen, STYLE_BOLD), title, screen_off(screen, STYLE_BOLD));
        (void)fputs(screen_on(screen, STYLE_DIM), file);
    }
    for (size_t i = title_columns; i < n_columns + 2; i++) {
        (void)fputs(frame->across, file);
    }
    (void)fprintf(file, "%s%s\n", right, screen_off(screen, STYLE_DIM));
}

static void print_side(const struct screen *screen, const char *before, const char *side,
                       const char *after)
{
    (void)fprintf(screen->file, "%s%s%s%s%s", before, screen_on(screen, STYLE_DIM), side,
                  screen_off(screen, STYLE_DIM), after);
}

/* Where a line that has no room goes on: below what follows its last wide gap. */
static size_t hanging_indent(const char *text, size_t n_columns)
{
    size_t indent_columns = 0;
    for (const char *gap = strstr(text, "  "); gap; gap = strstr(gap, "  ")) {
        gap += strspn(gap, " ");
        if (*gap) {
            indent_columns = width_of(text) - width_of(gap);
        }
    }
    return indent_columns > n_columns / 2 ? n_columns / 2 : indent_columns;
}

static void print_inner_line(const struct screen *screen, const struct frame *frame,
                             enum style style, size_t indent_columns, const char *text,
                             size_t n_bytes, size_t n_columns)
{
    char line[BOX_LINE_BYTES];
    (void)snprintf(line, sizeof(line), "%.*s", (int)n_bytes, text);
    print_side(screen, "", frame->down, " ");
    (void)fprintf(screen->file, "%*s%s%s%s%*s", (int)indent_columns, "", screen_on(screen, style),
                  line, screen_off(screen, style),
                  (int)(n_columns - indent_columns - width_of(line)), "");
    print_side(screen, " ", frame->down, "\n");
}

static void print_inner(const struct screen *screen, const struct frame *frame, enum style style,
                        const char *text, size_t n_columns)
{
    size_t hanging_columns = hanging_indent(text, n_columns);
    size_t indent_columns = 0;
    do {
        size_t n_bytes;
        size_t next = width_flow(text, n_columns - indent_columns, &n_bytes);
        print_inner_line(screen, frame, style, indent_columns, text, n_bytes, n_columns);
        text += next;
        indent_columns = hanging_columns;
    } while (*text);
}

static void print_framed(const struct box *box, const struct screen *screen)
{
    const struct frame *frame = screen->unicode ? &unicode_frame : &ascii_frame;
    size_t n_columns = inner_columns(box, screen);
    print_edge(screen, frame, frame->top_left, box->title, frame->top_right, n_columns);
    for (size_t i = 0; i < box->n_lines; i++) {
        print_inner(screen, frame, box->lines[i].style, box->lines[i].text, n_columns);
    }
    print_edge(screen, frame, frame->bottom_left, "", frame->bottom_right, n_columns);
}

static void print_plain(const struct box *box, const struct screen *screen)
{
    for (size_t i = 0; i < box->n_lines; i++) {
        if (*box->lines[i].text) {
            (void)fprintf(screen->file, "%s: %s\n", box->title, box->lines[i].text);
        }
    }
}

/* A stream that is no terminal has no columns. */
void box_print(const struct box *box, const struct screen *screen)
{
    if (screen->n_columns > 0) {
        print_framed(box, screen);
    } else {
        print_plain(box, screen);
    }
}
