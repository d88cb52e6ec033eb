/* SPDX-License-Identifier: MIT */
/*
 * settings.h - everything that can be set, declared once
 *
 * A row of the table (settings.c) is an option of the command line, a key of the configuration
 * files, a line of --help and of --dump-config, and what --compare and a reload compare. To add a
 * setting: a field in struct options, a parser and a printer (setting_values.c), a row.
 *
 * A setting has one value, or is a list: its parser is then called for each value, and its printer
 * for each index. A section, `user "alice" { quota = 64MiB }`, has settings of its own, whose place
 * is not the options but what its open() gives; sections are in files only.
 */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/options.h"
#include "daemon/setting.h"
#include "daemon/setting_values.h"

/* What there is: the daemon's own, or a test's. Both lists end with a NULL key or name. */
struct setting_table {
    const struct setting *settings;
    const struct setting_section *sections;
};

/** settings_table() - the daemon's own */
const struct setting_table *settings_table(void);

/** settings_find() - the setting with this key. Return: NULL if there is none. */
const struct setting *settings_find(const struct setting *settings, const char *key);

/** settings_value() - a value as text: "a, b" for a list, "" for an empty one. Return: ret_text. */
char *settings_value(const struct setting *setting, const void *place, char *ret_text,
                     size_t text_bytes);

#endif
