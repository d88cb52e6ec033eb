/* SPDX-License-Identifier: MIT */
/*
 * text.h - foreign strings, and sizes as people write and read them
 */
#ifndef PROTO_TEXT_H
#define PROTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

/* "1023.9 TiB" and the NUL. */
#define TEXT_BYTES_MAX 16

/** text_is_utf8() - whether n_bytes at bytes are well-formed UTF-8 without NUL */
bool text_is_utf8(const unsigned char *bytes, size_t n_bytes);

/**
 * text_clean() - copy a string, cut to fewer than buffer_bytes at a character's border; what is not
 * UTF-8 becomes '?'. Return: the length written, without the NUL.
 */
size_t text_clean(const char *text, char *buffer, size_t buffer_bytes);

/**
 * text_escape() - copy n_bytes of UTF-8 for a terminal: control characters (C0, DEL, C1) and what
 * is not UTF-8 become \xNN, what is not seen or turns the direction of text \uNNNN, a backslash is
 * doubled. Always terminated, cut at a character's border.
 * Return: buffer.
 */
char *text_escape(const char *text, size_t n_bytes, char *buffer, size_t buffer_bytes);

/**
 * text_mute() - of text_clean() text, in place: each byte of a character that text_escape() would
 * make visible becomes '?'; backslashes stay
 */
void text_mute(char *text);

/** text_format_bytes() - "44 B", "1.5 KiB"; TEXT_BYTES_MAX is always enough. Return: buffer. */
char *text_format_bytes(uint64_t num_bytes, char *buffer, size_t buffer_bytes);

/**
 * text_parse_bytes() - read "4096", "256MiB", "2G", "1.5 GiB" (K, M, G, T are powers of 1024, as
 * are KiB and so on; B alone is allowed; case does not matter)
 * Return: 0; -EINVAL if it is no size; -ERANGE if it does not fit 64 bits.
 */
KMEM_MUST_USE int text_parse_bytes(const char *text, uint64_t *ret_num_bytes);

#endif
