/* SPDX-License-Identifier: MIT */
/*
 * map.c - the segment as a picture, and what splits its free space
 *
 * The daemon is asked twice: for the cells of the picture, which it adds up, and for the stretches
 * of pages in order, which are looked at as they come. Clients go on meanwhile.
 */
#include "client/ctl/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/command.h"
#include "client/ctl/format.h"
#include "client/ctl/status.h"

#define PAGE_BYTES (UINT64_C(16) << 10)
#define TEXT_ROWS 16
#define TEXT_COLUMNS_MOST 128
#define TEXT_COLUMNS_LEAST 16
#define TEXT_MARGIN 12 /* "0x12345678  " */
#define SVG_COLUMNS 128
#define SVG_ROWS 48

const struct argp_option map_options[] = {
    {"by", OPTION_MAP_BY, "WHAT", 0, "Tell apart by owner (the default), reason or age", 0},
    {"svg", OPTION_SVG, "FILE", 0, "Draw it as SVG, into FILE; - is the standard output", 0},
    {0},
};

/* -------------------------------------------------------------------------------- asking ---- */

static int note_segment(const struct kmem_byte *byte, void *user)
{
    *(uint64_t *)user = byte->segment_bytes;
    return 0;
}

static void copy_text(char *to, const char *from)
{
    const size_t n_bytes = strnlen(from, EXTENTS_TEXT_BYTES - 1);
    memcpy(to, from, n_bytes);
    to[n_bytes] = '\0';
}

unsigned map_percent_used(const struct map_cell *cell)
{
    const struct kmem_pages *pages = &cell->pages;
    const uint64_t can_be_had = pages->free_bytes + pages->idle_bytes;
    return pages->num_bytes > can_be_had
               ? (unsigned)((pages->num_bytes - can_be_had) * 100 / pages->num_bytes)
               : 0;
}

static void cell_classify(struct map_cell *cell)
{
    const struct kmem_pages *pages = &cell->pages;
    const bool is_used = pages->free_bytes + pages->idle_bytes < pages->num_bytes;
    cell->kind = MAP_USED;
    if (!is_used) {
        cell->kind = pages->idle_bytes > pages->free_bytes ? MAP_IDLE : MAP_FREE;
    } else if (pages->state == KMEM_PAGES_FIRST) {
        cell->kind = MAP_FIRST;
    } else if (pages->n_blocks == 0 && *cell->command == '\0') {
        cell->kind = MAP_FREE; /* all that is in use of it is the segment's first page */
    }
    cell->is_sparse = cell->kind == MAP_USED && map_percent_used(cell) < 50;
    cell->key = MAP_OTHERS;
}

static int add_cell(const struct kmem_pages *pages, void *user)
{
    struct map *map = user;
    if (map->n_cells == map->capacity) {
        return -EPROTO; /* more than were asked for */
    }
    struct map_cell *cell = &map->cells[map->n_cells++];
    cell->pages = *pages;
    cell->pages.command = NULL;
    cell->pages.reason = NULL;
    copy_text(cell->command, pages->command);
    copy_text(cell->reason, pages->reason);
    cell->reason[strcspn(cell->reason, "#")] = '\0';
    cell_classify(cell);
    return 0;
}

static int add_stretch(const struct kmem_pages *pages, void *user)
{
    struct map *map = user;
    return extents_add(&map->extents, pages);
}

/* ---------------------------------------------------------------------------- the legend ---- */

static const struct {
    uint64_t from_ms;
    const char *name;
} ages[MAP_AGES] = {
    {0, "less than 1 s"},
    {1000, "1 s to 10 s"},
    {10000, "10 s to 1 m"},
    {60000, "1 m to 10 m"},
    {600000, "10 m to 1 h"},
    {3600000, "1 h to 1 d"},
    {UINT64_C(86400000), "1 d or more"},
};

static size_t age_key(uint64_t age_ms)
{
    size_t key = 0;
    while (key + 1 < MAP_AGES && age_ms >= ages[key + 1].from_ms) {
        key++;
    }
    return key;
}

static void legend_of_ages(struct map *map)
{
    map->n_keys = MAP_AGES;
    for (size_t i = 0; i < MAP_AGES; i++) {
        copy_text(map->keys[i], ages[i].name);
    }
    for (size_t i = 0; i < map->n_cells; i++) {
        struct map_cell *cell = &map->cells[i];
        if (cell->kind == MAP_USED && cell->pages.n_blocks + cell->pages.live_bytes > 0) {
            cell->key = age_key(cell->pages.oldest_ms);
            map->key_bytes[cell->key] += cell->pages.live_bytes;
        }
    }
}

static void legend_of_parties(struct map *map)
{
    const bool by_owner = map->by == MAP_BY_OWNER;
    const struct parties *parties = by_owner ? &map->extents.processes : &map->extents.reasons;
    map->n_keys = parties->n < MAP_KEYS ? parties->n : MAP_KEYS;
    for (size_t i = 0; i < map->n_keys; i++) {
        copy_text(map->keys[i], parties->table[i].name);
        map->key_bytes[i] = parties->table[i].num_bytes;
        map->key_pids[i] = parties->table[i].pid;
    }
    for (size_t i = 0; i < map->n_cells; i++) {
        struct map_cell *cell = &map->cells[i];
        for (size_t key = 0; cell->kind == MAP_USED && key < map->n_keys; key++) {
            const char *name = by_owner ? cell->command : cell->reason;
            if (strcmp(map->keys[key], name) == 0 &&
                (!by_owner || map->key_pids[key] == cell->pages.pid)) {
                cell->key = key;
                break;
            }
        }
    }
}

/* --------------------------------------------------------------------------------- the map -- */

void map_fini(struct map *map)
{
    extents_fini(&map->extents);
    free(map->cells);
    map->cells = NULL;
}

/* As many cells as the picture has, but none smaller than a page. */
static int cells_prepare(struct map *map, size_t n_columns, size_t n_rows)
{
    const uint64_t n_wanted = (uint64_t)n_columns * n_rows;
    const uint64_t n_pages = map->segment_bytes / PAGE_BYTES;
    const uint64_t cell_pages = n_pages > n_wanted ? (n_pages + n_wanted - 1) / n_wanted : 1;
    map->cell_bytes = cell_pages * PAGE_BYTES;
    map->n_columns = n_columns;
    map->capacity = (size_t)((n_pages + cell_pages - 1) / cell_pages);
    map->cells = calloc(map->capacity + 1, sizeof(*map->cells));
    return map->cells ? 0 : -ENOMEM;
}

int map_ask(struct map *map, struct kmem_query *query, enum map_by by, size_t n_columns,
            size_t n_rows)
{
    memset(map, 0, sizeof(*map));
    map->by = by;
    int r = kmem_query_at(query, 0, note_segment, &map->segment_bytes);
    r = r ? r : cells_prepare(map, n_columns, n_rows);
    r = r ? r : extents_init(&map->extents);
    r = r ? r : kmem_query_pages(query, map->cell_bytes, add_cell, map);
    r = r ? r : kmem_query_pages(query, 0, add_stretch, map);
    if (r < 0) {
        map_fini(map);
        return r;
    }
    extents_end(&map->extents);
    if (by == MAP_BY_AGE) {
        legend_of_ages(map);
    } else {
        legend_of_parties(map);
    }
    return 0;
}

static size_t text_columns(const struct screen *screen)
{
    const size_t room = screen->n_columns > 0 ? screen->n_columns : 80;
    const size_t n_columns = room > TEXT_MARGIN ? room - TEXT_MARGIN : 0;
    return n_columns < TEXT_COLUMNS_LEAST  ? TEXT_COLUMNS_LEAST
           : n_columns > TEXT_COLUMNS_MOST ? TEXT_COLUMNS_MOST
                                           : n_columns / 16 * 16;
}

static int write_svg(const struct map *map, const struct screen *screen, const char *path)
{
    const bool is_here = strcmp(path, "-") == 0;
    FILE *file = is_here ? screen->file : fopen(path, "we");
    if (file) {
        map_svg(map, file);
    }
    const bool failed = !file || fflush(file) != 0 || ferror(file);
    const int error = errno;
    if (file && !is_here) {
        (void)fclose(file); /* it was flushed */
    }
    if (failed) {
        (void)fprintf(stderr, "kmemctl map: --svg: cannot write to %s: %s\n",
                      format_escaped(path).text, strerror(error));
    }
    return failed ? STATUS_ERROR : STATUS_OK;
}

int map_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    const bool is_json = options->format == FORMAT_JSON;
    struct map map;
    if (options->format == FORMAT_CSV || options->format == FORMAT_JSONL) {
        (void)fputs("kmemctl map: its answer is no list of rows: --output takes table, wide or "
                    "json here\n",
                    stderr);
        return STATUS_USAGE;
    }
    const bool is_svg = options->svg_path != NULL;
    int r = map_ask(&map, query, options->map_by,
                    is_svg || is_json ? SVG_COLUMNS : text_columns(screen),
                    is_svg || is_json ? SVG_ROWS : TEXT_ROWS);
    if (r < 0) {
        return r;
    }
    r = is_svg    ? write_svg(&map, screen, options->svg_path)
        : is_json ? map_json(&map, screen->file)
                  : map_text(&map, options, screen);
    map_fini(&map);
    return r;
}
