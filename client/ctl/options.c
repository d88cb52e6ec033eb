/* SPDX-License-Identifier: MIT */
#include "client/ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum common_key {
    COMMON_SOCKET = 's',
    COMMON_SEGMENT = 'n',
    COMMON_JSON = 'j',
    COMMON_BYTES = 'b',
    COMMON_HELP = 'h', /* beside argp's own -? and --help */
};

/* What a socket's address has room for, and what a segment's name may have: kmemd(8). */
#define PATH_MAX_BYTES 107
#define NAME_MAX_BYTES 63
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static const struct argp_option common_options[] = {
    {"socket", COMMON_SOCKET, "PATH", 0, "Ask the daemon that listens there", 10},
    {"segment", COMMON_SEGMENT, "NAME", 0, "Ask the daemon that owns the segment NAME", 10},
    {"json", COMMON_JSON, NULL, 0, "Answer in JSON", 10},
    {"bytes", COMMON_BYTES, NULL, 0, "Print exact numbers of bytes", 10},
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
    case COMMON_JSON:
        options->json = true;
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

static enum kmem_group_by group_or_exit(const struct argp_state *state, const char *argument)
{
    if (strcmp(argument, "client") == 0) {
        return KMEM_BY_CLIENT;
    }
    if (strcmp(argument, "uid") == 0) {
        return KMEM_BY_UID;
    }
    if (strcmp(argument, "reason") != 0) {
        argp_error(state, "--by takes reason, client or uid, not \"%s\"", argument);
    }
    return KMEM_BY_REASON;
}

/* What is read, and what the help calls the one argument that it may have beside its options. */
struct line {
    struct options *options;
    const char *argument; /* NULL: none */
};

static const char *argument_or_exit(const struct argp_state *state, const struct line *line,
                                    const char *argument)
{
    if (!line->argument) {
        argp_error(state, "what is \"%s\"? This command takes options only", argument);
    } else if (line->options->argument) {
        argp_error(state, "what is \"%s\"? This command takes one %s", argument, line->argument);
    } else if (!*argument) {
        argp_error(state, "the %s is empty", line->argument);
    }
    return argument;
}

static error_t special_key(int key, char *argument, struct argp_state *state)
{
    const struct line *line = state->input;
    struct options *options = line->options;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case OPTION_ALL:
        options->all = true;
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
    case OPTION_PID:
        options->pid = number_or_exit(state, "--pid", argument, INT32_MAX);
        options->has_pid = true;
        return 0;
    case OPTION_REASON:
        options->reason_prefix = argument;
        return 0;
    case OPTION_SHARED:
        options->shared = true;
        return 0;
    case ARGP_KEY_ARG:
        options->argument = argument_or_exit(state, line, argument);
        return 0;
    case ARGP_KEY_END:
        if (options->depth && options->by != KMEM_BY_REASON) {
            argp_error(state, "--depth folds reasons; it goes with --by reason only");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void options_parse(const char *summary, const struct argp_option *special, const char *argument,
                   int argc, char **argv, struct options *options)
{
    const struct argp_child children[] = {{&options_common, 0, "Common options:", 10}, {0}};
    const struct argp argp = {
        .options = special,
        .parser = special_key,
        .args_doc = argument,
        .doc = summary,
        .children = children,
    };

    struct line line = {options, argument};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &line); /* errors end the program */
}
