/* SPDX-License-Identifier: MIT */
/*
 * kmemctl run: no set-up at all.
 *
 *      signals held back, daemon started, program started, program waited for, daemon asked,
 *      daemon ended, signals let through
 *
 * A signal that would end kmemctl is forwarded to the program and kmemctl waits on: the program
 * decides what it means, and the daemon ends after it. Each step undoes what is its own, so that
 * on every way out there is no daemon and no directory left.
 */
#include "client/ctl/command.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/epilogue.h"
#include "client/ctl/preload.h"
#include "client/ctl/private.h"
#include "client/ctl/program.h"
#include "client/ctl/signals.h"
#include "client/ctl/status.h"
#include "client/ctl/target.h"

struct run_options {
    struct private_options daemon;
    bool wants_malloc;
    bool json;
    int leaks_status;        /* what to end with if it leaks, and has not failed; 0 is as it does */
    const char *output_path; /* for what is said at the end; NULL is standard error */
    FILE *output;
    const char *report_path; /* for the same in JSON, beside what is said; NULL: none */
    FILE *report;
    char preload[PATH_MAX]; /* if it does */
    char **program;         /* it, its arguments, NULL */
};

static const struct argp_option run_argp_options[] = {
    {"size", 's', "SIZE", 0, "The segment's size, 1GiB if not given", 0},
    {"commit", 'c', "WHEN", 0,
     "Take its memory from the system \"lazy\" (the default) or \"eager\"", 0},
    {"malloc", 'm', NULL, 0, "Serve the program's malloc() from the segment, too", 0},
    {"verbose", 'v', NULL, 0, "Let the daemon log what it does", 0},
    {"json", 'j', NULL, 0, "Say in JSON what it left behind", 0},
    {"output", 'o', "FILE", 0, "Say it there, not on the standard error", 0},
    {"report", 'r', "FILE", 0, "Also write it there in JSON", 0},
    {"fail-on-leak", 'f', NULL, 0,
     "End with status 5 if the program ended with 0 and blocks were never released", 0},
    {"leaks-exit-code", 'e', "N", 0,
     "End with status N if the program ended with 0 and blocks were never released", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0},
    {0},
};

/* Ends the program if the argument is no status that says something. */
static int status_or_exit(const struct argp_state *state, const char *argument)
{
    char *end;
    long number = strtol(argument, &end, 10);
    if (end == argument || *end || number < 1 || number > 255) {
        argp_error(state, "--leaks-exit-code takes a status from 1 to 255, not \"%s\"", argument);
    }
    return (int)number;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is argp's */
static error_t run_key(int key, char *argument, struct argp_state *state)
{
    struct run_options *options = state->input;
    switch (key) {
    case 's':
        options->daemon.size = argument;
        return 0;
    case 'c':
        options->daemon.commit = argument;
        return 0;
    case 'm':
        options->wants_malloc = true;
        return 0;
    case 'v':
        options->daemon.verbose = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'o':
        options->output_path = argument;
        return 0;
    case 'r':
        options->report_path = argument;
        return 0;
    case 'f':
        options->leaks_status = STATUS_THRESHOLD;
        return 0;
    case 'e':
        options->leaks_status = status_or_exit(state, argument);
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    case ARGP_KEY_ARG:
        options->program = state->argv + state->next - 1;
        state->next = state->argc; /* the rest is the program's */
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which program?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse(int argc, char **argv, const struct options *before,
                  struct run_options *ret_options)
{
    const struct argp argp = {
        .options = run_argp_options,
        .parser = run_key,
        .args_doc = "PROGRAM [ARGUMENT...]",
        .doc = "Run a program on a segment of its own, and show what it left behind.\v"
               "The exit status is the program's; 128 + N if signal N killed it. What was never "
               "released changes it with --fail-on-leak or --leaks-exit-code only.",
    };

    *ret_options = (struct run_options){
        .daemon = {.size = "1GiB", .commit = "lazy"},
        .json = before->format == FORMAT_JSON || before->format == FORMAT_JSONL,
        .output = stderr,
    };
    options_read(&argp, argc, argv, ARGP_IN_ORDER, ret_options);
}

/* -------------------------------------------------------------------------------- the end ---- */

static int gather(struct epilogue *epilogue, const struct private_daemon *private)
{
    struct kmem_query *query;
    int r = kmem_query_open(private_socket(private), &query);
    if (r < 0) {
        (void)target_complain(r, kmem_last_error());
        return r;
    }
    r = epilogue_gather(epilogue, query);
    if (r < 0) {
        (void)target_complain(r, kmem_query_error(query));
    }
    kmem_query_close(query);
    return r;
}

/* Return: 0 or a negative errno. */
static int write_json(const struct epilogue *epilogue, FILE *file)
{
    int r = epilogue_print_json(epilogue, file);
    return r == 0 && (fflush(file) != 0 || ferror(file)) ? -errno : r;
}

static int write_text(const struct epilogue *epilogue, FILE *file)
{
    struct box box = {.title = "kmem"};
    struct screen screen;
    screen_init(&screen, file);
    epilogue_write(epilogue, &box);
    box_print(&box, &screen);
    return fflush(file) != 0 || ferror(file) ? -errno : 0;
}

static int complain(const char *what, int error)
{
    (void)fprintf(stderr, "kmemctl: cannot say %s: %s\n", what, strerror(-error));
    return STATUS_ERROR;
}

/* A caller that has closed the standard error does not want to hear it. */
static int print_epilogue(const struct epilogue *epilogue, const struct run_options *options)
{
    int r = options->json ? write_json(epilogue, options->output)
                          : write_text(epilogue, options->output);
    if (r == -ENOMEM || (r < 0 && options->output_path)) {
        return complain("what was left behind", r);
    }
    r = options->report ? write_json(epilogue, options->report) : 0;
    return r < 0 ? complain("it in the report", r) : STATUS_OK;
}

/* Return: the status to end with if the program ended with 0. */
static int show_epilogue(const struct run_options *options, int wait_status,
                         const struct private_daemon *private)
{
    struct epilogue epilogue = {.program = options->program[0],
                                .wait_status = wait_status,
                                .serves_malloc = options->wants_malloc};
    int status = STATUS_OK;
    int r = gather(&epilogue, private);
    if (r == 0) {
        status = print_epilogue(&epilogue, options);
        status = epilogue.unreleased_blocks > 0 ? options->leaks_status : status;
    } else if (options->leaks_status) {
        status = target_status(r); /* unknown; that is not "no leaks" */
    }
    epilogue_fini(&epilogue);
    return status;
}

/* ------------------------------------------------------------------------------ the steps ---- */

static int run_program(const struct run_options *options, struct private_daemon *private,
                       const struct signals *signals)
{
    pid_t pid;
    int r = program_start(options->program, options->wants_malloc ? options->preload : NULL,
                          private, signals, &pid);

    if (r < 0) {
        (void)fprintf(stderr, "kmemctl: cannot run %s: %s\n", options->program[0], strerror(-r));
        return r == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_RUN;
    }
    int wait_status = program_wait(pid, private, signals);
    if (options->wants_malloc) {
        preload_explain(wait_status);
    }
    int leaks_status = show_epilogue(options, wait_status, private);
    int status = program_status(wait_status);
    return status == 0 ? leaks_status : status;
}

static int run_with_daemon(const struct run_options *options, const struct signals *signals)
{
    struct private_daemon *private = NULL;
    int number = 0;
    int r = private_open(&options->daemon, signals, &private, &number);
    switch (r) {
    case 0:
        r = run_program(options, private, signals);
        private_close(private);
        return r;
    case PRIVATE_E_NOT_FOUND:
        return STATUS_NO_DAEMON;
    case PRIVATE_E_USAGE:
        return STATUS_USAGE;
    case PRIVATE_E_SIGNAL:
        return 128 + number;
    default:
        (void)fputs("kmemctl: the private kmemd did not start\n", stderr);
        return STATUS_ERROR;
    }
}

/* Return: the file; NULL, and then a message is printed. */
static FILE *open_or_complain(const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file) {
        (void)fprintf(stderr, "kmemctl: cannot write to %s: %s\n", path, strerror(errno));
    }
    return file;
}

/* Before the program runs: what it did is not to be lost for want of a place. */
static bool open_outputs(struct run_options *options)
{
    if (options->output_path) {
        options->output = open_or_complain(options->output_path);
    }
    if (options->output && options->report_path) {
        options->report = open_or_complain(options->report_path);
    }
    return options->output && (options->report || !options->report_path);
}

int run_main(int argc, char **argv, const struct options *before)
{
    struct run_options options;
    struct signals signals;
    parse(argc, argv, before, &options);
    if (options.wants_malloc && !preload_find(options.preload, sizeof(options.preload))) {
        return STATUS_ERROR;
    }
    if (options.wants_malloc && !preload_check(options.program[0])) {
        return STATUS_NOT_RUN;
    }
    if (!open_outputs(&options)) {
        return STATUS_ERROR;
    }
    int r = signals_open(&signals);
    if (r < 0) {
        (void)fprintf(stderr, "kmemctl: cannot wait for signals: %s\n", strerror(-r));
        return STATUS_ERROR;
    }
    r = run_with_daemon(&options, &signals);
    signals_close(&signals);
    return r;
}
