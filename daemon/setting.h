/* SPDX-License-Identifier: MIT */
/*
 * setting.h - what a setting is, and a section of them: see settings.h
 */
#ifndef DAEMON_SETTING_H
#define DAEMON_SETTING_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/options.h"

struct setting {
    const char *key;      /* "quota": --quota, quota = ... */
    int letter;           /* of a short option; 0: none */
    bool is_list;         /* in a file {a, b}; on the command line a,b */
    bool is_switch;       /* on or off; on the command line "on" may be left out */
    bool is_files;        /* the files of a segment that was kept have it, whatever is wanted */
    const char *argument; /* what --help calls a value */
    /** Return: false if it is no value; ret_why, SETTING_TEXT_BYTES, says what would be one. */
    bool (*parse)(void *place, const char *text, char *ret_why);
    /** Return: false if there is no such value; else it is in ret_text, SETTING_TEXT_BYTES. */
    bool (*print)(const void *place, uint32_t idx, char *ret_text);
    void (*clear)(void *place); /* of a list: before the first value of a file or command line */
    const char *waits;          /* why it waits for a restart; NULL: a reload applies it */
    const char *help;
};

struct setting_section {
    const char *name;               /* "user" */
    const struct setting *settings; /* key NULL at the end */
    /** The place of the section with this title, made if there is none. Return: NULL: ret_why. */
    void *(*open)(struct options *options, const char *title, char *ret_why);
    /** Return: the idx-th section's place and title; NULL: there is none. */
    const void *(*get)(const struct options *options, uint32_t idx, const char **ret_title);
};

#endif
