/* SPDX-License-Identifier: MIT */
/*
 * box.h - a few lines of text with a frame around them
 *
 * Framed on a terminal. Elsewhere each line begins with the title instead, so that it is found
 * among a program's own output in a log.
 */
#ifndef CTL_BOX_H
#define CTL_BOX_H

#include <stddef.h>

#include "client/ctl/screen.h"

#define BOX_MAX_LINES 32
/* The longest reason, escaped, and the figures before it; longer lines are cut on every screen. */
#define BOX_LINE_BYTES 600

struct box {
    const char *title; /* borrowed */
    size_t n_lines;
    struct {
        enum style style;
        char text[BOX_LINE_BYTES];
    } lines[BOX_MAX_LINES];
};

/** box_add() - add a line, printf style; one too many is dropped */
__attribute__((format(printf, 3, 4))) void box_add(struct box *box, enum style style,
                                                   const char *format, ...);

/**
 * box_print() - print the lines, longer ones in several
 *
 * An empty text is an empty line in a frame, and none without.
 */
void box_print(const struct box *box, const struct screen *screen);

#endif
