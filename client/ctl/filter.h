/* SPDX-License-Identifier: MIT */
/*
 * filter.h - which rows are asked for
 */
#ifndef CTL_FILTER_H
#define CTL_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/ctl/column.h"

struct filter {
    bool has_pid;
    bool has_uid;
    bool has_age;
    bool has_bytes;
    uint32_t pid;
    uint32_t uid;
    const char *reason;         /* a pattern; NULL: any */
    uint64_t older_than_ms;     /* if it has_age */
    uint64_t larger_than_bytes; /* if it has_bytes */
    uint64_t after;             /* an offset: where the last page ended; 0: from the first on */
};

/** filter_is_set() - whether any option chooses among the rows */
bool filter_is_set(const struct filter *filter);

/** filter_passes() - whether a row is asked for; what it has no column for is not looked at */
bool filter_passes(const struct filter *filter, const struct column *columns, size_t n_columns,
                   const void *row);

/** filter_meaningless() - the option for which the rows have no column; NULL: all have one */
const char *filter_meaningless(const struct filter *filter, const struct column *columns,
                               size_t n_columns);

/**
 * filter_matches() - whether a reason is one that the pattern means
 *
 * As in a shell, but '*' reaches over '/'. A pattern without '*', '?' and '[' is how reasons begin.
 * What follows '#' in a reason is compared only if the pattern has a '#' as well.
 */
bool filter_matches(const char *pattern, const char *reason);

/* What a pattern may have for a daemon, and the NUL. */
#define FILTER_GLOB_BYTES 255

/**
 * filter_glob() - a pattern that a daemon understands
 * @pattern:   as filter_matches() has it; NULL: any reason
 * @ret_glob:  FILTER_GLOB_BYTES
 *
 * It matches what filter_matches() does, and perhaps more: a daemon knows no '['.
 * Return: ret_glob; NULL: any reason, because nothing narrower can be said.
 */
const char *filter_glob(const char *pattern, char *ret_glob);

#endif
