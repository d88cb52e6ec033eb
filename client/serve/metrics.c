/* SPDX-License-Identifier: MIT */
/*
 * metrics.c - what is known of all segments, as Prometheus reads it
 *
 * A family's samples stand together, so the text is written family by family, and in each segment
 * by segment. The daemon's figures keep their names: used_bytes is kmemd_used_bytes, the counter
 * refusals is kmemd_refusals_total; only what it counts in milliseconds is in seconds, as
 * Prometheus has it. Daemons of several versions may have figures that the others lack.
 */
#include "client/serve/metrics.h"

#include <stdio.h>
#include <string.h>

/* 128: the longest name of a figure has 24 bytes; what is longer is left out. */
#define NAME_MAX_BYTES 128

/* -------------------------------------------------------------------------- of any segment ---- */

static void write_up(const struct exposition *exposition, const struct metrics_segment *segments,
                     size_t n_segments)
{
    static const struct family up = {"kmemd_up", EXPOSITION_GAUGE, NULL,
                                     "whether the segment's daemon answers: 1 or 0"};
    exposition_begin(exposition, &up);
    for (size_t i = 0; i < n_segments; i++) {
        const struct exposition_label label = {"segment", segments[i].label};
        exposition_add(exposition, &up, &label, 1, segments[i].sample != NULL);
    }
}

static void write_duration(const struct exposition *exposition,
                           const struct metrics_segment *segments, size_t n_segments)
{
    static const struct family took = {"kmemd_scrape_duration_seconds", EXPOSITION_GAUGE, "seconds",
                                       "how long the daemon took for the last answer, or for none"};
    exposition_begin(exposition, &took);
    for (size_t i = 0; i < n_segments; i++) {
        const struct exposition_label label = {"segment", segments[i].label};
        exposition_add_thousandths(exposition, &took, &label, 1, segments[i].took_ms);
    }
}

static void write_age(const struct exposition *exposition, const struct metrics_segment *segments,
                      size_t n_segments)
{
    static const struct family age = {"kmemd_sample_age_seconds", EXPOSITION_GAUGE, "seconds",
                                      "how old the figures of the segment are"};
    exposition_begin(exposition, &age);
    for (size_t i = 0; i < n_segments; i++) {
        const struct exposition_label label = {"segment", segments[i].label};
        if (segments[i].sample) {
            exposition_add_thousandths(exposition, &age, &label, 1, segments[i].age_ms);
        }
    }
}

static void write_info(const struct exposition *exposition, const struct metrics_segment *segments,
                       size_t n_segments)
{
    static const struct family info = {"kmemd", EXPOSITION_INFO, NULL, "the daemon that answers"};
    exposition_begin(exposition, &info);
    for (size_t i = 0; i < n_segments; i++) {
        const struct sample *sample = segments[i].sample;
        const struct exposition_label labels[] = {
            {"segment", segments[i].label}, {"version", sample ? sample->figures.version : ""}};
        if (sample) {
            exposition_add(exposition, &info, labels, 2, 1);
        }
    }
}

/* ------------------------------------------------------------------------------ statistics ---- */

static const struct figure *figure_find(const struct metrics_segment *segment, const char *name)
{
    const size_t n_figures = segment->sample ? segment->sample->figures.n_figures : 0;
    for (size_t i = 0; i < n_figures; i++) {
        const struct figure *figure = &segment->sample->figures.figures[i];
        if (strcmp(figure->name, name) == 0) {
            return figure;
        }
    }
    return NULL;
}

static bool is_milliseconds(const struct figure *figure)
{
    return strcmp(figure->unit, "milliseconds") == 0;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n_name = strlen(name);
    const size_t n_end = strlen(end);
    return n_name > n_end && strcmp(name + n_name - n_end, end) == 0;
}

/* uptime_ms is kmemd_uptime_seconds. Return: whether it is a name. */
static bool family_name(const struct figure *figure, char name[static NAME_MAX_BYTES])
{
    size_t n_bytes = strlen(figure->name);
    if (is_milliseconds(figure) && ends_with(figure->name, "_ms")) {
        n_bytes -= strlen("_ms");
    }
    const int n = snprintf(name, NAME_MAX_BYTES, "kmemd_%.*s%s", (int)n_bytes, figure->name,
                           is_milliseconds(figure) ? "_seconds" : "");
    return n < NAME_MAX_BYTES && exposition_is_name(name);
}

static struct family family_of(const struct figure *figure, const char *name)
{
    const char *unit = is_milliseconds(figure) ? "seconds" : figure->unit;
    const bool is_counter = strcmp(figure->kind, "counter") == 0;
    return (struct family){
        .name = name,
        .kind = is_counter ? EXPOSITION_COUNTER : EXPOSITION_GAUGE,
        .unit = ends_with(name, "_bytes") || is_milliseconds(figure) ? unit : NULL,
        .text = figure->text,
    };
}

static void write_figure(const struct exposition *exposition, const struct figure *first,
                         const struct metrics_segment *segments, size_t n_segments)
{
    char name[NAME_MAX_BYTES];
    if (!family_name(first, name)) {
        return;
    }
    const struct family family = family_of(first, name);
    exposition_begin(exposition, &family);
    for (size_t i = 0; i < n_segments; i++) {
        const struct figure *figure = figure_find(&segments[i], first->name);
        const struct exposition_label label = {"segment", segments[i].label};
        if (!figure) {
            continue;
        }
        if (is_milliseconds(figure)) {
            exposition_add_thousandths(exposition, &family, &label, 1, figure->value);
        } else {
            exposition_add(exposition, &family, &label, 1, figure->value);
        }
    }
}

static bool is_known(const struct metrics_segment *segments, size_t n_segments, const char *name)
{
    for (size_t i = 0; i < n_segments; i++) {
        if (figure_find(&segments[i], name)) {
            return true;
        }
    }
    return false;
}

static void write_figures(const struct exposition *exposition,
                          const struct metrics_segment *segments, size_t n_segments)
{
    for (size_t i = 0; i < n_segments; i++) {
        const size_t n_figures = segments[i].sample ? segments[i].sample->figures.n_figures : 0;
        for (size_t k = 0; k < n_figures; k++) {
            const struct figure *figure = &segments[i].sample->figures.figures[k];
            if (!is_known(segments, i, figure->name)) {
                write_figure(exposition, figure, segments, n_segments);
            }
        }
    }
}

/* ---------------------------------------------------------------------------------- limits ---- */

static void write_limit(const struct exposition *exposition, const struct family *family,
                        const char *label, const struct sample_limit *limit, bool is_use)
{
    const struct exposition_label labels[] = {{"segment", label}, {"limit", limit->name}};
    if (is_use) {
        exposition_add(exposition, family, labels, 2, limit->used);
    } else if (limit->limit == 0) {
        exposition_add_infinite(exposition, family, labels, 2);
    } else {
        exposition_add(exposition, family, labels, 2, limit->limit);
    }
}

static void write_limits_of(const struct exposition *exposition, const struct family *family,
                            const struct metrics_segment *segments, size_t n_segments, bool is_use)
{
    exposition_begin(exposition, family);
    for (size_t i = 0; i < n_segments; i++) {
        const size_t n_limits = segments[i].sample ? segments[i].sample->n_limits : 0;
        for (size_t k = 0; k < n_limits; k++) {
            const struct sample_limit *limit = &segments[i].sample->limits[k];
            const bool is_bytes = strcmp(limit->unit, "bytes") == 0;
            if (is_bytes == (family->unit != NULL)) {
                write_limit(exposition, family, segments[i].label, limit, is_use);
            }
        }
    }
}

static void write_limits(const struct exposition *exposition,
                         const struct metrics_segment *segments, size_t n_segments)
{
    static const struct family families[] = {
        {"kmemd_limit_used_bytes", EXPOSITION_GAUGE, "bytes",
         "how much of a limit of the daemon is in use; of one for each, by the one with the most"},
        {"kmemd_limit_bytes", EXPOSITION_GAUGE, "bytes", "what the limit is; +Inf: there is none"},
        {"kmemd_limit_used", EXPOSITION_GAUGE, NULL,
         "how many of a limit of the daemon are in use; of one for each, by the one with the most"},
        {"kmemd_limit", EXPOSITION_GAUGE, NULL, "how many there may be; +Inf: there is no limit"},
    };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        write_limits_of(exposition, &families[i], segments, n_segments, i % 2 == 0);
    }
}

/* -------------------------------------------------------------------- refusals and reasons ---- */

static void write_refusals(const struct exposition *exposition,
                           const struct metrics_segment *segments, size_t n_segments)
{
    static const struct family refused = {
        "kmemd_refused", EXPOSITION_COUNTER, NULL,
        "what was refused since the daemon's server began, by what was asked for, and why"};
    exposition_begin(exposition, &refused);
    for (size_t i = 0; i < n_segments; i++) {
        const size_t n_rows = segments[i].sample ? segments[i].sample->n_refusals : 0;
        for (size_t k = 0; k < n_rows; k++) {
            const struct sample_refusals *row = &segments[i].sample->refusals[k];
            const struct exposition_label labels[] = {
                {"segment", segments[i].label}, {"asked", row->asked}, {"why", row->why}};
            exposition_add(exposition, &refused, labels, 3, row->n_times);
        }
    }
}

enum reason_figure { REASON_BYTES, REASON_BLOCKS, REASON_OLDEST };

static void write_reason(const struct exposition *exposition, const struct family *family,
                         const char *label, const struct group *reason, enum reason_figure figure)
{
    const struct exposition_label labels[] = {{"segment", label}, {"reason", reason->key}};
    switch (figure) {
    case REASON_BYTES:
        exposition_add(exposition, family, labels, 2, reason->num_bytes);
        break;
    case REASON_BLOCKS:
        exposition_add(exposition, family, labels, 2, reason->n_blocks);
        break;
    case REASON_OLDEST:
        exposition_add_thousandths(exposition, family, labels, 2, reason->oldest_ms);
        break;
    }
}

static void write_reasons(const struct exposition *exposition,
                          const struct metrics_segment *segments, size_t n_segments)
{
    static const struct family families[] = {
        [REASON_BYTES] = {"kmemd_reason_bytes", EXPOSITION_GAUGE, "bytes",
                          "live blocks of a reason, as asked for; \"other\": all smaller ones"},
        [REASON_BLOCKS] = {"kmemd_reason_blocks", EXPOSITION_GAUGE, NULL,
                           "live blocks of a reason"},
        [REASON_OLDEST] = {"kmemd_reason_oldest_seconds", EXPOSITION_GAUGE, "seconds",
                           "age of the oldest live block of a reason"},
    };
    for (size_t figure = 0; figure < sizeof(families) / sizeof(families[0]); figure++) {
        exposition_begin(exposition, &families[figure]);
        for (size_t i = 0; i < n_segments; i++) {
            const size_t n_reasons = segments[i].sample ? segments[i].sample->reasons.n_groups : 0;
            for (size_t k = 0; k < n_reasons; k++) {
                write_reason(exposition, &families[figure], segments[i].label,
                             &segments[i].sample->reasons.groups[k], (enum reason_figure)figure);
            }
        }
    }
}

void metrics_write(const struct exposition *exposition, const struct metrics_segment *segments,
                   size_t n_segments)
{
    write_up(exposition, segments, n_segments);
    write_duration(exposition, segments, n_segments);
    write_age(exposition, segments, n_segments);
    write_info(exposition, segments, n_segments);
    write_figures(exposition, segments, n_segments);
    write_limits(exposition, segments, n_segments);
    write_refusals(exposition, segments, n_segments);
    write_reasons(exposition, segments, n_segments);
    exposition_end(exposition);
}
