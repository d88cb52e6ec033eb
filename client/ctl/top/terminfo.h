/* SPDX-License-Identifier: MIT */
/*
 * terminfo.h - what terminfo knows of the terminal
 *
 * A file of its own, for <term.h> makes macros of many short words.
 */
#ifndef CTL_TOP_TERMINFO_H
#define CTL_TOP_TERMINFO_H

#include <stdbool.h>

/** terminfo_knows() - whether it knows the terminal that $TERM names */
bool terminfo_knows(void);

/** terminfo_can_draw() - whether that one can be erased, and its cursor moved */
bool terminfo_can_draw(void);

#endif
