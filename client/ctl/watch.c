/* SPDX-License-Identifier: MIT */
#include "client/ctl/watch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/status.h"

/* To the left upper corner; to the end of the line; to that of the screen: erased. */
#define HOME "\033[H"
#define ERASE_LINE "\033[K"
#define ERASE_BELOW "\033[J"

/* Nothing has to be put in order. */
static void end(int number)
{
    (void)number;
    _exit(STATUS_OK);
}

static bool can_redraw(const struct screen *screen)
{
    const char *term = getenv("TERM");
    return screen->n_columns > 0 && term && strcmp(term, "dumb") != 0;
}

/* The lines of a terminal, without the one in which the cursor stands. */
static size_t n_lines(const struct screen *screen)
{
    struct winsize size;
    if (ioctl(fileno(screen->file), TIOCGWINSZ, &size) < 0 || size.ws_row < 2) {
        return 23; /* of 24, what a terminal that does not know has */
    }
    return size.ws_row - 1U;
}

static void redraw(const struct screen *screen, const char *text)
{
    (void)fputs(HOME, screen->file);
    for (size_t left = n_lines(screen); *text && left > 0; left--) {
        const size_t n_bytes = strcspn(text, "\n");
        (void)fwrite(text, 1, n_bytes, screen->file);
        (void)fputs(ERASE_LINE "\n", screen->file);
        text += n_bytes + (text[n_bytes] == '\n');
    }
    (void)fputs(ERASE_BELOW, screen->file);
}

/* What a terminal shows of an answer: its first lines. However long it is, no more is kept. */
struct page {
    char *text;
    size_t n_bytes;
    size_t lines_left;
    bool failed;
};

/* A cookie_write_function_t. */
static ssize_t page_write(void *cookie, const char *bytes, size_t n_bytes)
{
    struct page *page = cookie;
    size_t n_kept = 0;
    while (n_kept < n_bytes && page->lines_left > 0) {
        page->lines_left -= bytes[n_kept++] == '\n';
    }
    char *grown = n_kept > 0 ? realloc(page->text, page->n_bytes + n_kept + 1) : page->text;
    if (!grown) {
        page->failed = page->failed || n_kept > 0;
        return (ssize_t)n_bytes;
    }
    memcpy(grown + page->n_bytes, bytes, n_kept);
    page->text = grown;
    page->n_bytes += n_kept;
    page->text[page->n_bytes] = '\0';
    return (ssize_t)n_bytes;
}

/* In the place of the last answer. */
static int show_again(const struct screen *screen, watch_show_fn show, void *user)
{
    const cookie_io_functions_t functions = {.write = page_write};
    struct page page = {.lines_left = n_lines(screen)};
    struct screen inner;
    screen_init(&inner, screen->file); /* it may have another width by now */
    inner.colour = screen->colour;
    inner.file = fopencookie(&page, "w", functions);
    if (!inner.file) {
        return STATUS_ERROR;
    }
    inner.notes = inner.file;
    int status = show(&inner, user);
    if (fclose(inner.file) != 0 || page.failed) {
        status = status ? status : STATUS_ERROR;
    }
    redraw(screen, page.text ? page.text : "");
    free(page.text);
    return status;
}

/* Below the last answer. */
static int show_next(const struct screen *screen, bool has_blank, watch_show_fn show, void *user)
{
    struct screen inner;
    screen_init(&inner, screen->file);
    inner.colour = screen->colour;
    (void)fputs(has_blank ? "\n" : "", screen->file);
    return show(&inner, user);
}

int watch(const struct screen *screen, unsigned interval_ms, bool has_blanks, watch_show_fn show,
          void *user)
{
    const struct timespec interval = {interval_ms / 1000, (long)(interval_ms % 1000) * 1000000};
    const struct sigaction action = {.sa_handler = end};
    (void)sigaction(SIGINT, &action, NULL);
    for (bool is_first = true;; is_first = false) {
        const int status = can_redraw(screen)
                               ? show_again(screen, show, user)
                               : show_next(screen, has_blanks && !is_first, show, user);
        if (status != STATUS_OK || fflush(screen->file) != 0) {
            return status ? status : STATUS_ERROR;
        }
        (void)nanosleep(&interval, NULL);
    }
}
