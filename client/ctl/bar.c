/* SPDX-License-Identifier: MIT */
#include "client/ctl/bar.h"

#include <stdio.h>

static double total_amount(const struct bar_part *parts, size_t n_parts)
{
    double total = 0;
    for (size_t i = 0; i < n_parts; i++) {
        total += (double)parts[i].amount;
    }
    return total;
}

/* Rounds each part, then the widest part takes or gives what rounding left over. */
void bar_split(const struct bar_part *parts, size_t n_parts, size_t n_cells, size_t *ret_cells)
{
    double total = total_amount(parts, n_parts);
    size_t sum_cells = 0;
    size_t widest = 0;
    for (size_t i = 0; i < n_parts; i++) {
        double share = total > 0 ? (double)parts[i].amount / total : 0;
        size_t cells = (size_t)(share * (double)n_cells + 0.5);
        ret_cells[i] = cells == 0 && parts[i].amount > 0 ? 1 : cells;
        sum_cells += ret_cells[i];
        widest = ret_cells[i] > ret_cells[widest] ? i : widest;
    }
    if (total > 0 && n_parts > 0) {
        ret_cells[widest] = ret_cells[widest] + n_cells - sum_cells;
    }
}

void bar_print(const struct bar_part *parts, size_t n_parts, size_t n_cells,
               const struct screen *screen)
{
    size_t cells[BAR_MAX_PARTS];
    bar_split(parts, n_parts, n_cells, cells);
    for (size_t i = 0; i < n_parts; i++) {
        (void)fputs(screen_on(screen, parts[i].style), screen->file);
        for (size_t j = 0; j < cells[i]; j++) {
            (void)fputs(screen->unicode ? parts[i].unicode : parts[i].ascii, screen->file);
        }
        (void)fputs(screen_off(screen, parts[i].style), screen->file);
    }
}

const char *bar_sign(size_t level, bool unicode)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[] = {" ", "_", ".", ":", "-", "=", "+", "*", "#"};
    level = level < BAR_LEVELS ? level : BAR_LEVELS;
    return unicode ? blocks[level] : letters[level];
}
