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

#include "client/ctl/filter.h"
#include "client/ctl/screen.h"

/* How the answer is written. */
enum format {
    FORMAT_TABLE, /* for people; fits the terminal */
    FORMAT_WIDE,  /* the same with more columns, nothing left out */
    FORMAT_JSON,  /* one document */
    FORMAT_JSONL, /* an object a line */
    FORMAT_CSV,
};

#define OPTIONS_MAX_ARGUMENTS 2

/* What a map tells apart. */
enum map_by { MAP_BY_OWNER, MAP_BY_REASON, MAP_BY_AGE };

/* What export writes. */
enum export_format {
    EXPORT_FOLDED,
    EXPORT_PPROF,
    EXPORT_HTML,
};

struct options {
    const char *socket_path;  /* NULL: where the library looks */
    const char *segment_name; /* NULL: the default one */
    enum format format;
    bool exact_bytes;
    enum screen_colour colour;
    unsigned watch_ms;   /* ask again and again, so long apart; 0: once */
    bool no_headers;     /* listings; so are these: */
    const char *columns; /* NULL: as the command has them */
    const char *sort;    /* NULL: as they come */
    uint32_t top;        /* 0: all */
    struct filter filter;
    bool all;                  /* usage */
    double fail_above_percent; /* usage, limits; 0: never */
    enum kmem_group_by by;     /* ledger */
    unsigned depth;            /* ledger, reasons: levels of a reason to keep; 0 is all */
    bool shared;               /* blocks */
    bool counts;               /* refusals */
    bool fail_on_leak;         /* leaks */
    uint64_t since_ms;         /* history, as the next; 0: as it has it */
    uint32_t steps;
    enum map_by map_by;   /* map; so is this: */
    const char *svg_path; /* NULL: it is drawn on the screen */
    uint64_t for_ms;      /* record; 0: until it is ended */
    const char *exec;     /* watch: run for each change; NULL: changes are printed */
    enum export_format export_format;
    const char *arguments[OPTIONS_MAX_ARGUMENTS]; /* those that stand beside the options, or NULL */
};

/* The keys of the options that only some commands have; the common ones are options.c's own. */
enum option_key {
    OPTION_ALL = 'a',
    OPTION_FAIL_ABOVE = 0x100, /* a long name only */
    OPTION_BY = 'g',
    OPTION_DEPTH = 'd',
    OPTION_SHARED = 'S',
    OPTION_COUNTS = 'c',
    OPTION_SINCE = 0x110, /* these two a long name only */
    OPTION_STEPS,
    OPTION_FAIL_ON_LEAK,
    OPTION_MAP_BY = 0x140, /* as those below */
    OPTION_SVG,
    OPTION_EXEC,
    OPTION_FOR,
    OPTION_FORMAT = 'f',
};

/** options_common - --socket, --segment, --output and such; a child of each parser; its input is
 *  a struct options */
extern const struct argp options_common;

/** options_filter - --pid, --reason and such: of commands that choose; likewise */
extern const struct argp options_filter;

/** options_listing - --columns, --sort and such: of commands that list rows; likewise */
extern const struct argp options_listing;

/* What a query's line may have. */
struct options_help {
    const char *summary;
    const struct argp_option *special; /* its own options, enum option_key; NULL if it has none */
    const char *columns;  /* what its rows have; NULL: it lists none, and has no options_listing */
    bool filters;         /* it has options_filter, though it lists no rows */
    const char *argument; /* what may stand beside the options; NULL if nothing may */
    unsigned least_arguments;
    unsigned most_arguments;
};

/**
 * options_seconds() - read how long to wait between two answers
 * @option:  what the message calls it
 * Ends the program if the argument is no such thing. Return: milliseconds, at least 100.
 */
unsigned options_seconds(const struct argp_state *state, const char *option, const char *argument);

/** options_read() - argp_parse(), of which all errors end the program with a message */
void options_read(const struct argp *argp, int argc, char **argv, unsigned flags, void *input);

/**
 * options_parse() - read a query's command line
 * @argv:     begins with what messages and the help call the command: "kmemctl ledger"
 * @options:  holds what stood before the command already
 *
 * Ends the program with a message and STATUS_USAGE if the line can not be meant, and after --help.
 */
void options_parse(const struct options_help *help, int argc, char **argv, struct options *options);

#endif
