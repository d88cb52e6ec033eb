/* SPDX-License-Identifier: MIT */
/*
 * advise.c - the size and the limits that the recorded peaks needed, as sentences and as options
 *
 * Of a daemon: what it has counted since its segment was made. Of a FILE of `record`: what was
 * taken at once there. An eighth is added: sizes are rounded up, and no free extent fits exactly.
 */
#include "client/ctl/command.h"

#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/recording.h"
#include "client/ctl/status.h"

#define MIB (UINT64_C(1) << 20)

struct advice {
    uint64_t segment_bytes;
    uint64_t peak_bytes;      /* charged at once: direct blocks, and leases */
    uint64_t peak_used_bytes; /* live at once; 0: not known */
    uint64_t no_room;         /* refused for want of room */
    uint64_t wanted_bytes;    /* charged at once, had one of them been granted; 0: none is known */
    uint64_t quota;           /* refused by the quota */
    uint64_t client_bytes;    /* the most of one client */
    char client[ESCAPED_MAX_BYTES + 64];
    uint64_t names_used;
    uint64_t names_limit;
};

static int note_figure(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                       void *user)
{
    struct advice *advice = user;
    const struct {
        const char *name;
        uint64_t *to;
    } figures[] = {{"segment_bytes", &advice->segment_bytes},
                   {"peak_bytes", &advice->peak_bytes},
                   {"peak_used_bytes", &advice->peak_used_bytes},
                   {"refusals_no_room", &advice->no_room},
                   {"refusals_quota", &advice->quota}};
    (void)daemon;
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        if (strcmp(statistic->name, figures[i].name) == 0) {
            *figures[i].to = statistic->value;
        }
    }
    return 0;
}

static void note_most(struct advice *advice, uint64_t num_bytes, uint32_t pid, const char *command)
{
    if (num_bytes > advice->client_bytes) {
        advice->client_bytes = num_bytes;
        (void)snprintf(advice->client, sizeof(advice->client), "process %s (%s)",
                       format_pid(pid).text, format_escaped(command).text); /* cut, if it must */
    }
}

static int note_client(const struct kmem_client *client, void *user)
{
    note_most(user, client->peak_bytes, client->pid, client->command);
    return 0;
}

static int note_obituary(const struct kmem_obituary *obituary, void *user)
{
    note_most(user, obituary->peak_bytes, obituary->pid, obituary->command);
    return 0;
}

/* What would have been taken, had it been granted. */
static int note_refusal(const struct kmem_refusal *refusal, void *user)
{
    struct advice *advice = user;
    const uint64_t taken_bytes = advice->segment_bytes > refusal->free_bytes
                                     ? advice->segment_bytes - refusal->free_bytes
                                     : 0;
    const bool is_no_room = strcmp(refusal->why, "no_room") == 0;
    if (is_no_room && taken_bytes + refusal->num_bytes > advice->wanted_bytes) {
        advice->wanted_bytes = taken_bytes + refusal->num_bytes;
    }
    return 0;
}

static int note_limit(const struct kmem_limit *limit, void *user)
{
    struct advice *advice = user;
    if (strcmp(limit->name, "names") == 0) {
        advice->names_used = limit->used;
        advice->names_limit = limit->limit;
    }
    return 0;
}

static uint64_t with_room(uint64_t num_bytes)
{
    const uint64_t more = num_bytes + num_bytes / 8 + MIB - 1;
    return more / MIB * MIB > 0 ? more / MIB * MIB : MIB;
}

static uint64_t size_for(const struct advice *advice)
{
    return with_room(advice->wanted_bytes > advice->peak_bytes ? advice->wanted_bytes
                                                               : advice->peak_bytes);
}

/* --------------------------------------------------------------------------------- telling -- */

static void tell(const struct screen *screen, const char *text)
{
    (void)screen_flow(screen, 0, 2, text);
    (void)fputc('\n', screen->file);
}

static void tell_no_room(const struct advice *advice, const struct screen *screen)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "%s %s refused for want of room.",
                   format_count(advice->no_room).text,
                   advice->no_room == 1 ? "request was" : "requests were");
    tell(screen, text);
    if (advice->wanted_bytes > advice->peak_bytes) {
        (void)snprintf(text, sizeof(text),
                       "With one of them %s would have been taken: with an eighth more, %s would "
                       "do.",
                       format_bytes(advice->wanted_bytes, false).text,
                       format_bytes(size_for(advice), false).text);
        tell(screen, text);
    }
    tell(screen,
         "\"kmemctl refusals\" says what was refused; a record of \"kmemctl record\", played "
         "on larger sizes, whether all of it would have fitted.");
}

static void tell_size(const struct advice *advice, const struct screen *screen)
{
    char text[1024];
    const struct label peak = format_bytes(advice->peak_bytes, false);
    const struct label size = format_bytes(size_for(advice), false);
    const bool lacked = advice->wanted_bytes > advice->peak_bytes;
    (void)snprintf(text, sizeof(text), "The most that was taken at once is %s of %s%s%s%s.",
                   peak.text, format_bytes(advice->segment_bytes, false).text,
                   lacked ? "" : ": with an eighth more for rounding and splitting, ",
                   lacked ? "" : size.text, lacked ? "" : " would do");
    tell(screen, text);
    if (advice->peak_used_bytes > 0 && advice->peak_used_bytes < advice->peak_bytes) {
        (void)snprintf(text, sizeof(text),
                       "Of it %s were live blocks; the rest was leased, and can be had.",
                       format_bytes(advice->peak_used_bytes, false).text);
        tell(screen, text);
    }
    if (advice->no_room > 0) {
        tell_no_room(advice, screen);
    }
}

static void tell_limits(const struct advice *advice, const struct screen *screen)
{
    char text[1024];
    if (advice->client_bytes > 0) {
        (void)snprintf(
            text, sizeof(text),
            "The most that one client had is %s, %s: a quota below %s would have refused "
            "it something.",
            format_bytes(advice->client_bytes, false).text, advice->client,
            format_bytes(advice->client_bytes, false).text);
        tell(screen, text);
    }
    if (advice->quota > 0) {
        (void)snprintf(text, sizeof(text), "The quota has refused %s %s.",
                       format_count(advice->quota).text,
                       advice->quota == 1 ? "request" : "requests");
        tell(screen, text);
    }
    if (advice->names_limit > 0 && advice->names_used * 4 > advice->names_limit * 3) {
        (void)snprintf(text, sizeof(text), "%s of %s names are in use.",
                       format_count(advice->names_used).text,
                       format_count(advice->names_limit).text);
        tell(screen, text);
    }
}

static void tell_options(const struct advice *advice, const struct screen *screen)
{
    (void)fprintf(screen->file, "\nkmemd --size %lluMiB",
                  (unsigned long long)(size_for(advice) / MIB));
    if (advice->client_bytes > 0) {
        (void)fprintf(screen->file, " --quota %lluMiB",
                      (unsigned long long)(with_room(advice->client_bytes) / MIB));
    }
    if (advice->names_limit > 0 && advice->names_used * 4 > advice->names_limit * 3) {
        const uint64_t names = advice->names_limit * 2 < 32768 ? advice->names_limit * 2 : 32768;
        (void)fprintf(screen->file, " --names %llu", (unsigned long long)names);
    }
    (void)fputc('\n', screen->file);
}

static int tell_json(const struct advice *advice, FILE *file)
{
    struct json_row json;
    json_row_init(&json);
    json_row_number(&json, "segment_bytes", advice->segment_bytes);
    json_row_number(&json, "peak_bytes", advice->peak_bytes);
    json_row_number(&json, "peak_used_bytes", advice->peak_used_bytes);
    json_row_number(&json, "refused_no_room", advice->no_room);
    json_row_number(&json, "refused_quota", advice->quota);
    json_row_number(&json, "wanted_bytes", advice->wanted_bytes);
    json_row_number(&json, "client_peak_bytes", advice->client_bytes);
    json_row_number(&json, "advised_size_bytes", size_for(advice));
    if (advice->client_bytes > 0) {
        json_row_number(&json, "advised_quota_bytes", with_room(advice->client_bytes));
    }
    return json_row_print(&json, file);
}

/* ---------------------------------------------------------------------------------- asking -- */

bool advise_asks(const struct options *options)
{
    return options->arguments[0] == NULL;
}

static int ask_daemon(struct advice *advice, struct kmem_query *query)
{
    int r = kmem_query_usage(query, note_figure, advice);
    r = r ? r : kmem_query_refusals(query, note_refusal, advice);
    r = r ? r : kmem_query_clients(query, note_client, advice);
    r = r ? r : kmem_query_obituaries(query, note_obituary, advice);
    return r ? r : kmem_query_limits(query, note_limit, advice);
}

static int read_file(struct advice *advice, const char *path)
{
    struct recording recording;
    const int status = recording_read(&recording, path, "advise");
    if (status == STATUS_OK) {
        advice->segment_bytes = recording.segment_bytes;
        advice->peak_bytes = recording.peak_bytes;
        recording_fini(&recording);
    }
    return status;
}

int advise_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct advice advice = {.peak_bytes = 0};
    const char *path = options->arguments[0];
    const int r = path ? read_file(&advice, path) : ask_daemon(&advice, query);
    if (r != 0) {
        return r;
    }
    if (options->format == FORMAT_JSON || options->format == FORMAT_JSONL) {
        return tell_json(&advice, screen->file);
    }
    tell_size(&advice, screen);
    tell_limits(&advice, screen);
    tell_options(&advice, screen);
    return STATUS_OK;
}
