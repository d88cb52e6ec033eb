/* SPDX-License-Identifier: MIT */
#include "client/ctl/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum common_key {
    COMMON_SOCKET = 's',
    COMMON_SEGMENT = 'n',
    COMMON_JSON = 'j',
    COMMON_BYTES = 'b',
};

static const struct argp_option common_options[] = {
    {"socket", COMMON_SOCKET, "PATH", 0, "Ask the daemon that listens there", 10},
    {"segment", COMMON_SEGMENT, "NAME", 0, "Ask the daemon that owns the segment NAME", 10},
    {"json", COMMON_JSON, NULL, 0, "Answer in JSON", 10},
    {"bytes", COMMON_BYTES, NULL, 0, "Print exact numbers of bytes", 10},
    {0},
};

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is argp's */
static error_t common_key(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case COMMON_SOCKET:
        options->socket_path = argument;
        return 0;
    case COMMON_SEGMENT:
        options->segment_name = argument;
        return 0;
    case COMMON_JSON:
        options->json = true;
        return 0;
    case COMMON_BYTES:
        options->exact_bytes = true;
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

static error_t special_key(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case OPTION_ALL:
        options->all = true;
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
    case ARGP_KEY_ARG:
        argp_error(state, "what is \"%s\"? This command takes options only", argument);
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

void options_parse(const char *summary, const struct argp_option *special, int argc, char **argv,
                   struct options *options)
{
    const struct argp_child children[] = {{&options_common, 0, "Common options:", 10}, {0}};
    const struct argp argp = {
        .options = special,
        .parser = special_key,
        .doc = summary,
        .children = children,
    };

    (void)argp_parse(&argp, argc, argv, 0, NULL, options); /* errors end the program */
}
