/* SPDX-License-Identifier: MIT */
/*
 * kmemctl: what a segment is used for, and by whom.
 *
 * It is an ordinary client of <kmem/query.h> and knows nothing else of the library or the daemon.
 * This file finds the command among the words and runs it; each command has a file of its own that
 * asks and prints, and knows neither sockets nor the command line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/document.h"
#include "client/ctl/listing.h"
#include "client/ctl/process.h"
#include "client/ctl/segments.h"
#include "client/ctl/status.h"
#include "client/ctl/suggest.h"
#include "client/ctl/target.h"
#include "client/ctl/watch.h"

static const struct command commands[] = {
    {"status", "Say whether all is well, what grows, and what was refused.", .show = status_show},
    {"usage", "Show how full the segment is.", .special = usage_options, .show = usage_show},
    {"segments", "Show the segments of this machine.", .shape = segments_shape,
     .show = segments_show, .asks = segments_asks},
    {"top", "Show what the segment is used for, live.", .main = top_main},
    {"ledger", "Show what the live blocks are for.", .special = ledger_options,
     .shape = ledger_shape, .show = ledger_show},
    {"reasons", "Show the live blocks as the tree of their reasons.", .special = reasons_options,
     .shape = reasons_shape, .show = reasons_show},
    {"blocks", "Show every live block.", .special = blocks_options, .shape = blocks_shape,
     .show = blocks_show},
    {"names", "Show what names mean, and who published them.", .shape = names_shape,
     .show = names_show},
    {"holders", "Show who holds the shared blocks, and why.", .argument = "[NAME|HANDLE|OFFSET]",
     .most_arguments = 1, .shape = holders_shape, .show = holders_show},
    {"clients", "Show who holds how much.", .shape = clients_shape, .show = clients_show},
    {"limits", "Show what there may be how much of, and what is near its end.",
     .special = limits_options, .shape = limits_shape, .show = limits_show},
    {"refusals", "Show what was asked for and refused, and why.", .special = refusals_options,
     .shape = refusals_shape, .show = refusals_show},
    {"obituaries", "Show who has ended, and what they never released.", .shape = obituaries_shape,
     .show = obituaries_show},
    {"snapshot", "Write down what the live blocks are for, to compare it later.",
     .argument = "FILE", .least_arguments = 1, .most_arguments = 1, .show = snapshot_show},
    {"diff", "Show what has grown since a snapshot, or between two.", .special = diff_options,
     .argument = "BEFORE [AFTER]", .least_arguments = 1, .most_arguments = 2, .shape = diff_shape,
     .show = diff_show, .asks = diff_asks},
    {"map", "Show the segment as a picture, and what splits its free space.",
     .special = map_options, .show = map_show},
    {"why", "Show what a byte is: of what, whose, and what lies beside it.",
     .argument = "PID:ADDRESS|OFFSET|HANDLE", .least_arguments = 1, .most_arguments = 1,
     .show = why_show},
    {"watch", "Show what the daemon does, as it does it.", .special = follow_options,
     .shape = follow_shape, .show = follow_show},
    {"record", "Write down what the daemon does.", .special = record_options, .argument = "FILE",
     .least_arguments = 1, .most_arguments = 1, .show = record_show},
    {"replay", "Play a record on a segment of another size.", .main = replay_main},
    {"advise", "Say what size and limits the peaks needed.", .argument = "[FILE]",
     .most_arguments = 1, .show = advise_show, .asks = advise_asks},
    {"export", "Write the live blocks for flame graph viewers, pprof or a browser.",
     .special = export_options, .argument = "[FILE]", .most_arguments = 1, .filters = true,
     .show = export_show},
    {"doctor", "Check the daemon and the machine, and say what to mend.", .show = doctor_show,
     .asks = doctor_asks},
    {"history", "Show what was live before now, and what has begun to grow.",
     .special = history_options, .shape = history_shape, .show = history_show},
    {"leaks", "Show reasons whose blocks live far longer than they usually do.",
     .special = leaks_options, .shape = leaks_shape, .show = leaks_show},
    {"reload", "Have the daemon read its configuration anew, and show what changes.",
     .shape = reload_shape, .show = reload_show},
    {"reconcile", "Check that all figures add up.", .show = reconcile_show},
    {"resize", "Give the segment another size, while it is served.", .argument = "SIZE",
     .least_arguments = 1, .most_arguments = 1, .show = resize_show},
    {"run", "Run a program on a segment of its own.", .main = run_main},
    {"serve", "Serve metrics and a page over HTTP.", .main = serve_main},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Return: the command that may have been meant, NULL if none comes near. */
static const char *command_nearest(const char *typed)
{
    size_t least = SUGGEST_MAX_DISTANCE + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        size_t distance = suggest_distance(typed, commands[i].name);
        if (distance < least) {
            least = distance;
            nearest = commands[i].name;
        }
    }
    return nearest;
}

/* -------------------------------------------------------------------- the words before it ---- */

struct words {
    struct options options;
    const struct command *command;
    int at; /* where in argv the command stands */
};

static void command_or_exit(const char *name, const struct argp_state *state, struct words *words)
{
    if (strcmp(name, "help") == 0) {
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
    }
    words->command = command_find(name);
    words->at = state->next - 1;
    if (words->command) {
        return;
    }
    const char *nearest = command_nearest(name);
    if (nearest) {
        argp_error(state, "there is no command \"%s\"; did you mean \"%s\"?", name, nearest);
    } else {
        argp_error(state, "there is no command \"%s\"", name);
    }
}

/* Which daemon to ask is not for a command that starts its own. */
static void query_options_or_exit(const struct argp_state *state, const struct words *words)
{
    const struct options *options = &words->options;
    const bool has_target = words->command && words->command->main == serve_main;
    const char *target = options->socket_path    ? "--socket"
                         : options->segment_name ? "--segment"
                                                 : NULL;
    const char *meaningless = target && !has_target  ? target
                              : options->exact_bytes ? "--bytes"
                              : options->watch_ms    ? "--watch"
                                                     : NULL;

    const bool is_query =
        words->command && (words->command->show || words->command->main == top_main);
    if (words->command && !is_query && meaningless) {
        argp_error(state, "\"%s\" %s: %s means nothing to it", words->command->name,
                   has_target ? "is asked over HTTP" : "starts a daemon of its own", meaningless);
    }
}

/* Without a command: what there is to choose from, and the status of a line that says nothing. */
#define HELP_OF_MISUSE (ARGP_HELP_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC | ARGP_HELP_EXIT_ERR)

/* Narrower, argp leaves an option's text a word a line. */
#define HELP_MIN_COLUMNS 40

static error_t words_key(int key, char *argument, struct argp_state *state)
{
    struct words *words = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &words->options;
        return 0;
    case ARGP_KEY_ARG:
        command_or_exit(argument, state, words);
        state->next = state->argc; /* the rest is the command's */
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_state_help(state, stderr, HELP_OF_MISUSE); /* ends the program */
        return 0;
    case ARGP_KEY_END:
        query_options_or_exit(state, words);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The list of commands in the help comes from the table. Return: to be freed by argp. */
static char *words_help(int key, const char *text, void *input)
{
    struct document document;
    (void)input;
    if (key != ARGP_KEY_HELP_PRE_DOC || document_open(&document) < 0) {
        return (char *)(uintptr_t)text; /* argp's way to say: as it was */
    }
    (void)fprintf(document.file, "%s\n\n", text);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        (void)fprintf(document.file, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    return document_close(&document) == 0 ? document.text : (char *)(uintptr_t)text;
}

/* argp breaks its lines at 79 columns, unless it is told otherwise. */
static void help_fit(void)
{
    struct screen screen;
    screen_init(&screen, isatty(STDOUT_FILENO) ? stdout : stderr);
    if (screen.n_columns >= HELP_MIN_COLUMNS && screen.n_columns < 80) {
        char margin[32];
        (void)snprintf(margin, sizeof(margin), "rmargin=%u", screen.n_columns - 1);
        (void)setenv("ARGP_HELP_FMT", margin, 0); /* without it lines wrap, that is all */
    }
}

static void words_parse(int argc, char **argv, struct words *ret_words)
{
    const struct argp_child children[] = {{&options_common, 0, NULL, 0}, {0}};
    const struct argp argp = {
        .parser = words_key,
        .args_doc = "COMMAND [OPTION...]",
        .doc = "What a kmemd segment is used for, and by whom.\v"
               "\"kmemctl COMMAND --help\" explains a command, kmemctl(1) all of them.",
        .children = children,
        .help_filter = words_help,
    };

    *ret_words = (struct words){0};
    options_read(&argp, argc, argv, ARGP_IN_ORDER, ret_words);
}

/* -------------------------------------------------------------------------------- running ---- */

struct asking {
    const struct command *command;
    const struct options *options;
};

static int complain(const struct command *command, const char *why)
{
    (void)fprintf(stderr, "kmemctl %s: %s\n", command->name, why);
    return STATUS_USAGE;
}

/* Before the daemon is asked. Return: STATUS_OK, or STATUS_USAGE, and then a message is printed. */
static int check(const struct command *command, const struct options *options)
{
    if (command->shape) {
        return listing_check(command->shape(options), options, command->name);
    }
    if (command->show == export_show && options->format != FORMAT_TABLE) {
        return complain(command, "--format says how it answers: --output means nothing to it");
    }
    if (options->format == FORMAT_CSV && command->show != usage_show) {
        return complain(command, "its answer is no table: --output=csv means nothing to it");
    }
    if (options->watch_ms > 0 && (command->show == export_show || command->show == snapshot_show)) {
        return complain(command, "it writes one file: --watch means nothing to it");
    }
    if (options->watch_ms > 0 && command->show == resize_show) {
        return complain(command, "it changes something: --watch means nothing to it");
    }
    return STATUS_OK;
}

/* A watch_show_fn: asks once. */
static int query_once(const struct screen *screen, void *user)
{
    const struct asking *asking = user;
    struct kmem_query *query = NULL;
    const command_asks_fn asks = asking->command->asks;
    int r = !asks || asks(asking->options) ? segments_open(asking->options, &query) : 0;
    if (r != 0) {
        return r;
    }
    r = asking->command->show(query, asking->options, screen);
    if (r < 0) {
        r = target_complain(r, query ? kmem_query_error(query) : "");
    }
    kmem_query_close(query);
    return r;
}

/* An answer that did not arrive where it was sent to is no answer. */
static int output_finish(int status)
{
    int flushed = fflush(stdout);
    if (flushed != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "kmemctl: cannot write the answer: %s\n", strerror(errno));
        return STATUS_ERROR;
    }
    return status;
}

static int query_run(const struct command *command, const struct options *options)
{
    struct asking asking = {command, options};
    struct screen screen;
    screen_init(&screen, stdout);
    screen_set_colour(&screen, options->colour);
    if (options->watch_ms == 0) {
        return output_finish(query_once(&screen, &asking));
    }
    const bool has_blanks = options->format != FORMAT_JSONL && options->format != FORMAT_JSON;
    return output_finish(watch(&screen, options->watch_ms, has_blanks, query_once, &asking));
}

int main(int argc, char **argv)
{
    struct words words;
    char name[32];
    char columns[512];
    if (process_fill_standard() < 0) {
        return STATUS_ERROR; /* there is nothing to say it to */
    }
    argp_err_exit_status = STATUS_USAGE;
    argp_program_version = "kmemctl " KMEM_VERSION;
    screen_prepare();
    help_fit();
    words_parse(argc, argv, &words);

    (void)snprintf(name, sizeof(name), "kmemctl %s", words.command->name);
    argc -= words.at;
    argv += words.at;
    argv[0] = name;
    if (words.command->main) {
        return words.command->main(argc, argv, &words.options);
    }
    const command_shape_fn shape = words.command->shape;
    const struct options_help help = {
        .summary = words.command->summary,
        .special = words.command->special,
        .columns = shape ? listing_columns(shape(&words.options), columns, sizeof(columns)) : NULL,
        .filters = words.command->filters,
        .argument = words.command->argument,
        .least_arguments = words.command->least_arguments,
        .most_arguments = words.command->most_arguments,
    };
    options_parse(&help, argc, argv, &words.options);
    if (check(words.command, &words.options) != STATUS_OK) {
        return STATUS_USAGE;
    }
    return query_run(words.command, &words.options);
}
