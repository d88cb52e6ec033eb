/* SPDX-License-Identifier: MIT */
/*
 * nearest.h - which key was meant by a word that is none
 *
 * kmemctl has suggest.h for its commands; the two share no code, as kmemctl knows nothing of this
 * side but the public headers.
 */
#ifndef DAEMON_NEAREST_H
#define DAEMON_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *typed;
    const char *meant; /* NULL: none comes near */
    size_t n_mistakes; /* letters too many, too few or wrong */
};

/** nearest_try() - this could have been meant */
void nearest_try(struct nearest *nearest, const char *word);

#endif
