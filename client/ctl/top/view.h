/* SPDX-License-Identifier: MIT */
/*
 * view.h - what top shows, for a screen of a given size
 */
#ifndef CTL_TOP_VIEW_H
#define CTL_TOP_VIEW_H

#include "client/ctl/top/canvas.h"
#include "client/ctl/top/model.h"

/** view_seen() - how many lines of rows a screen of n_lines has */
size_t view_seen(size_t n_lines);

/**
 * view_draw() - draw a screen of n_lines; the model has scrolled to what is seen of it
 * @n_lines:  0: as many as there are rows, and no help for keys below: what batch mode prints
 */
void view_draw(const struct model *model, size_t n_lines, struct canvas *canvas);

#endif
