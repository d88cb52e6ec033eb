/* SPDX-License-Identifier: MIT */
/*
 * findings.h - what a check has found, the worst of it first
 *
 * Sentences for a person, with what to do where something can be done, each with a level that a
 * script can compare.
 */
#ifndef CTL_FINDINGS_H
#define CTL_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/ctl/json.h"
#include "client/ctl/screen.h"

enum level {
    LEVEL_OK,
    LEVEL_WARN, /* look at it: it works, and may not for long, or not as well as it could */
    LEVEL_FAIL, /* something does not work */
};

/* A name, a figure or two, and a reason of 127 bytes written as \xNN. */
#define FINDING_BYTES 768

struct finding {
    enum level level;
    char about[32];
    char text[FINDING_BYTES];
    char fix[FINDING_BYTES]; /* what to do; "": nothing, or it is said already */
};

/* 64: more than there are checks; what is found beyond is counted. */
#define FINDINGS_MAX 64

struct findings {
    size_t n_findings;
    struct finding findings[FINDINGS_MAX];
};

/** findings_add() - note one, printf style, of escaped strings. Return: it, for its fix. */
__attribute__((format(printf, 4, 5))) struct finding *findings_add(struct findings *findings,
                                                                   enum level level,
                                                                   const char *about,
                                                                   const char *format, ...);

/** finding_fix() - say what to do about it, printf style */
__attribute__((format(printf, 2, 3))) void finding_fix(struct finding *finding, const char *format,
                                                       ...);

/** findings_count() - how many are of that level */
size_t findings_count(const struct findings *findings, enum level level);

/** findings_worst() - the level of the worst; LEVEL_OK if there are none */
enum level findings_worst(const struct findings *findings);

/** findings_print() - print those of a level and above, the worst first */
void findings_print(const struct findings *findings, enum level least, const struct screen *screen);

/** findings_json() - add those of a level and above, as a list of objects */
void findings_json(const struct findings *findings, enum level least, const char *key,
                   struct json_row *row);

#endif
