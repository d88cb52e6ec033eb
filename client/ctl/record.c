/* SPDX-License-Identifier: MIT */
/*
 * record.c - `kmemctl record FILE`: what the daemon does, until Ctrl-C, for `replay` and `advise`
 *
 * First what there is, direct blocks and leases, then each change. The stream's place is taken
 * before the first is asked for: what changes meanwhile may be told twice, and is never missing.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/changes.h"
#include "client/ctl/json.h"
#include "client/ctl/recording.h"
#include "client/ctl/status.h"
#include "client/ctl/target.h"

/* Half a second: so long a signal, or the end of the time, may wait. */
#define WAIT_MS 500

const struct argp_option record_options[] = {
    {"for", OPTION_FOR, "DURATION", 0, "End after DURATION: 30s, 10m; else with Ctrl-C", 0},
    {0},
};

static volatile sig_atomic_t is_over;

static void end(int number)
{
    (void)number;
    is_over = 1;
}

struct record {
    FILE *file;
    struct timespec began;
    uint64_t n_changes;
    uint64_t n_missed;
    uint64_t n_servers; /* that came after the first */
};

static uint64_t since_ms(const struct timespec *began)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* a clock that there is */
    return (uint64_t)((now.tv_sec - began->tv_sec) * 1000 +
                      (now.tv_nsec - began->tv_nsec) / 1000000);
}

static int write_event(struct record *record, uint64_t at_ms, const struct change_row *row)
{
    const struct kmem_change *change = &row->change;
    const char *text = *change->name ? change->name : change->reason;
    struct json_row json;
    json_row_init(&json);
    json_row_number(&json, "t", at_ms);
    json_row_text(&json, "k", change->kind);
    json_row_number(&json, "p", change->pid);
    if (change->offset > 0) {
        json_row_number(&json, "o", change->offset);
    }
    if (change->num_bytes > 0) {
        json_row_number(&json, "n", change->num_bytes);
    }
    if (row->n_missed > 0) {
        json_row_number(&json, "m", row->n_missed);
    }
    if (*text) {
        json_row_text(&json, "r", text);
    }
    int r = json_row_print(&json, record->file);
    return r ? r : ferror(record->file) ? -EIO : 0;
}

static int take_change(const struct change_row *row, void *user)
{
    struct record *record = user;
    const uint64_t now_ms = since_ms(&record->began);
    const uint64_t ago_ms = row->change.ms_ago;
    const bool is_anew = strcmp(row->change.kind, "began_anew") == 0;
    record->n_missed += row->n_missed;
    record->n_servers += is_anew;
    record->n_changes += row->n_missed == 0 && !is_anew;
    return write_event(record, ago_ms < now_ms ? now_ms - ago_ms : 0, row);
}

/* --------------------------------------------------------------------------- what there is -- */

static int write_there(struct record *record, const char *kind, uint32_t pid, uint64_t offset,
                       uint64_t num_bytes, const char *reason)
{
    const struct change_row row = {.change = {.kind = kind,
                                              .pid = pid,
                                              .offset = offset,
                                              .num_bytes = num_bytes,
                                              .command = "",
                                              .reason = reason,
                                              .name = "",
                                              .why = ""}};
    return write_event(record, 0, &row);
}

static int take_block(const struct kmem_block *block, void *user)
{
    return write_there(user, "allocated", block->pid, block->offset, block->num_bytes,
                       block->reason);
}

static int take_pages(const struct kmem_pages *pages, void *user)
{
    const bool is_leased = pages->state == KMEM_PAGES_LEASED || pages->state == KMEM_PAGES_IDLE;
    return is_leased ? write_there(user, "leased", pages->pid, pages->offset, pages->num_bytes, "")
                     : 0;
}

static int note_segment(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                        void *user)
{
    struct json_row *json = user;
    if (strcmp(statistic->name, "segment_bytes") == 0) {
        json_row_text(json, "segment", daemon->segment_name);
        json_row_text(json, "daemon", daemon->version);
        json_row_number(json, "segment_bytes", statistic->value);
    }
    return 0;
}

static int write_beginning(struct record *record, struct kmem_query *query)
{
    const struct kmem_block_filter direct = {.struct_bytes = sizeof(direct),
                                             .kind = KMEM_BLOCKS_DIRECT};
    char text[CHANGE_TIME_BYTES];
    struct tm parts;
    const time_t now = time(NULL);
    struct json_row json;
    (void)gmtime_r(&now, &parts);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    json_row_init(&json);
    json_row_number(&json, "kmem_record", RECORDING_VERSION);
    json_row_text(&json, "began", text);
    int r = kmem_query_usage(query, note_segment, &json);
    const int printed = json_row_print(&json, record->file); /* frees it in any case */
    r = r ? r : printed;
    r = r ? r : kmem_query_blocks_where(query, &direct, take_block, record);
    return r ? r : kmem_query_pages(query, 0, take_pages, record);
}

/* ------------------------------------------------------------------------------- recording -- */

static void show_progress(const struct record *record, const char *end_of_line)
{
    (void)fprintf(stderr, "\r%s, %s changes%s%s", format_age(since_ms(&record->began)).text,
                  format_count(record->n_changes).text, record->n_missed > 0 ? ", missed " : "",
                  record->n_missed > 0 ? format_count(record->n_missed).text : "");
    (void)fputs(end_of_line, stderr);
}

static int record_all(struct record *record, struct stream *stream, struct kmem_query *query,
                      const struct options *options)
{
    const bool shows = isatty(STDERR_FILENO);
    int r = stream_step(stream, 0); /* from now on */
    r = r ? r : write_beginning(record, query);
    r = r == 0 && fflush(record->file) != 0 ? -EIO : r;
    while (r == 0 && !is_over &&
           (options->for_ms == 0 || since_ms(&record->began) < options->for_ms)) {
        r = stream_step(stream, WAIT_MS);
        r = r == 0 && fflush(record->file) != 0 ? -EIO : r; /* whatever becomes of this process */
        if (shows) {
            show_progress(record, "   ");
        }
    }
    if (shows) {
        (void)fputc('\n', stderr);
    }
    return is_over && r == -EINTR ? 0 : r;
}

/* What is written is on the disk, or it is said that it is not. */
static int record_finish(struct record *record, const char *path)
{
    const bool failed = fflush(record->file) != 0 || ferror(record->file) ||
                        (fsync(fileno(record->file)) < 0 && errno != EINVAL && errno != EROFS);
    const int error = errno;
    if ((fclose(record->file) != 0 || failed)) {
        (void)fprintf(stderr, "kmemctl record: cannot write to %s: %s\n", format_escaped(path).text,
                      strerror(error));
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

static void tell_what_was_recorded(const struct record *record, const char *path,
                                   const struct screen *screen)
{
    const struct screen notes = {.file = screen->notes, .n_columns = screen->n_columns};
    char text[ESCAPED_MAX_BYTES + 256];
    int n = snprintf(text, sizeof(text), "%s: %s changes in %s", format_escaped(path).text,
                     format_count(record->n_changes).text,
                     format_age(since_ms(&record->began)).text); /* fits, as the next two do */
    if (record->n_missed > 0) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "; %s were missed",
                      format_count(record->n_missed).text);
    }
    if (record->n_servers > 0) {
        (void)snprintf(
            text + n, sizeof(text) - (size_t)n,
            "; another server began %s %s, and what the one before did last is not known",
            format_count(record->n_servers).text, record->n_servers == 1 ? "time" : "times");
    }
    (void)screen_flow(&notes, 0, 2, text);
    (void)fputc('\n', notes.file);
}

int record_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    const char *path = options->arguments[0];
    const struct sigaction action = {.sa_handler = end};
    struct record record = {.file = fopen(path, "we")};
    struct stream stream;
    if (!record.file) {
        (void)fprintf(stderr, "kmemctl record: cannot write to %s: %s\n", format_escaped(path).text,
                      strerror(errno));
        return STATUS_ERROR;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &record.began); /* a clock that there is */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    stream_begin(&stream, query, options, take_change, &record);
    int r = record_all(&record, &stream, query, options);
    if (r < 0 && r != -EIO) {
        r = target_complain(r, stream_error(&stream));
    }
    stream_end(&stream);
    const int finished = record_finish(&record, path);
    tell_what_was_recorded(&record, path, screen);
    return finished != STATUS_OK ? finished : r == -EIO ? STATUS_ERROR : r;
}
