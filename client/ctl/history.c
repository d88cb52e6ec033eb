/* SPDX-License-Identifier: MIT */
/*
 * history.c - what was live before now, and what of it has begun to grow
 *
 * The time that is asked for is cut into even steps, those of the table and, finer, those of the
 * courses (course.h) that the sentences below the table and the lines above it are made of. What is
 * kept is bounded: so many steps for each series that the daemon has.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/history.h>

#include "client/ctl/course.h"
#include "client/ctl/listing.h"

#define HOUR_MS 3600000
/* A course of a minute has a step for each second, and finer it is not kept. */
#define MINUTE_MS 60000
#define WEEK_MS (7 * 24 * UINT64_C(HOUR_MS))
/* 5 s: less is a server that was replaced, or a client that came at once. */
#define UNSEEN_LEAST_MS 5000
/* 20: what fits a screen; --steps asks for others. */
#define STEPS_USUAL 20

const struct argp_option history_options[] = {
    {"since", OPTION_SINCE, "AGE", 0,
     "How far to look back: 10m, up to 7d; if nothing is said, as far as is known, an hour at "
     "most",
     0},
    {"steps", OPTION_STEPS, "N", 0, "Into how many steps to cut that: 20, if nothing is said", 0},
    {0},
};

/* ------------------------------------------------------------------------------- the rows ---- */

struct step_row {
    uint64_t ms_ago;
    uint64_t span_ms; /* how much of the step was looked at */
    uint64_t num_bytes;
    uint64_t grew_bytes; /* since the step before; one of these is 0 */
    uint64_t shrank_bytes;
    uint64_t n_blocks;
    uint64_t peak_bytes;
    uint64_t n_looks;
    const char *reason; /* "": all */
    char change[sizeof(struct label) + 1];
};

static const char *change_text(const void *row)
{
    const struct step_row *step = row;
    return step->change;
}

#define AT(member) COLUMN_AT(struct step_row, member)

static const struct column columns[] = {
    {"WHEN", "ms_ago", COLUMN_AGE, AT(ms_ago), .filter = FILTER_AGE},
    {"LOOKED", "span_ms", COLUMN_AGE, AT(span_ms), .drop = 5},
    {"LOOKS", "n_looks", COLUMN_COUNT, AT(n_looks), .drop = 6},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE},
    {NULL, "grew_bytes", COLUMN_BYTES, AT(grew_bytes)},
    {NULL, "shrank_bytes", COLUMN_BYTES, AT(shrank_bytes)},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 4},
    {"PEAK", "peak_bytes", COLUMN_BYTES, AT(peak_bytes), .drop = 3},
    {"REASON", "reason", COLUMN_TEXT, AT(reason), .drop = 1, .filter = FILTER_REASON,
     .may_flow = true},
    {"CHANGE", NULL, COLUMN_WORD, .word = change_text, .drop = 2},
};

static const struct listing_shape shape = {
    .name = "history",
    .nothing = "nothing was looked at in that time",
    .nothing_chosen = "nothing of that kind was seen in that time",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "WHEN,BYTES,CHANGE,BLOCKS,PEAK,REASON",
    .wide = "WHEN,LOOKED,LOOKS,BYTES,CHANGE,BLOCKS,PEAK,REASON",
    .row_bytes = sizeof(struct step_row),
};

const struct listing_shape *history_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

/* ------------------------------------------------------------------------------ gathering ---- */

struct series {
    char *reason; /* NULL: all together */
    struct course course;
    struct step_row *steps; /* n_looks 0: not seen in it */
};

struct history {
    const struct options *options;
    uint64_t since_ms;
    size_t n_steps;
    struct series *series;
    size_t n_series;
    uint64_t unseen_ms; /* the longest gap that there was, and when it ended */
    uint64_t unseen_until_ms_ago;
    uint64_t former_ms_ago;
};

static bool series_is(const struct series *series, const char *reason)
{
    return series->reason && reason ? strcmp(series->reason, reason) == 0
                                    : !series->reason && !reason;
}

/* The series of that reason, made if there is none. Return: NULL without memory. */
static struct series *series_find(struct history *history, const char *reason)
{
    for (size_t i = 0; i < history->n_series; i++) {
        if (series_is(&history->series[i], reason)) {
            return &history->series[i];
        }
    }
    struct series *all =
        realloc(history->series, (history->n_series + 1) * sizeof(*history->series));
    if (!all) {
        return NULL;
    }
    history->series = all;
    struct series *series = &all[history->n_series];
    *series = (struct series){.reason = reason ? strdup(reason) : NULL};
    series->steps = calloc(history->n_steps, sizeof(*series->steps));
    history->n_series++; /* history_fini() has it */
    return series->steps && (series->reason || !reason) ? series : NULL;
}

static void history_fini(struct history *history)
{
    for (size_t i = 0; i < history->n_series; i++) {
        free(history->series[i].reason);
        free(history->series[i].steps);
    }
    free(history->series);
}

/* Which of n steps a time is in, the last one now. */
static size_t step_of(const struct history *history, uint64_t ms_ago, size_t n_steps)
{
    const uint64_t age_ms = ms_ago < history->since_ms ? ms_ago : history->since_ms - 1;
    return n_steps - 1 - (size_t)(age_ms * n_steps / history->since_ms);
}

static void note_gap(struct history *history, const struct kmem_history_row *row)
{
    const uint64_t passed_ms =
        history->former_ms_ago > row->ms_ago ? history->former_ms_ago - row->ms_ago : 0;
    const uint64_t unseen_ms = passed_ms > row->span_ms ? passed_ms - row->span_ms : 0;
    if (unseen_ms >= UNSEEN_LEAST_MS && unseen_ms > history->unseen_ms) {
        history->unseen_ms = unseen_ms;
        history->unseen_until_ms_ago = row->ms_ago;
    }
    history->former_ms_ago = row->ms_ago;
}

static int add_row(const struct kmem_history_row *row, void *user)
{
    struct history *history = user;
    struct series *series = series_find(history, row->reason);
    if (!series) {
        return -ENOMEM;
    }
    if (!row->reason) {
        note_gap(history, row);
    }
    struct step_row *step = &series->steps[step_of(history, row->ms_ago, history->n_steps)];
    step->ms_ago = row->ms_ago;
    step->span_ms += row->span_ms;
    step->n_looks += row->n_looks;
    step->num_bytes = row->num_bytes;
    step->n_blocks = row->n_blocks;
    step->peak_bytes = row->peak_bytes > step->peak_bytes ? row->peak_bytes : step->peak_bytes;
    course_note(&series->course, step_of(history, row->ms_ago, COURSE_STEPS), row->num_bytes);
    return 0;
}

static int note_oldest(const struct kmem_history_row *row, void *user)
{
    struct history *history = user;
    const uint64_t ms_ago = row->ms_ago + row->span_ms;
    history->since_ms = ms_ago > history->since_ms ? ms_ago : history->since_ms;
    return 0;
}

/* Where nothing is said: of a segment that is a minute old, an hour would be a single step. */
static int choose_since(struct history *history, struct kmem_query *query)
{
    const struct kmem_history_filter filter = {
        .struct_bytes = sizeof(filter), .step = KMEM_HISTORY_SECONDS, .max_age_ms = HOUR_MS};
    history->since_ms = 1;
    int r = kmem_query_history(query, &filter, note_oldest, history);
    const uint64_t since_ms = (history->since_ms + MINUTE_MS - 1) / MINUTE_MS * MINUTE_MS;
    history->since_ms = since_ms < HOUR_MS ? since_ms : HOUR_MS;
    return r;
}

static int gather(struct history *history, struct kmem_query *query)
{
    const struct kmem_history_filter filter = {
        .struct_bytes = sizeof(filter),
        .step = history->since_ms <= HOUR_MS ? KMEM_HISTORY_SECONDS : KMEM_HISTORY_MINUTES,
        .reason = "*", /* all: --reason is more than a pattern of the daemon's can say */
        .max_age_ms = history->since_ms,
    };
    return kmem_query_history(query, &filter, add_row, history);
}

/* -------------------------------------------------------------------------------- showing ---- */

static bool is_document(const struct options *options)
{
    return options->format != FORMAT_TABLE && options->format != FORMAT_WIDE;
}

/* What changed from one step that was seen to the next. */
static void note_change(const struct history *history, struct step_row *step,
                        const struct step_row *former)
{
    if (!former) {
        return;
    }
    const bool grew = step->num_bytes > former->num_bytes;
    const uint64_t change =
        grew ? step->num_bytes - former->num_bytes : former->num_bytes - step->num_bytes;
    *(grew ? &step->grew_bytes : &step->shrank_bytes) = change;
    (void)snprintf(step->change, sizeof(step->change), "%s%s",
                   change == 0 ? ""
                   : grew      ? "+"
                               : "-",
                   format_bytes(change, history->options->exact_bytes).text);
}

static void note_changes(struct history *history)
{
    for (size_t i = 0; i < history->n_series; i++) {
        const struct step_row *former = NULL;
        for (size_t at = 0; at < history->n_steps; at++) {
            struct step_row *step = &history->series[i].steps[at];
            step->reason = history->series[i].reason ? history->series[i].reason : "";
            if (step->n_looks > 0) {
                note_change(history, step, former);
                former = step;
            }
        }
    }
}

/* Without --reason a table is of all together; a document has every series. */
static bool is_listed(const struct history *history, const struct series *series)
{
    const struct options *options = history->options;
    return options->filter.reason ? series->reason != NULL
                                  : is_document(options) || !series->reason;
}

static int list(const struct history *history, struct listing *listing)
{
    int r = 0;
    for (size_t at = 0; at < history->n_steps; at++) {
        for (size_t i = 0; r >= 0 && i < history->n_series; i++) {
            const struct series *series = &history->series[i];
            if (is_listed(history, series) && series->steps[at].n_looks > 0) {
                r = listing_add(listing, &series->steps[at]);
            }
        }
    }
    return r < 0 ? r : 0;
}

static bool is_asked_for(const struct history *history, const struct series *series)
{
    const char *pattern = history->options->filter.reason;
    return series->reason && (!pattern || filter_matches(pattern, series->reason));
}

static struct label age_of_step(const struct history *history, size_t step)
{
    return format_age((COURSE_STEPS - 1 - step) * history->since_ms / COURSE_STEPS);
}

/* A reason, four figures and some words. */
#define SENTENCE_BYTES (sizeof(struct escaped) + 4 * sizeof(struct label) + 80)

static void tell(const struct screen *screen, const char *sentence)
{
    (void)screen_flow(screen, 0, 2, sentence);
    (void)fputc('\n', screen->file);
}

/* "when did it begin to grow?" */
static void tell_growth(const struct history *history, const struct series *series,
                        const struct course_growth *growth, const struct screen *screen)
{
    const bool exactly = history->options->exact_bytes;
    const struct label from = format_bytes(growth->from_bytes, exactly);
    const struct label to = format_bytes(growth->to_bytes, exactly);
    const struct escaped reason = format_escaped(series->reason);
    const struct label since = age_of_step(history, growth->began);
    const char *lately = growth->has_stopped ? ", and has not grown lately" : "";
    char sentence[SENTENCE_BYTES];
    (void)snprintf(sentence, sizeof(sentence),
                   growth->is_from_first ? "%s grew all the time that is known, %s: from %s to %s%s"
                                         : "%s began to grow %s ago: from %s to %s%s",
                   reason.text, since.text, from.text, to.text, lately);
    tell(screen, sentence);
}

static void tell_none(const struct history *history, const struct screen *screen)
{
    char sentence[SENTENCE_BYTES];
    (void)snprintf(sentence, sizeof(sentence), "no reason%s has grown in the last %s",
                   history->options->filter.reason ? " of that kind" : "",
                   format_age(history->since_ms).text);
    tell(screen, sentence);
}

static void tell_gap(const struct history *history, const struct screen *screen)
{
    const struct label unseen = format_age(history->unseen_ms);
    char sentence[SENTENCE_BYTES];
    (void)snprintf(sentence, sizeof(sentence), "nothing was looked at for %s, until %s ago",
                   unseen.text, format_age(history->unseen_until_ms_ago).text);
    tell(screen, sentence);
}

static void tell_all(const struct history *history, const struct screen *screen)
{
    struct course_growth growth;
    bool grows = false;
    (void)fputc('\n', screen->file);
    for (size_t i = 0; i < history->n_series; i++) {
        const struct series *series = &history->series[i];
        if (is_asked_for(history, series) && course_grows(&series->course, &growth)) {
            tell_growth(history, series, &growth, screen);
            grows = true;
        }
    }
    if (!grows) {
        tell_none(history, screen);
    }
    if (history->unseen_ms > 0) {
        tell_gap(history, screen);
    }
}

/* The courses as lines, on a terminal that has room for them. */
static void draw(const struct history *history, const struct screen *screen)
{
    char line[COURSE_SPARK_BYTES];
    for (size_t i = 0; i < history->n_series; i++) {
        const struct series *series = &history->series[i];
        if (history->options->filter.reason ? is_asked_for(history, series) : !series->reason) {
            tell(screen, series->reason ? format_escaped(series->reason).text : "all");
            (void)fprintf(screen->file, "%s\n",
                          course_spark(&series->course, screen->unicode, line));
        }
    }
    (void)fputc('\n', screen->file);
}

int history_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen)
{
    struct history history = {
        .options = options,
        .since_ms = options->since_ms,
        .n_steps = options->steps ? options->steps : STEPS_USUAL,
    };
    struct listing listing;
    int r = options->since_ms ? 0 : choose_since(&history, query);
    r = r ? r : gather(&history, query);
    if (r == 0) {
        note_changes(&history);
    }
    const bool tells = !is_document(options) && !options->no_headers && history.n_series > 0;
    if (r == 0 && tells && screen->n_columns >= COURSE_STEPS) {
        draw(&history, screen);
    }
    r = r ? r : listing_begin(&listing, &shape, options, screen);
    if (r == 0) {
        r = list(&history, &listing);
        r = listing_end(&listing, r);
    }
    if (r == 0 && tells) {
        tell_all(&history, screen);
    }
    history_fini(&history);
    return r;
}
