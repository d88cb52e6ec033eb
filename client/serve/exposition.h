/* SPDX-License-Identifier: MIT */
/*
 * exposition.h - the text that Prometheus reads, line by line
 *
 * Two formats, which differ in what a counter's family is called and in how the text ends:
 * OpenMetrics 1.0, and the older text format 0.0.4. Whatever a value of a label holds, it stays
 * within its quotes: backslash, quote and line feed are escaped, and a byte that is no UTF-8
 * becomes U+FFFD.
 */
#ifndef SERVE_EXPOSITION_H
#define SERVE_EXPOSITION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum exposition_format {
    EXPOSITION_OPENMETRICS,
    EXPOSITION_PROMETHEUS,
};

enum exposition_kind {
    EXPOSITION_GAUGE,
    EXPOSITION_COUNTER,
    EXPOSITION_INFO, /* its samples have the value 1 */
};

struct exposition {
    FILE *file; /* borrowed */
    enum exposition_format format;
};

/* What the samples that follow belong to. */
struct family {
    const char *name; /* without what the kind adds to it */
    enum exposition_kind kind;
    const char *unit; /* how its name ends; NULL: it counts things */
    const char *text; /* one line; a foreign one is escaped */
};

struct exposition_label {
    const char *name;
    const char *value; /* foreign */
};

/** exposition_is_name() - whether a foreign name can be a part of a metric's: [a-z_][a-z0-9_]* */
bool exposition_is_name(const char *name);

/** exposition_begin() - say what the samples that follow are */
void exposition_begin(const struct exposition *exposition, const struct family *family);

/** exposition_add() - a sample whose value is a whole number */
void exposition_add(const struct exposition *exposition, const struct family *family,
                    const struct exposition_label *labels, size_t n_labels, uint64_t value);

/** exposition_add_thousandths() - the same of seconds, counted in milliseconds */
void exposition_add_thousandths(const struct exposition *exposition, const struct family *family,
                                const struct exposition_label *labels, size_t n_labels,
                                uint64_t value);

/** exposition_add_infinite() - the same of a limit that is none */
void exposition_add_infinite(const struct exposition *exposition, const struct family *family,
                             const struct exposition_label *labels, size_t n_labels);

/** exposition_end() - end the text */
void exposition_end(const struct exposition *exposition);

#endif
