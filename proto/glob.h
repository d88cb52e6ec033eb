/* SPDX-License-Identifier: MIT */
/*
 * glob.h - patterns that reasons are selected by
 *
 *      *     any number of characters, none included, '/' too
 *      **    the same: written where another tool would want it
 *      ?     one character
 *      \\x    x itself, whatever it is
 *
 * Nothing else is special.
 */
#ifndef PROTO_GLOB_H
#define PROTO_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

/**
 * glob_matches() - whether all of a text is what a pattern means
 * @ret_n_steps:  how many characters were compared: n_glob_bytes * n_text_bytes at most, about
 */
KMEM_MUST_USE bool glob_matches(const char *glob, size_t n_glob_bytes, const char *text,
                                size_t n_text_bytes, uint32_t *ret_n_steps);

#endif
