/* SPDX-License-Identifier: MIT */
/*
 * screen.h - what the place that kmemctl prints to can show
 *
 * Asked once, when the program starts; everything that prints is told. A test makes its own screen
 * on a memory stream.
 */
#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct screen {
    FILE *file;         /* borrowed */
    FILE *notes;        /* borrowed: what is no part of the answer goes there */
    bool unicode;       /* the locale's characters are UTF-8: bars and boxes may be drawn */
    bool colour;        /* a terminal, and neither $NO_COLOR nor TERM=dumb */
    unsigned n_columns; /* the terminal's width; 0 if it is none: a line is as long as it is */
};

enum style {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_BAD,
};

/** screen_prepare() - choose the locale; once, before the first screen_init() */
void screen_prepare(void);

/** screen_init() - find out what a stream can show; it is coloured as $NO_COLOR has it */
void screen_init(struct screen *screen, FILE *file);

/* When an answer is coloured. */
enum screen_colour {
    SCREEN_COLOUR_AUTO, /* on a terminal, unless $NO_COLOR or $TERM says otherwise */
    SCREEN_COLOUR_ALWAYS,
    SCREEN_COLOUR_NEVER,
};

/** screen_set_colour() - colour it as the user wants it */
void screen_set_colour(struct screen *screen, enum screen_colour colour);

/** screen_on() - the bytes that begin a style; "" where there is no colour */
const char *screen_on(const struct screen *screen, enum style style);

/** screen_off() - the bytes that end it; "" for a style that began with "" */
const char *screen_off(const struct screen *screen, enum style style);

/**
 * screen_flow() - print words, in as many lines as it takes
 * @at_columns:      what stands in the first line already
 * @indent_columns:  what stands before the words in all others
 * Return: the columns that the last line has; it is not ended.
 */
size_t screen_flow(const struct screen *screen, size_t at_columns, size_t indent_columns,
                   const char *text);

#endif
