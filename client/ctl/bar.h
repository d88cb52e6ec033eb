/* SPDX-License-Identifier: MIT */
/*
 * bar.h - the parts of a whole as a bar of characters, and a curve's heights as one each
 */
#ifndef CTL_BAR_H
#define CTL_BAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/ctl/screen.h"

struct bar_part {
    uint64_t amount;
    enum style style;
    const char *unicode; /* one character, one column */
    const char *ascii;
};

/**
 * bar_split() - share n_cells out among the parts, in proportion
 * @ret_cells:  one number a part; their sum is n_cells unless all parts are 0
 *
 * A part that is not 0 gets at least one cell, so that nothing that is there looks as if it were
 * not. n_cells is at least n_parts.
 */
void bar_split(const struct bar_part *parts, size_t n_parts, size_t n_cells, size_t *ret_cells);

#define BAR_MAX_PARTS 4

#define BAR_LEVELS 8

/** bar_sign() - a column of a curve; @level: its height, 0, which is a blank, to BAR_LEVELS */
const char *bar_sign(size_t level, bool unicode);

/** bar_print() - print the bar, without a line feed */
void bar_print(const struct bar_part *parts, size_t n_parts, size_t n_cells,
               const struct screen *screen);

#endif
