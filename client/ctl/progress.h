/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a sign of life of what takes long
 *
 * On a terminal alone, and on the standard error, so that no answer has it in it; not before half a
 * second, and a few times a second from then on. It is erased before the answer comes.
 */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *file; /* NULL: nothing is shown */
    uint64_t begun_ms;
    uint64_t shown_ms;
    bool is_shown;
};

/** progress_begin() - from now on it may take long; file is borrowed */
void progress_begin(struct progress *progress, FILE *file);

/** progress_step() - "400,000 blocks ..."; cheap enough for each of a million */
void progress_step(struct progress *progress, uint64_t count, const char *what);

/** progress_end() - erase it; what is all zero has not begun */
void progress_end(struct progress *progress);

#endif
