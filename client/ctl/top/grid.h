/* SPDX-License-Identifier: MIT */
/*
 * grid.h - the lines of a page as a table that stands still
 *
 * A table that is printed once is as wide as its cells (table.h). One that is drawn again every
 * second would jump from side to side as numbers get a digit more, so here a column is as wide as
 * values of its kind get. Where there is no room columns are left out, as column.h says; the last
 * one, a text, is cut.
 */
#ifndef CTL_TOP_GRID_H
#define CTL_TOP_GRID_H

#include "client/ctl/top/canvas.h"
#include "client/ctl/top/model.h"

/** grid_draw() - draw the titles, and so many lines from the model's first one */
void grid_draw(const struct model *model, size_t first, size_t n_seen, bool has_selection,
               struct canvas *canvas);

#endif
