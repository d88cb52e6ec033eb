/* SPDX-License-Identifier: MIT */
/*
 * sample.h - what metrics are made of: the figures of one segment, taken once
 *
 * Filled from a query in the thread that asks, and read-only after that.
 */
#ifndef SERVE_SAMPLE_H
#define SERVE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/query.h>

#include "client/ctl/figures.h"
#include "client/ctl/groups.h"

struct sample_limit {
    char *name;
    char *unit;
    char *text;
    uint64_t used;
    uint64_t limit; /* 0: there is none */
};

struct sample_refusals {
    char *asked;
    char *why;
    uint64_t n_times;
};

struct sample {
    struct figures figures;
    struct groups reasons; /* valid UTF-8; the most bytes first */
    size_t n_limits;
    struct sample_limit *limits;
    size_t n_refusals;
    struct sample_refusals *refusals;
};

/* The row of all reasons beyond the largest. A reason of that very name is counted in it. */
#define SAMPLE_OTHER "other"

/**
 * sample_init() - ask a daemon; what an older one does not know is missing
 * @n_reasons:  how many of the largest reasons are kept, beside SAMPLE_OTHER
 * Return: 0, or a negative errno as the queries have them; sample_fini() is due either way.
 */
KMEM_MUST_USE int sample_init(struct sample *sample, struct kmem_query *query, size_t n_reasons);

void sample_fini(struct sample *sample);

#endif
