/* SPDX-License-Identifier: MIT */
#include "client/ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/measure.h"
#include "client/ctl/status.h"
#include "client/ctl/user.h"

enum common_key {
    COMMON_SOCKET = 's',
    COMMON_SEGMENT = 'n',
    COMMON_OUTPUT = 'o',
    COMMON_JSON = 'j',
    COMMON_BYTES = 'b',
    COMMON_WATCH = 'w',
    COMMON_COLOR = 0x200, /* a long name only, as those below */
    COMMON_HELP = 'h',    /* beside argp's own -? and --help */
};

/* What a socket's address has room for, and what a segment's name may have: kmemd(8). */
#define PATH_MAX_BYTES 107
#define NAME_MAX_BYTES 63
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static const struct argp_option common_options[] = {
    {"socket", COMMON_SOCKET, "PATH", 0, "Ask the daemon that listens there", 10},
    {"segment", COMMON_SEGMENT, "NAME", 0, "Ask the daemon that owns the segment NAME", 10},
    {"output", COMMON_OUTPUT, "FORMAT", 0, "Answer as table, wide, json, jsonl or csv", 10},
    {"json", COMMON_JSON, NULL, 0, "Answer in JSON", 10},
    {"bytes", COMMON_BYTES, NULL, 0, "Print exact numbers of bytes", 10},
    {"color", COMMON_COLOR, "WHEN", OPTION_ARG_OPTIONAL, "Colour auto, always or never", 10},
    {"watch", COMMON_WATCH, "SECONDS", 0, "Ask again every SECONDS, until Ctrl-C", 10},
    {NULL, COMMON_HELP, NULL, OPTION_HIDDEN, NULL, 10},
    {0},
};

/* Ends the program if no daemon can listen there; else it is for the daemon to say. */
static const char *path_or_exit(const struct argp_state *state, const char *argument)
{
    size_t n_bytes = strlen(argument);
    if (n_bytes == 0) {
        argp_error(state, "--socket takes a path; this one is empty");
    } else if (n_bytes > PATH_MAX_BYTES) {
        argp_error(state, "--socket takes a path of at most %d bytes; this one has %zu: %s",
                   PATH_MAX_BYTES, n_bytes, argument);
    }
    return argument;
}

static const char *name_or_exit(const struct argp_state *state, const char *argument)
{
    size_t n_bytes = strlen(argument);
    if (n_bytes == 0 || n_bytes > NAME_MAX_BYTES || *argument == '.' || *argument == '-' ||
        strspn(argument, NAME_CHARACTERS) != n_bytes) {
        argp_error(state,
                   "--segment takes a name of up to %d letters, digits and \"._-\", the first a "
                   "letter, a digit or \"_\"; not \"%s\"",
                   NAME_MAX_BYTES, argument);
    }
    return argument;
}

/* One of some words. Ends the program if the argument is none of them. */
static int word_or_exit(const struct argp_state *state, const char *option, const char *argument,
                        const char *const *words)
{
    char list[128];
    char *end = list;
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], argument) == 0) {
            return i;
        }
        end = stpcpy(stpcpy(end, i == 0 ? "" : words[i + 1] ? ", " : " or "), words[i]);
    }
    argp_error(state, "%s takes %s, not \"%s\"", option, list, argument);
    return 0;
}

static enum format format_or_exit(const struct argp_state *state, const char *argument)
{
    static const char *const words[] = {
        [FORMAT_TABLE] = "table", [FORMAT_WIDE] = "wide", [FORMAT_JSON] = "json",
        [FORMAT_JSONL] = "jsonl", [FORMAT_CSV] = "csv",   NULL};
    return (enum format)word_or_exit(state, "--output", argument, words);
}

static enum screen_colour colour_or_exit(const struct argp_state *state, const char *argument)
{
    static const char *const words[] = {[SCREEN_COLOUR_AUTO] = "auto",
                                        [SCREEN_COLOUR_ALWAYS] = "always",
                                        [SCREEN_COLOUR_NEVER] = "never",
                                        NULL};
    return (enum screen_colour)word_or_exit(state, "--color", argument, words);
}

/* A day: that is no watching any more. */
#define WATCH_MAX_S (24 * 60 * 60)
/* 100 ms: ten pictures a second, which is more than one can read. */
#define WATCH_MIN_MS 100

unsigned options_seconds(const struct argp_state *state, const char *option, const char *argument)
{
    char *end;
    const double seconds = strtod(argument, &end);
    if (strspn(argument, "0123456789.") != strlen(argument) || end == argument || *end ||
        seconds * 1000 < WATCH_MIN_MS || seconds > WATCH_MAX_S) {
        argp_error(state, "%s takes seconds, from 0.1 to %d, not \"%s\"", option, WATCH_MAX_S,
                   argument);
    }
    return (unsigned)(seconds * 1000);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is argp's */
static error_t common_key(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case COMMON_SOCKET:
        options->socket_path = path_or_exit(state, argument);
        return 0;
    case COMMON_SEGMENT:
        options->segment_name = name_or_exit(state, argument);
        return 0;
    case COMMON_OUTPUT:
        options->format = format_or_exit(state, argument);
        return 0;
    case COMMON_JSON:
        options->format = FORMAT_JSON;
        return 0;
    case COMMON_COLOR:
        options->colour = colour_or_exit(state, argument ? argument : "always");
        return 0;
    case COMMON_WATCH:
        options->watch_ms = options_seconds(state, "--watch", argument);
        return 0;
    case COMMON_BYTES:
        options->exact_bytes = true;
        return 0;
    case COMMON_HELP:
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    case ARGP_KEY_END:
        if (options->socket_path && options->segment_name) {
            argp_error(state, "--socket and --segment exclude each other");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp options_common = {.options = common_options, .parser = common_key};

/* Ends the program if the argument is no number from 1 to most. */
static uint32_t number_or_exit(const struct argp_state *state, const char *option,
                               const char *argument, uint32_t most)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(argument, &end, 10);
    if (errno || *end || *argument == '-' || number < 1 || number > most) {
        argp_error(state, "%s takes a number from 1 to %u, not \"%s\"", option, most, argument);
    }
    return (uint32_t)number;
}

/* "80%" or "80". Ends the program if the argument is no share of the whole. */
static double percent_or_exit(const struct argp_state *state, const char *argument)
{
    char *end;
    double percent = strtod(argument, &end);
    end += *end == '%';
    if (strspn(argument, "0123456789.%") != strlen(argument) || end == argument || *end ||
        percent <= 0 || percent > 100) {
        argp_error(state, "--fail-above takes a share of the segment, as 80%%; not \"%s\"",
                   argument);
    }
    return percent;
}

/* ----------------------------------------------------------------- which rows, and how ---- */

enum listing_key {
    LISTING_PID = 'p',
    LISTING_USER = 'u',
    LISTING_REASON = 'r',
    LISTING_TOP = 't',
    LISTING_OLDER = 0x300,
    LISTING_LARGER,
    LISTING_COLUMNS,
    LISTING_SORT,
    LISTING_NO_HEADERS,
};

static const struct argp_option filter_options[] = {
    {"pid", LISTING_PID, "PID", 0, "Only what is the process PID's", 5},
    {"user", LISTING_USER, "USER", 0, "Only what is that user's: a name, or a uid", 5},
    {"reason", LISTING_REASON, "GLOB", 0,
     "Only reasons that match GLOB; without a * or ?, that begin with it", 5},
    {"older-than", LISTING_OLDER, "AGE", 0, "Only what is older: 90s, 5m, 2h30m, 7d", 5},
    {"larger-than", LISTING_LARGER, "SIZE", 0, "Only what is larger: 4096, 64KiB, 1.5M", 5},
    {0},
};

static const struct argp_option listing_options[] = {
    {"columns", LISTING_COLUMNS, "NAMES", 0, "Show these columns, in this order: PID,BYTES", 6},
    {"sort", LISTING_SORT, "COLUMN", 0, "Sort by COLUMN, or COLUMN:asc, COLUMN:desc", 6},
    {"top", LISTING_TOP, "N", 0, "Show the first N rows only", 6},
    {"no-headers", LISTING_NO_HEADERS, NULL, 0, "Print the rows alone: no titles, no totals", 6},
    {0},
};

static uint64_t measure_or_exit(const struct argp_state *state, const char *option,
                                const char *argument, bool is_age)
{
    uint64_t number = 0;
    if (is_age ? !measure_age(argument, &number) : !measure_bytes(argument, &number)) {
        argp_error(state,
                   is_age ? "%s takes an age, as 500ms, 90s, 5m, 2h30m or 7d; not \"%s\""
                          : "%s takes a size, as 4096, 64KiB or 1.5M; not \"%s\"",
                   option, argument);
    }
    return number;
}

static uint32_t user_or_exit(const struct argp_state *state, const char *argument)
{
    uint32_t uid = 0;
    if (!user_find(argument, &uid)) {
        argp_error(state, "--user takes the name of a user, or a uid; \"%s\" is neither", argument);
    }
    return uid;
}

static error_t filter_key(int key, char *argument, struct argp_state *state)
{
    struct filter *filter = &((struct options *)state->input)->filter;
    switch (key) {
    case LISTING_PID:
        filter->pid = number_or_exit(state, "--pid", argument, INT32_MAX);
        filter->has_pid = true;
        return 0;
    case LISTING_USER:
        filter->uid = user_or_exit(state, argument);
        filter->has_uid = true;
        return 0;
    case LISTING_REASON:
        filter->reason = argument;
        return 0;
    case LISTING_OLDER:
        filter->older_than_ms = measure_or_exit(state, "--older-than", argument, true);
        filter->has_age = true;
        return 0;
    case LISTING_LARGER:
        filter->larger_than_bytes = measure_or_exit(state, "--larger-than", argument, false);
        filter->has_bytes = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp options_filter = {.options = filter_options, .parser = filter_key};

static error_t listing_key(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case LISTING_COLUMNS:
        options->columns = argument;
        return 0;
    case LISTING_SORT:
        options->sort = argument;
        return 0;
    case LISTING_TOP:
        options->top = number_or_exit(state, "--top", argument, INT32_MAX);
        return 0;
    case LISTING_NO_HEADERS:
        options->no_headers = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp options_listing = {.options = listing_options, .parser = listing_key};

/* -------------------------------------------------------------- of some commands only ---- */

static enum kmem_group_by group_or_exit(const struct argp_state *state, const char *argument)
{
    static const char *const words[] = {[KMEM_BY_REASON] = "reason",
                                        [KMEM_BY_CLIENT] = "client",
                                        [KMEM_BY_UID] = "uid",
                                        [KMEM_BY_SIZE] = "size",
                                        [KMEM_BY_AGE] = "age",
                                        [KMEM_BY_UNIT] = "unit",
                                        NULL};
    return (enum kmem_group_by)word_or_exit(state, "--by", argument, words);
}

/* What the daemon remembers. */
#define SINCE_MAX_MS (UINT64_C(7) * 24 * 3600000)
/* 10,000: a week of minutes, nearly. */
#define STEPS_MAX 10000

static uint64_t since_or_exit(const struct argp_state *state, const char *argument)
{
    const uint64_t since_ms = measure_or_exit(state, "--since", argument, true);
    if (since_ms < 1000 || since_ms > SINCE_MAX_MS) {
        argp_error(state, "--since takes an age from 1s to 7d, not \"%s\"", argument);
    }
    return since_ms;
}

static enum map_by map_by_or_exit(const struct argp_state *state, const char *argument)
{
    static const char *const words[] = {
        [MAP_BY_OWNER] = "owner", [MAP_BY_REASON] = "reason", [MAP_BY_AGE] = "age", NULL};
    return (enum map_by)word_or_exit(state, "--by", argument, words);
}

static enum export_format export_or_exit(const struct argp_state *state, const char *argument)
{
    static const char *const words[] = {
        [EXPORT_FOLDED] = "folded", [EXPORT_PPROF] = "pprof", [EXPORT_HTML] = "html", NULL};
    return (enum export_format)word_or_exit(state, "--format", argument, words);
}

struct line {
    const struct options_help *help;
    struct options *options;
    unsigned n_arguments;
};

static const char *argument_or_exit(const struct argp_state *state, const struct line *line,
                                    const char *argument)
{
    const unsigned most = line->help->most_arguments;
    if (most == 0) {
        argp_error(state, "what is \"%s\"? This command takes options only", argument);
    } else if (line->n_arguments == most) {
        argp_error(state, "what is \"%s\"? This command takes %s %s", argument,
                   most == 1 ? "one" : "no more than", line->help->argument);
    } else if (!*argument) {
        argp_error(state, "the %s is empty", line->help->argument);
    }
    return argument;
}

/* Of options that only some commands have. */
static error_t special_option(int key, char *argument, const struct argp_state *state,
                              struct options *options)
{
    switch (key) {
    case OPTION_ALL:
        options->all = true;
        return 0;
    case OPTION_FORMAT:
        options->export_format = export_or_exit(state, argument);
        return 0;
    case OPTION_COUNTS:
        options->counts = true;
        return 0;
    case OPTION_FAIL_ABOVE:
        options->fail_above_percent = percent_or_exit(state, argument);
        return 0;
    case OPTION_BY:
        options->by = group_or_exit(state, argument);
        return 0;
    case OPTION_DEPTH:
        options->depth = number_or_exit(state, "--depth", argument, KMEM_REASON_MAX_BYTES);
        return 0;
    case OPTION_SHARED:
        options->shared = true;
        return 0;
    case OPTION_FAIL_ON_LEAK:
        options->fail_on_leak = true;
        return 0;
    case OPTION_SINCE:
        options->since_ms = since_or_exit(state, argument);
        return 0;
    case OPTION_STEPS:
        options->steps = number_or_exit(state, "--steps", argument, STEPS_MAX);
        return 0;
    case OPTION_MAP_BY:
        options->map_by = map_by_or_exit(state, argument);
        return 0;
    case OPTION_SVG:
        options->svg_path = argument;
        return 0;
    case OPTION_FOR:
        options->for_ms = measure_or_exit(state, "--for", argument, true);
        return 0;
    case OPTION_EXEC:
        options->exec = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t special_key(int key, char *argument, struct argp_state *state)
{
    struct line *line = state->input;
    struct options *options = line->options;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        if (line->help->columns || line->help->filters) {
            state->child_inputs[1] = options;
        }
        if (line->help->columns) {
            state->child_inputs[2] = options;
        }
        return 0;
    case ARGP_KEY_ARG:
        options->arguments[line->n_arguments] = argument_or_exit(state, line, argument);
        line->n_arguments++;
        return 0;
    case ARGP_KEY_END:
        if (line->n_arguments < line->help->least_arguments) {
            argp_error(state, "%s is missing", line->help->argument);
        }
        if (options->depth && options->by != KMEM_BY_REASON) {
            argp_error(state, "--depth folds reasons; it goes with --by reason only");
        }
        return 0;
    default:
        return special_option(key, argument, state, options);
    }
}

/* A sentence, and the names of 24 columns. */
#define HELP_MAX_BYTES 1024

/* A line that can not be meant ends the program; what comes back is a want of memory. */
void options_read(const struct argp *argp, int argc, char **argv, unsigned flags, void *input)
{
    const error_t error = argp_parse(argp, argc, argv, flags, NULL, input);
    if (error != 0) {
        (void)fprintf(stderr, "%s: cannot read the options: %s\n", argv[0], strerror(error));
        exit(STATUS_ERROR);
    }
}

void options_parse(const struct options_help *help, int argc, char **argv, struct options *options)
{
    const struct argp_child children[] = {
        {&options_common, 0, "Common options:", 10},
        {help->columns || help->filters ? &options_filter : NULL, 0, "Which rows, and how:", 5},
        {help->columns ? &options_listing : NULL, 0, NULL, 5},
        {0},
    };
    char doc[HELP_MAX_BYTES];
    (void)snprintf(doc, sizeof(doc), "%s%s%s", help->summary, help->columns ? "\vColumns: " : "",
                   help->columns ? help->columns : "");
    const struct argp argp = {
        .options = help->special,
        .parser = special_key,
        .args_doc = help->argument,
        .doc = doc,
        .children = children,
    };

    struct line line = {.help = help, .options = options};
    options_read(&argp, argc, argv, 0, &line);
}
