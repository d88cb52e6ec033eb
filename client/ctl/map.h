/* SPDX-License-Identifier: MIT */
/*
 * map.h - the segment as a picture: what is drawn, wherever it is drawn
 */
#ifndef CTL_MAP_H
#define CTL_MAP_H

#include <stdint.h>
#include <stdio.h>

#include "client/ctl/extents.h"
#include "client/ctl/options.h"
#include "client/ctl/screen.h"

/* 12: so many colours can be told apart; what comes behind is drawn as "others". */
#define MAP_KEYS 12
#define MAP_OTHERS MAP_KEYS
/* By age there are seven, from "1 s" on. */
#define MAP_AGES 7

enum map_kind {
    MAP_FREE, /* more than half of it */
    MAP_IDLE, /* likewise, with what is free */
    MAP_FIRST,
    MAP_USED,
};

struct map_cell {
    struct kmem_pages pages; /* its strings are not kept */
    enum map_kind kind;
    bool is_sparse; /* there is something in it, and most of it can be had */
    size_t key;     /* of the legend; MAP_OTHERS */
    char command[EXTENTS_TEXT_BYTES];
    char reason[EXTENTS_TEXT_BYTES];
};

struct map {
    enum map_by by;
    uint64_t segment_bytes;
    uint64_t cell_bytes;
    size_t n_columns;
    struct map_cell *cells;
    size_t n_cells;
    size_t capacity;
    struct extents extents;
    /* What the keys stand for: parties of the extents; by age, the names of ages. */
    size_t n_keys;
    char keys[MAP_KEYS][EXTENTS_TEXT_BYTES];
    uint64_t key_bytes[MAP_KEYS];
    uint32_t key_pids[MAP_KEYS];
};

/** map_ask() - all that is drawn. Return: 0 or a negative errno; then there is nothing to free. */
KMEM_MUST_USE int map_ask(struct map *map, struct kmem_query *query, enum map_by by,
                          size_t n_columns, size_t n_rows);

void map_fini(struct map *map);

/** map_percent_used() - of a cell's bytes */
unsigned map_percent_used(const struct map_cell *cell);

/** map_svg() - draw it as SVG, one file that needs no other */
void map_svg(const struct map *map, FILE *file);

/** map_text() - draw it on the screen, with the list of what splits the free space */
int map_text(const struct map *map, const struct options *options, const struct screen *screen);

/** map_json() - tell it to programs. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int map_json(const struct map *map, FILE *file);

#endif
