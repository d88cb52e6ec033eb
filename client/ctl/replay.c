/* SPDX-License-Identifier: MIT */
/*
 * replay.c - `kmemctl replay FILE --size N`: would it have fitted?
 *
 * The record is played on the engine itself: a private daemon of that size, lazily committed, whose
 * bytes nobody touches. Direct blocks are asked for as they were. A lease is a block of as many
 * bytes; of one that came back in part what is left is asked for anew. What is refused is left out
 * from then on.
 */
#include "client/ctl/command.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/engine.h"
#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/measure.h"
#include "client/ctl/private.h"
#include "client/ctl/recording.h"
#include "client/ctl/signals.h"
#include "client/ctl/status.h"
#include "client/ctl/table.h"
#include "client/ctl/taken.h"

#define SIZES_MAX 16
#define MIB (UINT64_C(1) << 20)
#define PAGE_BYTES (UINT64_C(16) << 10)
#define NOWHERE UINT64_MAX

struct replay_options {
    const char *path;
    uint64_t sizes[SIZES_MAX];
    size_t n_sizes;
    bool fit;
    bool json;
};

/* What became of one size. */
struct outcome {
    uint64_t size_bytes;
    uint64_t n_asked;
    uint64_t n_refused;
    uint64_t first_bytes; /* the first that was refused */
    uint64_t first_ms;
    char first_reason[ESCAPED_MAX_BYTES];
};

static const struct argp_option replay_argp_options[] = {
    {"size", 's', "SIZE", 0, "Play it on a segment of that size; may be given several times", 0},
    {"fit", 'f', NULL, 0, "Find the smallest size, in whole MiB, in which all fits", 0},
    {"json", 'j', NULL, 0, "Answer in JSON", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0},
    {0},
};

static error_t replay_key(int key, char *argument, struct argp_state *state)
{
    struct replay_options *options = state->input;
    uint64_t size_bytes;
    switch (key) {
    case 's':
        if (!measure_bytes(argument, &size_bytes) || size_bytes < MIB) {
            argp_error(state, "--size takes a size from 1MiB on, as 256MiB or 2G; not \"%s\"",
                       argument);
        }
        if (options->n_sizes == SIZES_MAX) {
            argp_error(state, "--size can be given %d times", SIZES_MAX);
        }
        options->sizes[options->n_sizes++] = size_bytes;
        return 0;
    case 'f':
        options->fit = true;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    case ARGP_KEY_ARG:
        if (options->path) {
            argp_error(state, "what is \"%s\"? One FILE is played", argument);
        }
        options->path = argument;
        return 0;
    case ARGP_KEY_END:
        if (!options->path) {
            argp_error(state, "FILE is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ------------------------------------------------------------------------------ one size ---- */

struct play {
    struct engine engine;
    struct outcome *outcome;
    uint64_t at_ms;
};

static int piece_comes(struct piece *piece, void *user)
{
    struct play *play = user;
    struct outcome *outcome = play->outcome;
    const int r = engine_allocate(&play->engine, piece->num_bytes, piece->reason, &piece->place);
    outcome->n_asked++;
    if (r != ENGINE_E_REFUSED) {
        return r;
    }
    piece->place = NOWHERE;
    if (outcome->n_refused++ == 0) {
        outcome->first_bytes = piece->num_bytes;
        outcome->first_ms = play->at_ms;
        (void)snprintf(outcome->first_reason, sizeof(outcome->first_reason), "%s",
                       *piece->reason ? format_escaped(piece->reason).text : "a lease");
    }
    return 0;
}

static int piece_goes(const struct piece *piece, void *user)
{
    struct play *play = user;
    const int r = piece->place == NOWHERE ? 0 : engine_release(&play->engine, piece->place);
    return r == ENGINE_E_REFUSED ? -EPROTO : r;
}

static int play_events(const struct recording *recording, struct play *play, bool stops)
{
    struct taken taken;
    int r = taken_init(&taken);
    taken.comes = piece_comes;
    taken.goes = piece_goes;
    taken.user = play;
    for (size_t i = 0; r == 0 && i < recording->n_events; i++) {
        play->at_ms = recording->events[i].at_ms;
        r = taken_apply(&taken, &recording->events[i]);
        if (stops && play->outcome->n_refused > 0) {
            break;
        }
    }
    taken_fini(&taken);
    return r;
}

/* Return: 0, or a status; then it was said why. */
static int play_size(const struct recording *recording, const struct signals *signals,
                     uint64_t size_bytes, bool stops, struct outcome *ret_outcome)
{
    char size[32];
    const struct private_options options = {.size = size, .commit = "lazy"};
    struct private_daemon *private = NULL;
    struct play play = {.outcome = ret_outcome};
    int number = 0;
    *ret_outcome = (struct outcome){.size_bytes = size_bytes};
    (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)size_bytes); /* fits */
    int r = private_open(&options, signals, &private, &number);
    if (r != 0) {
        return r == PRIVATE_E_NOT_FOUND ? STATUS_NO_DAEMON
               : r == PRIVATE_E_SIGNAL  ? 128 + number
                                        : STATUS_ERROR;
    }
    r = engine_open(&play.engine, private_socket(private));
    if (r == 0) {
        r = play_events(recording, &play, stops);
        engine_close(&play.engine);
    }
    private_close(private);
    if (r != 0) {
        (void)fprintf(stderr, "kmemctl replay: the private kmemd did not play it: %s\n",
                      strerror(-r));
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

/* -------------------------------------------------------------------------- the smallest ---- */

static uint64_t in_mib(uint64_t num_bytes)
{
    return (num_bytes + MIB - 1) / MIB * MIB;
}

/* Doubled until all fits, then halved between. What fits into some size may, rarely, not fit into a
   larger one: so what is found is a size that fits, and one less that does not. */
static int play_fit(const struct recording *recording, const struct signals *signals,
                    struct outcome *ret_outcome)
{
    uint64_t too_small = 0;
    uint64_t size = in_mib(recording->peak_bytes > 0 ? recording->peak_bytes + PAGE_BYTES : MIB);
    int status = play_size(recording, signals, size, true, ret_outcome);
    while (status == STATUS_OK && ret_outcome->n_refused > 0) {
        too_small = size;
        size = in_mib(size + size / 4);
        status = play_size(recording, signals, size, true, ret_outcome);
    }
    uint64_t fits = size;
    while (status == STATUS_OK && too_small > 0 && fits - too_small > MIB) {
        struct outcome outcome;
        size = in_mib(too_small + (fits - too_small) / 2);
        status = play_size(recording, signals, size, true, &outcome);
        if (status == STATUS_OK && outcome.n_refused > 0) {
            too_small = size;
        } else if (status == STATUS_OK) {
            fits = size;
            *ret_outcome = outcome;
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------- telling ---- */

static void tell_recording(const struct recording *recording, const char *path)
{
    (void)printf("%s: %s events; %s at most was taken, after %s; the largest piece has %s\n",
                 format_escaped(path).text, format_count(recording->n_events).text,
                 format_bytes(recording->peak_bytes, false).text,
                 format_age(recording->peak_ms).text,
                 format_bytes(recording->largest_bytes, false).text);
    if (recording->n_missed > 0) {
        (void)printf("%s changes were missed when it was recorded: less was played than was done\n",
                     format_count(recording->n_missed).text);
    }
}

static void tell_outcome(const struct outcome *outcome)
{
    const struct label size = format_bytes(outcome->size_bytes, false);
    if (outcome->n_refused == 0) {
        (void)printf("%10s  all fits\n", size.text);
        return;
    }
    (void)printf("%10s  %s of %s refused, first %s after %s: %s\n", size.text,
                 format_count(outcome->n_refused).text, format_count(outcome->n_asked).text,
                 format_bytes(outcome->first_bytes, false).text, format_age(outcome->first_ms).text,
                 outcome->first_reason);
}

static void json_recording(const struct recording *recording, struct json_row *json)
{
    json_row_init(json);
    json_row_number(json, "n_events", recording->n_events);
    json_row_number(json, "n_missed", recording->n_missed);
    json_row_number(json, "peak_bytes", recording->peak_bytes);
    json_row_number(json, "peak_ms", recording->peak_ms);
    json_row_number(json, "largest_bytes", recording->largest_bytes);
    json_row_list(json, "sizes");
}

static void json_outcome(struct json_row *json, const struct outcome *outcome)
{
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "size_bytes", outcome->size_bytes);
    json_row_bool(&row, "fits", outcome->n_refused == 0);
    json_row_number(&row, "n_asked", outcome->n_asked);
    json_row_number(&row, "n_refused", outcome->n_refused);
    if (outcome->n_refused > 0) {
        json_row_number(&row, "first_refused_bytes", outcome->first_bytes);
        json_row_number(&row, "first_refused_ms", outcome->first_ms);
        json_row_text(&row, "first_refused_reason", outcome->first_reason);
    }
    json_row_append(json, "sizes", &row);
}

static int replay_all(struct replay_options *options, const struct recording *recording,
                      const struct signals *signals)
{
    struct outcome outcome;
    struct json_row json;
    int status = STATUS_OK;
    bool is_refused = false;
    if (options->n_sizes == 0 && !options->fit) {
        options->sizes[options->n_sizes++] = recording->segment_bytes;
    }
    if (options->json) {
        json_recording(recording, &json);
    } else {
        tell_recording(recording, options->path);
    }
    for (size_t i = 0; status == STATUS_OK && i < options->n_sizes + options->fit; i++) {
        status = i < options->n_sizes
                     ? play_size(recording, signals, options->sizes[i], false, &outcome)
                     : play_fit(recording, signals, &outcome);
        if (status == STATUS_OK && options->json) {
            json_outcome(&json, &outcome);
        } else if (status == STATUS_OK) {
            tell_outcome(&outcome);
        }
        is_refused = is_refused || (status == STATUS_OK && outcome.n_refused > 0);
    }
    if (options->json && json_row_print(&json, stdout) < 0) {
        status = STATUS_ERROR;
    }
    return status == STATUS_OK && is_refused ? STATUS_THRESHOLD : status;
}

int replay_main(int argc, char **argv, const struct options *before)
{
    const struct argp argp = {
        .options = replay_argp_options,
        .parser = replay_key,
        .args_doc = "FILE",
        .doc = "Play a record on a segment of another size: would it have fitted?\v"
               "Without --size and --fit it is played on the size that it was recorded on. The "
               "exit status is 5 if something was refused.",
    };
    struct replay_options options = {.json = before->format == FORMAT_JSON ||
                                             before->format == FORMAT_JSONL};
    struct recording recording;
    struct signals signals;
    options_read(&argp, argc, argv, 0, &options);
    int status = recording_read(&recording, options.path, "replay");
    if (status != STATUS_OK) {
        return status;
    }
    int r = signals_open(&signals);
    if (r < 0) {
        (void)fprintf(stderr, "kmemctl replay: cannot wait for signals: %s\n", strerror(-r));
        recording_fini(&recording);
        return STATUS_ERROR;
    }
    status = replay_all(&options, &recording, &signals);
    signals_close(&signals);
    recording_fini(&recording);
    if (fflush(stdout) != 0) {
        (void)fprintf(stderr, "kmemctl replay: cannot write the answer: %s\n", strerror(errno));
        return STATUS_ERROR;
    }
    return status;
}
