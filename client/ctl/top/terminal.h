/* SPDX-License-Identifier: MIT */
/*
 * terminal.h - the terminal that top has to itself: keys in, pictures out
 *
 * ncurses sends a terminal what has changed since the last picture, and no more: that is what makes
 * a slow line usable.
 */
#ifndef CTL_TOP_TERMINAL_H
#define CTL_TOP_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/top/canvas.h"

/**
 * terminal_open() - take the terminal; one at a time
 * @has_colour:  whether it is to be coloured, if it can
 * Return: 0, or STATUS_USAGE if there is none that can do it, and then a message is printed.
 */
KMEM_MUST_USE int terminal_open(bool has_colour);

/** terminal_close() - give it back as it was */
void terminal_close(void);

/** terminal_stop_fd() - is readable when Ctrl-Z was pressed. Return: it; -1: it stops nobody. */
int terminal_stop_fd(void);

/** terminal_stop() - if so, give the terminal back and stop; take it again when continued */
void terminal_stop(void);

/** terminal_size() - how large it is now */
void terminal_size(size_t *ret_columns, size_t *ret_lines);

/** terminal_draw() - show a picture */
void terminal_draw(const struct canvas *canvas);

/** terminal_redraw() - what is there may not be what was drawn: draw all of it the next time */
void terminal_redraw(void);

/** terminal_key() - the next key, as model_key() has them. Return: 0 if there is none. */
uint32_t terminal_key(void);

#endif
