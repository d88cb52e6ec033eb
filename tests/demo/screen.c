/* SPDX-License-Identifier: MIT */
/*
 * A frame is put together in memory and written at once, so that a terminal never shows half of it.
 * Every line ends with "erase the rest", and nothing is erased before: nothing flickers.
 *
 *      title                        1
 *      usage and its bar            2, between empty lines
 *      ledger                       1 + what is free, and a line for the rest
 *      the cast                     a line each
 *      what has happened last       2/5 of what is free
 *
 * Text from elsewhere is cut to the width of its column; a line never wraps.
 */
#include "tests/demo/screen.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LIVE_COLUMNS_MIN 60
#define LIVE_LINES_MIN 20
#define LIVE_PERIOD_US 100000
#define PLAIN_PERIOD_US 1000000
/* Title, two of usage, the ledger's head and rest, four empty ones. */
#define FIXED_LINES 9
/* Blocks, bytes, arrow and the gaps of a ledger's row. */
#define FIGURES_COLUMNS 26
#define PLAIN_ROWS 6
#define EVENT_TIME_COLUMNS 11
/* A refusal names five holders; three lines have room for the first of them. */
#define EVENT_LINES_MAX 3

/* Return: false, and nothing changed, if the terminal is too small or none. */
static bool screen_measure(struct screen *screen)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= LIVE_COLUMNS_MIN &&
        size.ws_row >= LIVE_LINES_MIN) {
        screen->n_columns = size.ws_col < 160 ? size.ws_col : 160;
        screen->n_lines = size.ws_row < 60 ? size.ws_row : 60;
        return true;
    }
    return false;
}

void screen_open(struct screen *screen)
{
    const char *terminal = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");

    *screen = (struct screen){.n_columns = 80, .n_lines = 24, .began_us = now_us()};
    setlocale(LC_CTYPE, "");
    screen->blocks = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0) {
        screen->live = screen_measure(screen);
        screen->colour = !no_colour || !*no_colour;
    }
    if (screen->live) {
        /* What was on the terminal moves up instead of being painted over; the cursor hides. */
        for (size_t i = 0; i < screen->n_lines; i++) {
            putchar('\n');
        }
        fputs("\033[?25l", stdout);
    }
}

void screen_close(struct screen *screen)
{
    if (screen->live) {
        fputs("\033[?25h", stdout);
        fflush(stdout);
        screen->live = false;
    }
}

const char *screen_tint(const struct screen *screen, enum tint tint)
{
    static const char *const codes[] = {
        [TINT_NONE] = "\033[0m",  [TINT_STRONG] = "\033[1m", [TINT_FAINT] = "\033[2m",
        [TINT_GOOD] = "\033[32m", [TINT_BAD] = "\033[1;31m", [TINT_CHANGED] = "\033[33m",
    };

    return screen->colour ? codes[tint] : "";
}

static uint64_t elapsed_ms(const struct screen *screen)
{
    return (now_us() - screen->began_us) / 1000;
}

void screen_event(struct screen *screen, bool bad, const char *format, ...)
{
    struct event *event = &screen->events[screen->n_events++ % EVENTS_MAX];
    va_list arguments;

    event->at_ms = elapsed_ms(screen);
    event->bad = bad;
    va_start(arguments, format);
    vsnprintf(event->words, sizeof(event->words), format, arguments);
    va_end(arguments);
    if (!screen->live) {
        printf("%5.1f s  %s%s\n", (double)event->at_ms / 1000, bad ? "! " : "* ", event->words);
        fflush(stdout);
    }
}

bool screen_due(const struct screen *screen)
{
    uint64_t period_us = screen->live ? LIVE_PERIOD_US : PLAIN_PERIOD_US;

    return now_us() - screen->painted_us >= period_us;
}

/* ------------------------------------------------------------------------------- one frame ---- */

/* A page in memory, and what it is painted for. */
struct frame {
    const struct screen *screen;
    FILE *out;
};

static void frame_tint(const struct frame *frame, enum tint tint)
{
    fputs(screen_tint(frame->screen, tint), frame->out);
}

static void frame_end_line(const struct frame *frame)
{
    frame_tint(frame, TINT_NONE);
    fputs(frame->screen->live ? "\033[K\n" : "\n", frame->out);
}

/* n_eighths of n_cells * 8, in block characters or in '#'. */
static void frame_bar(const struct frame *frame, size_t n_cells, size_t n_eighths)
{
    static const char *const parts[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};

    for (size_t i = 0; i < n_cells; i++) {
        size_t rest = n_eighths > i * 8 ? n_eighths - i * 8 : 0;
        if (frame->screen->blocks) {
            fputs(rest == 0 && i % 4 == 3 ? "·" : parts[rest < 8 ? rest : 8], frame->out);
        } else {
            fputc(rest >= 4 ? '#' : '.', frame->out);
        }
    }
}

/* Eighths of a cell; what is there at all shows at least one. */
static size_t eighths_of(uint64_t part, uint64_t whole, size_t n_cells)
{
    if (whole == 0) {
        return 0;
    }
    size_t n_eighths = (size_t)(part * n_cells * 8 / whole);
    return part > 0 && n_eighths == 0 ? 1 : n_eighths;
}

static void frame_title(const struct frame *frame, const struct snapshot *now)
{
    char segment[16];

    frame_tint(frame, TINT_STRONG);
    fprintf(frame->out, "kmemd demo   one segment of %s, clients: %" PRIu64 "   %4.1f s",
            kmem_query_format_bytes(now->segment_bytes, segment, sizeof(segment)), now->n_clients,
            (double)elapsed_ms(frame->screen) / 1000);
    frame_end_line(frame);
}

static void frame_usage(const struct frame *frame, const struct snapshot *now)
{
    size_t n_cells = frame->screen->n_columns - 32;
    char used[16];
    char peak[16];

    kmem_query_format_bytes(now->used_bytes, used, sizeof(used));
    kmem_query_format_bytes(now->peak_bytes, peak, sizeof(peak));
    fprintf(frame->out, "used %10s  ", used);
    frame_tint(frame, TINT_GOOD);
    frame_bar(frame, n_cells, eighths_of(now->used_bytes, now->segment_bytes, n_cells));
    frame_end_line(frame);
    frame_tint(frame, TINT_FAINT);
    fprintf(frame->out,
            "peak %10s  %" PRIu64 " blocks, %" PRIu64 " allocated and %" PRIu64 " released in all",
            peak, now->n_blocks, now->n_allocations, now->n_releases);
    frame_end_line(frame);
}

static void frame_ledger_row(const struct frame *frame, const struct snapshot_row *row,
                             uint64_t most_bytes)
{
    const struct screen *screen = frame->screen;
    const struct snapshot_row *before = snapshot_row_before(&screen->last, row->reason);
    uint64_t before_bytes = before ? before->num_bytes : 0;
    int n_reason = (int)(screen->n_columns - FIGURES_COLUMNS) * 3 / 5;
    size_t n_cells = screen->n_columns - FIGURES_COLUMNS - (size_t)n_reason;
    bool changed = row->num_bytes != before_bytes;
    char bytes[16];

    kmem_query_format_bytes(row->num_bytes, bytes, sizeof(bytes));
    frame_tint(frame, changed ? TINT_CHANGED : TINT_NONE);
    fprintf(frame->out, "%-*.*s %8" PRIu64 " %11s %c ", n_reason, n_reason, row->reason,
            row->n_blocks, bytes,
            !changed                        ? ' '
            : row->num_bytes > before_bytes ? '+'
                                            : '-');
    if (screen->live) {
        frame_bar(frame, n_cells, eighths_of(row->num_bytes, most_bytes, n_cells));
    }
    frame_end_line(frame);
}

static void frame_ledger(const struct frame *frame, const struct snapshot *now, size_t n_lines)
{
    size_t n_shown = now->n_rows < n_lines ? now->n_rows : n_lines;
    int n_reason = (int)(frame->screen->n_columns - FIGURES_COLUMNS) * 3 / 5;

    frame_tint(frame, TINT_STRONG);
    fprintf(frame->out, "%-*s %8s %11s", n_reason, "REASON", "BLOCKS", "BYTES");
    frame_end_line(frame);
    for (size_t i = 0; i < n_shown; i++) {
        frame_ledger_row(frame, &now->rows[i], now->rows[0].num_bytes);
    }
    for (size_t i = n_shown; i < n_lines && frame->screen->live; i++) {
        frame_end_line(frame);
    }
    frame_tint(frame, TINT_FAINT);
    if (now->n_groups > n_shown) {
        fprintf(frame->out, "and %zu more reasons", now->n_groups - n_shown);
    }
    if (now->n_groups > n_shown || frame->screen->live) {
        frame_end_line(frame);
    }
}

static void frame_member(const struct frame *frame, const struct member *member)
{
    static const enum tint tints[] = {
        [MEMBER_WORKS] = TINT_NONE,  [MEMBER_HOLDS] = TINT_GOOD, [MEMBER_LEAVES] = TINT_CHANGED,
        [MEMBER_ENDED] = TINT_FAINT, [MEMBER_KILLED] = TINT_BAD, [MEMBER_FAILED] = TINT_BAD,
    };
    int n_words = (int)frame->screen->n_columns - 18;

    frame_tint(frame, tints[member->state]);
    fprintf(frame->out, "%-8s %7d  %.*s", member->role, (int)member->pid, n_words, member->at);
    frame_end_line(frame);
}

/* How many bytes of words go on a line: all, or up to the last space that fits, or what fits. */
static size_t wrap_at(const char *words, size_t n_columns)
{
    size_t n_words = strnlen(words, n_columns + 1);

    if (n_words <= n_columns) {
        return n_words;
    }
    for (size_t i = n_columns; i > 0; i--) {
        if (words[i] == ' ') {
            return i;
        }
    }
    return n_columns;
}

/* No more than EVENT_LINES_MAX; the rest of a longer one is not shown. */
static size_t event_lines(const struct event *event, size_t n_columns)
{
    const char *words = event->words;
    size_t n_lines = 0;

    do {
        words += wrap_at(words, n_columns - EVENT_TIME_COLUMNS);
        words += *words == ' ';
        n_lines++;
    } while (*words && n_lines < EVENT_LINES_MAX);
    return n_lines;
}

static void frame_event(const struct frame *frame, const struct event *event)
{
    const char *words = event->words;
    size_t n_lines = event_lines(event, frame->screen->n_columns);

    fprintf(frame->out, "%6.1f s   ", (double)event->at_ms / 1000);
    do {
        size_t n_words = wrap_at(words, frame->screen->n_columns - EVENT_TIME_COLUMNS);
        frame_tint(frame, event->bad ? TINT_BAD : TINT_NONE);
        fprintf(frame->out, "%.*s", (int)n_words, words);
        frame_end_line(frame);
        words += n_words;
        words += *words == ' ';
        if (--n_lines > 0) {
            fprintf(frame->out, "%*s", EVENT_TIME_COLUMNS, "");
        }
    } while (n_lines > 0);
}

/* The last events that fit n_lines lines, oldest first. */
static void frame_events(const struct frame *frame, size_t n_lines)
{
    const struct screen *screen = frame->screen;
    size_t first = screen->n_events;

    while (first > 0 && screen->n_events - first < EVENTS_MAX) {
        const struct event *event = &screen->events[(first - 1) % EVENTS_MAX];
        size_t n_more = event_lines(event, screen->n_columns);
        if (n_more > n_lines) {
            break;
        }
        n_lines -= n_more;
        first--;
    }
    for (size_t i = first; i < screen->n_events; i++) {
        frame_event(frame, &screen->events[i % EVENTS_MAX]);
    }
}

static void frame_live(const struct frame *frame, const struct snapshot *now,
                       const struct cast *cast)
{
    size_t n_free = frame->screen->n_lines - FIXED_LINES - CAST_MAX - 1;
    size_t n_event_lines = n_free * 2 / 5;

    fputs("\033[H", frame->out);
    frame_title(frame, now);
    frame_end_line(frame);
    frame_usage(frame, now);
    frame_end_line(frame);
    frame_ledger(frame, now, n_free - n_event_lines);
    frame_end_line(frame);
    for (size_t i = 0; i < CAST_MAX; i++) {
        if (i < cast->n_members) {
            frame_member(frame, &cast->members[i]);
        } else {
            frame_end_line(frame);
        }
    }
    frame_end_line(frame);
    frame_events(frame, n_event_lines);
    fputs("\033[J", frame->out);
}

static void frame_plain(const struct frame *frame, const struct snapshot *now)
{
    char used[16];
    char segment[16];

    fprintf(frame->out, "\n%5.1f s  %s of %s used, blocks: %" PRIu64 ", clients: %" PRIu64 "\n",
            (double)elapsed_ms(frame->screen) / 1000,
            kmem_query_format_bytes(now->used_bytes, used, sizeof(used)),
            kmem_query_format_bytes(now->segment_bytes, segment, sizeof(segment)), now->n_blocks,
            now->n_clients);
    if (now->n_rows > 0) {
        frame_ledger(frame, now, PLAIN_ROWS);
    }
    fputc('\n', frame->out);
}

void screen_paint(struct screen *screen, const struct snapshot *now, const struct cast *cast)
{
    char *page = NULL;
    size_t page_bytes = 0;
    struct frame frame = {.screen = screen, .out = open_memstream(&page, &page_bytes)};

    if (!frame.out) {
        return;
    }
    if (screen->live) {
        (void)screen_measure(screen); /* a window that has become too small keeps its old frame */
        frame_live(&frame, now, cast);
    } else {
        frame_plain(&frame, now);
    }
    fclose(frame.out);
    fwrite(page, 1, page_bytes, stdout);
    fflush(stdout);
    free(page);
    screen->last = *now;
    screen->painted_us = now_us();
}
