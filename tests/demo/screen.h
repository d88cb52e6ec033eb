/* SPDX-License-Identifier: MIT */
/*
 * screen.h - what the audience sees
 *
 * On a terminal of at least 60 columns and 20 lines the frame is painted in place, ten times a
 * second, with colours unless $NO_COLOR is set. Everywhere else it is plain text: a few lines a
 * second, and no control character at all.
 */
#ifndef DEMO_SCREEN_H
#define DEMO_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/demo/cast.h"
#include "tests/demo/snapshot.h"

/* As many lines as the tallest frame has room for. */
#define EVENTS_MAX 16

enum tint {
    TINT_NONE,
    TINT_STRONG,
    TINT_FAINT,
    TINT_GOOD,
    TINT_BAD,
    TINT_CHANGED,
};

struct event {
    uint64_t at_ms;
    bool bad;
    char words[1024];
};

struct screen {
    bool live; /* painted in place */
    bool colour;
    bool blocks; /* the terminal shows UTF-8: bars of block characters */
    size_t n_columns;
    size_t n_lines;
    uint64_t began_us;
    uint64_t painted_us;
    struct snapshot last;
    struct event events[EVENTS_MAX]; /* a ring: event i of all is at i % EVENTS_MAX */
    size_t n_events;
};

/** screen_open() - find out what the terminal can do, and make room on it */
void screen_open(struct screen *screen);

/** screen_close() - leave the cursor below the frame */
void screen_close(struct screen *screen);

/** screen_event() - something has happened: a line of the frame, or one of its own */
void screen_event(struct screen *screen, bool bad, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** screen_due() - whether it is time for the next frame */
bool screen_due(const struct screen *screen);

/** screen_paint() - show the segment as it is now */
void screen_paint(struct screen *screen, const struct snapshot *now, const struct cast *cast);

/** screen_tint() - what to print before coloured text, TINT_NONE after it; "" without colours */
const char *screen_tint(const struct screen *screen, enum tint tint);

#endif
