/* SPDX-License-Identifier: MIT */
/*
 * setting_values.h - values of settings: from text and back
 *
 * What a printer writes its parser reads.
 */
#ifndef DAEMON_SETTING_VALUES_H
#define DAEMON_SETTING_VALUES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/attributes.h"

/* A value as text, and a sentence why one is refused. */
#define SETTING_TEXT_BYTES 256

/** setting_refuse() - put a sentence into ret_why. Return: false. */
KMEM_PRINTF(2, 3) bool setting_refuse(char *ret_why, const char *format, ...);

/** setting_parse_bytes() - "64MiB", or "none" for 0 if `none` is allowed. Return: whether it is. */
bool setting_parse_bytes(const char *text, bool none, uint64_t *ret_num_bytes, char *ret_why);

/** setting_print_bytes() - so that reading it gives the same number; 0 is "none" */
void setting_print_bytes(uint64_t num_bytes, char *ret_text);

/**
 * setting_parse_number() - 1 to most, or `zero`, a word that stands for 0
 * @zero:  NULL: there is no such word
 */
bool setting_parse_number(const char *text, const char *zero, uint32_t most, uint32_t *ret_number,
                          char *ret_why);

void setting_print_number(uint32_t number, const char *zero, char *ret_text);

/** setting_parse_switch() - on, off, and what else people write for them */
bool setting_parse_switch(const char *text, bool *ret_is_on, char *ret_why);

/** setting_print_word() - of one that is set or not */
void setting_print_word(const char *word, char *ret_text);

/** setting_parse_group() - a group by name or number; "none": it is not set */
bool setting_parse_group(const char *text, bool *ret_has_group, gid_t *ret_group, char *ret_why);

/** setting_print_group() - by name, if it has one */
void setting_print_group(bool has_group, gid_t gid, char *ret_text);

#endif
