/* SPDX-License-Identifier: MIT */
#include "client/ctl/screen.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/ctl/width.h"

static bool locale_is_utf8;

/*
 * Reasons are UTF-8 wherever they are shown, so their width is always measured as UTF-8; whether
 * our own bars and boxes may use more than ASCII is what the user's locale decides.
 */
void screen_prepare(void)
{
    (void)setlocale(LC_CTYPE, ""); /* an unknown locale leaves "C", which is an answer too */
    locale_is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (!locale_is_utf8) {
        (void)setlocale(LC_CTYPE, "C.UTF-8"); /* without it wide characters only align badly */
    }
}

static bool colour_is_wanted(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return (!no_color || !*no_color) && term && strcmp(term, "dumb") != 0;
}

static unsigned terminal_columns(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) {
        return 80; /* what a terminal that does not know its width has */
    }
    return size.ws_col;
}

void screen_init(struct screen *screen, FILE *file)
{
    int fd = fileno(file);
    bool is_terminal = fd >= 0 && isatty(fd);
    *screen = (struct screen){
        .file = file,
        .notes = stderr,
        .unicode = locale_is_utf8,
        .colour = is_terminal && colour_is_wanted(),
        .n_columns = is_terminal ? terminal_columns(fd) : 0,
    };
}

void screen_set_colour(struct screen *screen, enum screen_colour colour)
{
    if (colour != SCREEN_COLOUR_AUTO) {
        screen->colour = colour == SCREEN_COLOUR_ALWAYS;
    }
}

const char *screen_on(const struct screen *screen, enum style style)
{
    if (!screen->colour) {
        return "";
    }
    switch (style) {
    case STYLE_PLAIN:
        return "";
    case STYLE_BOLD:
        return "\033[1m";
    case STYLE_DIM:
        return "\033[2m";
    case STYLE_GOOD:
        return "\033[32m";
    case STYLE_WARN:
        return "\033[33m";
    case STYLE_BAD:
        return "\033[31m";
    }
    return "";
}

const char *screen_off(const struct screen *screen, enum style style)
{
    return screen->colour && style != STYLE_PLAIN ? "\033[0m" : "";
}

/* Narrower, the words would stand one below the other: then the terminal may wrap them. */
#define FLOW_MIN_COLUMNS 8

size_t screen_flow(const struct screen *screen, size_t at_columns, size_t indent_columns,
                   const char *text)
{
    size_t limit = screen->n_columns >= indent_columns + FLOW_MIN_COLUMNS ? screen->n_columns : 0;
    while (limit > 0 && at_columns + width_of(text) > limit) {
        size_t n_bytes = 0;
        size_t next = at_columns < limit ? width_flow(text, limit - at_columns, &n_bytes) : 0;
        /* A word that has no room behind what stands there goes below it, whole. */
        if (at_columns > indent_columns && text[n_bytes] != ' ' && n_bytes == next &&
            (n_bytes == 0 || !strchr(" /", text[n_bytes - 1]))) {
            n_bytes = next = 0;
        }
        (void)fprintf(screen->file, "%.*s\n%*s", (int)n_bytes, text, (int)indent_columns, "");
        text += next;
        at_columns = indent_columns;
    }
    (void)fputs(text, screen->file);
    return at_columns + width_of(text);
}
