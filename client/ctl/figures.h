/* SPDX-License-Identifier: MIT */
/*
 * figures.h - the statistics of a daemon, kept so that they can be asked for by name
 *
 * The daemon says what its figures are called and what they mean. Those that kmemctl knows by name
 * are laid out by hand; all others are printed as the daemon describes them.
 */
#ifndef CTL_FIGURES_H
#define CTL_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/query.h>

#include "client/ctl/json.h"

struct figure {
    char *name;
    char *kind;
    char *unit;
    char *text;
    uint64_t value;
};

struct figures {
    char *segment_name;
    char *version;
    uint32_t pid;
    uint64_t instance; /* of the segment; 0: an older daemon does not tell */
    size_t n_figures;
    struct figure *figures;
};

/**
 * figures_init() - ask for all figures, taken at one instant
 * Return: 0, or a negative errno as kmem_query_usage() has them; figures_fini() is due either way.
 */
KMEM_MUST_USE int figures_init(struct figures *figures, struct kmem_query *query);

void figures_fini(struct figures *figures);

/** figures_get() - the figure of that name; 0 if the daemon has none */
uint64_t figures_get(const struct figures *figures, const char *name);

/** figures_json() - add all figures to a row, as the object "statistics" */
void figures_json(const struct figures *figures, struct json_row *row);

/** figures_has() - whether the daemon has a figure of that name */
bool figures_has(const struct figures *figures, const char *name);

#endif
