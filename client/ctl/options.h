/* SPDX-License-Identifier: MIT */
/*
 * options.h - what the command line of a query says
 *
 * All queries share one structure and one parser; a command lists which options it has. The options
 * that name the daemon to ask may stand before the command as well as after it.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include <kmem/query.h>

struct options {
    const char *socket_path;  /* NULL: where the library looks */
    const char *segment_name; /* NULL: the default one */
    bool json;
    bool exact_bytes;
    bool all;                  /* usage */
    double fail_above_percent; /* usage; 0: never */
    enum kmem_group_by by;     /* ledger */
    unsigned depth;            /* ledger: levels of a reason to keep; 0 is all */
    bool has_pid;              /* blocks */
    uint32_t pid;              /* blocks */
    const char *reason_prefix; /* blocks; NULL is every reason */
    bool shared;               /* blocks */
    const char *argument;      /* holders; NULL is all of them */
};

/* The keys of the options that only some commands have; the common ones are options.c's own. */
enum option_key {
    OPTION_ALL = 'a',
    OPTION_FAIL_ABOVE = 0x100, /* a long name only */
    OPTION_BY = 'g',
    OPTION_DEPTH = 'd',
    OPTION_PID = 'p',
    OPTION_REASON = 'r',
    OPTION_SHARED = 'S',
};

/** options_common - --socket, --segment, --json, --bytes; a child of each parser; its input is
 *  a struct options */
extern const struct argp options_common;

/**
 * options_parse() - read a query's command line
 * @special:  the command's own options, keys from enum option_key; NULL if it has none
 * @argument: what may stand beside the options, for the help; NULL if nothing may
 * @argv:     begins with what messages and the help call the command: "kmemctl ledger"
 * @options:  holds what stood before the command already
 *
 * Ends the program with a message and STATUS_USAGE if the line can not be meant, and after --help.
 */
void options_parse(const char *summary, const struct argp_option *special, const char *argument,
                   int argc, char **argv, struct options *options);

#endif
