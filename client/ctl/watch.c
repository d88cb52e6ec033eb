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

/* Nothing has to be put in order: an answer is written in one piece. */
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

/* Return: as watch_show_fn has it; *ret_text is to be freed, NULL if there is no memory. */
static int render(const struct screen *screen, watch_show_fn show, void *user, char **ret_text)
{
    struct screen page;
    size_t n_bytes = 0;
    *ret_text = NULL;
    screen_init(&page, screen->file); /* it may have another width by now */
    page.colour = screen->colour;
    page.file = open_memstream(ret_text, &n_bytes);
    if (!page.file) {
        return STATUS_ERROR;
    }
    page.notes = can_redraw(screen) ? page.file : stderr;
    int status = show(&page, user);
    if (fclose(page.file) != 0) {
        status = STATUS_ERROR;
    }
    return status;
}

int watch(const struct screen *screen, unsigned interval_ms, bool has_blanks, watch_show_fn show,
          void *user)
{
    const struct timespec interval = {interval_ms / 1000, (long)(interval_ms % 1000) * 1000000};
    const struct sigaction action = {.sa_handler = end};
    (void)sigaction(SIGINT, &action, NULL);
    for (bool is_first = true;; is_first = false) {
        char *text;
        const int status = render(screen, show, user, &text);
        if (text && can_redraw(screen)) {
            redraw(screen, text);
        } else if (text) {
            (void)fputs(has_blanks && !is_first ? "\n" : "", screen->file);
            (void)fputs(text, screen->file);
        }
        free(text);
        if (status != STATUS_OK || fflush(screen->file) != 0) {
            return status ? status : STATUS_ERROR;
        }
        (void)nanosleep(&interval, NULL);
    }
}
