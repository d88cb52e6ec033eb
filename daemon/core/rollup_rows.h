/* SPDX-License-Identifier: MIT */
/*
 * rollup_rows.h - the groups of a roll-up, found by what they are called
 *
 * Rows lie one behind the other in chunks, so that 100,000 of them are freed by some hundred calls,
 * and stay where they are.
 */
#ifndef DAEMON_CORE_ROLLUP_ROWS_H
#define DAEMON_CORE_ROLLUP_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/lifetimes.h"
#include "proto/limits.h"

/* Of a group of reasons, if a roll-up keeps ages: by range, as lifetimes.h has them. */
struct rollup_ages {
    uint64_t n_blocks[LIFETIME_RANGES]; /* live ones, by age */
    uint64_t num_bytes[LIFETIME_RANGES];
    uint64_t n_released[LIFETIME_RANGES]; /* by how long they had lived */
};

/* One group, as others see it. */
struct rollup_group {
    const char *key; /* terminated; what is shown */
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint32_t oldest; /* tick */
    uint32_t pid;
    uint32_t uid;
    struct rollup_ages *ages; /* NULL: they are not kept */
};

struct rollup_row {
    struct rollup_group group;
    uint32_t hash;
    char text[]; /* what it is called, terminated */
};

/* What a row is called, before there is a row. */
struct rollup_name {
    uint32_t pid;
    uint32_t uid;
    size_t n_bytes;
    char text[REASON_MAX_BYTES + 1];
};

struct rollup_chunk;

struct rollup_rows {
    uint64_t seed;               /* of the hash: clients choose the texts */
    struct rollup_chunk *chunks; /* the latest first */
    struct rollup_row **rows;
    uint32_t n_rows;
    uint32_t rows_max;
    uint32_t *index; /* 1 + the row's number; 0: the place is free; at most half full */
    uint32_t index_max;
    uint64_t n_moved; /* rows that were put into a larger index */
    uint64_t n_bytes; /* allocated */
};

void rollup_rows_init(struct rollup_rows *rows, uint64_t seed);

void rollup_rows_fini(struct rollup_rows *rows);

/** rollup_rows_add() - a row of that name, of nothing. Return: NULL without memory. */
KMEM_MUST_USE struct rollup_row *rollup_rows_add(struct rollup_rows *rows,
                                                 const struct rollup_name *name);

/** rollup_rows_find() - the row that is called so; NULL: none */
struct rollup_row *rollup_rows_find(const struct rollup_rows *rows, const char *text,
                                    size_t n_bytes);

/** rollup_rows_freeze() - nothing is added or looked for any more */
void rollup_rows_freeze(struct rollup_rows *rows);

#endif
