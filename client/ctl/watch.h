/* SPDX-License-Identifier: MIT */
/*
 * watch.h - the same answer again and again
 */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H

#include <stdbool.h>

#include "client/ctl/screen.h"

/* Writes one answer. Return: an exit status; all but 0 end the watching. */
typedef int (*watch_show_fn)(const struct screen *screen, void *user);

/**
 * watch() - show, wait, show, until SIGINT ends the program with status 0
 *
 * A terminal shows the answer in the place of the last one, as many lines of it as there are;
 * elsewhere one follows the other.
 * @interval_ms:  from the end of one answer to the beginning of the next
 * @has_blanks:   whether an empty line stands between two answers that follow each other
 * Return: the status of the answer that ended it, STATUS_ERROR if the output can not be written.
 */
int watch(const struct screen *screen, unsigned interval_ms, bool has_blanks, watch_show_fn show,
          void *user);

#endif
