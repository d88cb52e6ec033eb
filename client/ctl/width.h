/* SPDX-License-Identifier: MIT */
/*
 * width.h - how many columns of a terminal a text takes
 *
 * Bytes, characters and columns are three numbers: "映像" is six bytes, two characters and four
 * columns. The locale's character set must be UTF-8 (screen_prepare()).
 */
#ifndef CTL_WIDTH_H
#define CTL_WIDTH_H

#include <stddef.h>

/** width_of() - the columns that a text takes; a byte that is no character takes one */
size_t width_of(const char *text);

/**
 * width_prefix() - as much of a text as fits, cut between characters
 * @ret_bytes:  how many bytes fit into n_columns
 * Return: the columns they take; n_columns, or one less before a wide character.
 */
size_t width_prefix(const char *text, size_t n_columns, size_t *ret_bytes);

/**
 * width_flow() - the first line of a text that is laid out in a column
 * @ret_bytes:  how many bytes of it stand in this line
 *
 * Lines end between words: at a blank, which is left out, or behind a '/', which levels of a reason
 * have between them. Only a word that is wider than the column is split.
 *
 * Return: where in the text the next line begins.
 */
size_t width_flow(const char *text, size_t n_columns, size_t *ret_bytes);

/** width_of_words() - the columns of the widest word, as width_flow() understands words */
size_t width_of_words(const char *text);

#endif
