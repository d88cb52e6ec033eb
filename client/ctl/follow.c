/* SPDX-License-Identifier: MIT */
/*
 * follow.c - `kmemctl watch`: what the daemon does, line by line, as it does it
 *
 * With --exec a command is run for each change, one at a time. What is said of the change goes into
 * its environment and, as JSON, to its standard input, never into the command's text: a reason is a
 * foreign string, and a shell would read it.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/changes.h"
#include "client/ctl/listing.h"
#include "client/ctl/status.h"
#include "client/ctl/target.h"

/* The daemon's limit; it is asked again. */
#define WAIT_MS 10000

const struct argp_option follow_options[] = {
    {"exec", OPTION_EXEC, "COMMAND", 0,
     "Run COMMAND for each change: the change is in its environment, and its standard input", 0},
    {0},
};

#define AT(member) COLUMN_AT(struct change_row, member)

static const char *time_text(const void *row)
{
    return ((const struct change_row *)row)->time;
}

static const struct column columns[] = {
    {"TIME", NULL, COLUMN_WORD, .word = time_text},
    {"NUMBER", "number", COLUMN_COUNT, AT(change.number)},
    {"CHANGE", "kind", COLUMN_TEXT, AT(change.kind)},
    {"PID", "pid", COLUMN_PID, AT(change.pid), .filter = FILTER_PID},
    {"UID", "uid", COLUMN_ID, AT(change.uid), .filter = FILTER_USER},
    {"COMMAND", "command", COLUMN_TEXT, AT(change.command)},
    {"OFFSET", "offset", COLUMN_OFFSET, AT(change.offset)},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(change.num_bytes), .filter = FILTER_SIZE},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(change.n_blocks)},
    {"REASON", "reason", COLUMN_TEXT, AT(change.reason), .filter = FILTER_REASON},
    {"NAME", "name", COLUMN_TEXT, AT(change.name)},
    {"WHY", "why", COLUMN_TEXT, AT(change.why)},
    {"MISSED", "n_missed", COLUMN_COUNT, AT(n_missed)},
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct listing_shape shape = {
    .name = "changes",
    .nothing = "no changes",
    .columns = columns,
    .n_columns = N_COLUMNS,
    .table = "TIME,CHANGE,PID,COMMAND,BYTES,REASON",
    .wide = "TIME,CHANGE,PID,COMMAND,BYTES,REASON",
    .row_bytes = sizeof(struct change_row),
};

const struct listing_shape *follow_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

struct follow {
    const struct options *options;
    const struct screen *screen;
};

static bool is_own(const struct change_row *row)
{
    return strcmp(row->change.kind, "missed") == 0 || strcmp(row->change.kind, "began_anew") == 0;
}

/* ------------------------------------------------------------------------------- as a line ---- */

static void print_line(const struct follow *follow, const struct change_row *row)
{
    const struct kmem_change *change = &row->change;
    FILE *file = follow->screen->file;
    (void)fprintf(file, "%.12s  ", row->time + 11); /* of day */
    if (strcmp(change->kind, "missed") == 0) {
        (void)fprintf(file, "%smissed       %s changes came faster than they were read%s\n",
                      screen_on(follow->screen, STYLE_WARN), format_count(row->n_missed).text,
                      screen_off(follow->screen, STYLE_WARN));
        return;
    }
    if (strcmp(change->kind, "began_anew") == 0) {
        (void)fputs("began_anew   another server of kmemd; what the one before did last is not "
                    "known\n",
                    file);
        return;
    }
    (void)fprintf(file, "%-12s %7s %-15s", format_escaped(change->kind).text,
                  format_pid(change->pid).text, format_escaped(change->command).text);
    if (change->num_bytes > 0) {
        (void)fprintf(file, " %10s",
                      format_bytes(change->num_bytes, follow->options->exact_bytes).text);
    }
    if (change->n_blocks > 0) {
        (void)fprintf(file, " in %s blocks", format_count(change->n_blocks).text);
    }
    if (change->offset > 0) {
        (void)fprintf(file, " at %s", format_offset(change->offset).text);
    }
    (void)fprintf(file, "%s%s", *change->why ? " " : "", format_escaped(change->why).text);
    (void)fprintf(file, "%s%s", *change->name ? " " : "", format_escaped(change->name).text);
    (void)fprintf(file, "%s%s\n", *change->reason ? " " : "", format_escaped(change->reason).text);
}

static int print_json(const struct change_row *row, FILE *file)
{
    struct json_row json;
    json_row_init(&json);
    json_row_text(&json, "time", row->time);
    for (size_t i = 1; i < N_COLUMNS; i++) {
        column_json(&columns[i], row, &json);
    }
    return json_row_print(&json, file);
}

/* ---------------------------------------------------------------------------- as a command ---- */

static int setenv_number(const char *name, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number); /* fits */
    return setenv(name, text, 1);
}

/* In the child. */
static int environment_fill(const struct change_row *row)
{
    const struct kmem_change *change = &row->change;
    return setenv("KMEM_CHANGE", change->kind, 1) || setenv("KMEM_TIME", row->time, 1) ||
           setenv_number("KMEM_NUMBER", change->number) || setenv_number("KMEM_PID", change->pid) ||
           setenv_number("KMEM_UID", change->uid) || setenv("KMEM_COMMAND", change->command, 1) ||
           setenv_number("KMEM_OFFSET", change->offset) ||
           setenv_number("KMEM_BYTES", change->num_bytes) ||
           setenv_number("KMEM_BLOCKS", change->n_blocks) ||
           setenv("KMEM_REASON", change->reason, 1) || setenv("KMEM_NAME", change->name, 1) ||
           setenv("KMEM_WHY", change->why, 1) || setenv_number("KMEM_MISSED", row->n_missed);
}

__attribute__((noreturn)) static void become_command(const struct change_row *row,
                                                     const char *command, FILE *input)
{
    (void)signal(SIGPIPE, SIG_DFL);
    if (environment_fill(row) == 0 && fflush(input) == 0 &&
        lseek(fileno(input), 0, SEEK_SET) == 0 && dup2(fileno(input), STDIN_FILENO) == 0) {
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    }
    _exit(127);
}

static void complain_of_command(const char *command, const struct change_row *row, int status)
{
    const struct escaped text = format_escaped(command);
    if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "kmemctl watch: \"%s\" was ended by signal %d, for change %llu\n",
                      text.text, WTERMSIG(status), (unsigned long long)row->change.number);
    } else if (WEXITSTATUS(status) != 0) {
        (void)fprintf(stderr, "kmemctl watch: \"%s\" ended with status %d, for change %llu\n",
                      text.text, WEXITSTATUS(status), (unsigned long long)row->change.number);
    }
}

/* Waits for it: one at a time. That it fails ends nothing. */
static int run_command(const struct follow *follow, const struct change_row *row)
{
    FILE *input = tmpfile();
    int status = 0;
    int r = input ? print_json(row, input) : -errno;
    r = r == 0 && fflush(input) != 0 ? -errno : r;
    const pid_t pid = r == 0 ? fork() : -1;
    if (pid == 0) {
        become_command(row, follow->options->exec, input);
    }
    if (pid < 0) {
        (void)fprintf(stderr, "kmemctl watch: --exec: cannot run it: %s\n",
                      strerror(r < 0 ? -r : errno));
        r = r < 0 ? r : -errno;
    } else {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        complain_of_command(follow->options->exec, row, status);
    }
    if (input) {
        (void)fclose(input); /* nothing is read from it any more */
    }
    return r;
}

/* ------------------------------------------------------------------------------- following ---- */

static int take(const struct change_row *row, void *user)
{
    struct follow *follow = user;
    const struct options *options = follow->options;
    int r = 0;
    if (!is_own(row) && !filter_passes(&options->filter, columns, N_COLUMNS, row)) {
        return 0;
    }
    if (options->exec) {
        return run_command(follow, row);
    }
    if (options->format == FORMAT_TABLE || options->format == FORMAT_WIDE) {
        print_line(follow, row);
    } else {
        r = print_json(row, follow->screen->file);
    }
    return r ? r : fflush(follow->screen->file) != 0 ? STATUS_ERROR : 0;
}

static const char *meaningless(const struct options *options)
{
    return options->watch_ms > 0           ? "--watch"
           : options->format == FORMAT_CSV ? "--output=csv"
           : options->columns              ? "--columns"
           : options->sort                 ? "--sort"
           : options->top > 0              ? "--top"
           : options->filter.has_age       ? "--older-than"
                                           : NULL;
}

int follow_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct follow follow = {options, screen};
    struct stream stream;
    const char *option = meaningless(options);
    int r = 0;
    if (option) {
        (void)fprintf(stderr,
                      "kmemctl watch: changes are told as they come: %s means nothing "
                      "to it\n",
                      option);
        return STATUS_USAGE;
    }
    stream_begin(&stream, query, options, take, &follow);
    while (r == 0) {
        r = stream_step(&stream, WAIT_MS);
    }
    if (r < 0) {
        r = target_complain(r, stream_error(&stream));
    }
    stream_end(&stream);
    return r;
}
