/* SPDX-License-Identifier: MIT */
/*
 * map_json.c - the map for programs: cells, extents, and what splits the free space
 */
#include "client/ctl/map.h"

#include "client/ctl/json.h"

/* As enum kmem_page_state has them. */
static const char *state_word(enum kmem_page_state state)
{
    static const char *const words[] = {"free",   "clearing", "first",    "direct",
                                        "leased", "idle",     "returning"};
    return (size_t)state < sizeof(words) / sizeof(words[0]) ? words[state] : "?";
}

static void add_cell(struct json_row *json, const struct map_cell *cell)
{
    const struct kmem_pages *pages = &cell->pages;
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "offset", pages->offset);
    json_row_number(&row, "num_bytes", pages->num_bytes);
    json_row_text(&row, "state", state_word(pages->state));
    json_row_number(&row, "free_bytes", pages->free_bytes);
    json_row_number(&row, "dirty_bytes", pages->dirty_bytes);
    json_row_number(&row, "idle_bytes", pages->idle_bytes);
    json_row_number(&row, "live_bytes", pages->live_bytes);
    json_row_number(&row, "n_blocks", pages->n_blocks);
    json_row_number(&row, "longest_bytes", pages->longest_bytes);
    json_row_number(&row, "oldest_ms", pages->oldest_ms);
    json_row_number(&row, "newest_ms", pages->newest_ms);
    json_row_number(&row, "pid", pages->pid);
    json_row_number(&row, "uid", pages->uid);
    json_row_text(&row, "command", cell->command);
    json_row_text(&row, "reason", cell->reason);
    json_row_append(json, "cells", &row);
}

static void add_split(struct json_row *json, const struct split *split)
{
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "offset", split->offset);
    json_row_number(&row, "num_bytes", split->num_bytes);
    json_row_number(&row, "free_before_bytes", split->before_bytes);
    json_row_number(&row, "free_after_bytes", split->after_bytes);
    json_row_number(&row, "extent_if_gone_bytes", split_joined_bytes(split));
    json_row_number(&row, "n_blocks", split->n_blocks);
    json_row_number(&row, "live_bytes", split->live_bytes);
    json_row_number(&row, "oldest_ms", split->oldest_ms);
    json_row_number(&row, "pid", split->pid);
    json_row_number(&row, "uid", split->uid);
    json_row_text(&row, "command", split->command);
    json_row_text(&row, "reason", split->reason);
    json_row_append(json, "splits", &row);
}

static void add_parties(struct json_row *json, const char *key, const char *name,
                        const struct parties *parties)
{
    json_row_list(json, key);
    for (size_t i = 0; i < parties->n; i++) {
        struct json_row row;
        json_row_init(&row);
        json_row_number(&row, "pid", parties->table[i].pid);
        json_row_text(&row, name, parties->table[i].name);
        json_row_number(&row, "page_bytes", parties->table[i].num_bytes);
        json_row_number(&row, "extent_if_gone_bytes", parties->table[i].extent_bytes);
        json_row_append(json, key, &row);
    }
}

int map_json(const struct map *map, FILE *file)
{
    struct json_row json;
    struct json_row document;
    json_row_init(&json);
    json_row_number(&json, "segment_bytes", map->segment_bytes);
    json_row_number(&json, "cell_bytes", map->cell_bytes);
    json_row_number(&json, "can_be_had_bytes", map->extents.free_bytes);
    json_row_number(&json, "n_extents", map->extents.n_extents);
    json_row_number(&json, "largest_extent_bytes", map->extents.largest_bytes);
    json_row_number(&json, "n_splits", map->extents.n_all_splits);
    json_row_list(&json, "splits");
    for (size_t i = 0; i < map->extents.n_splits; i++) {
        add_split(&json, &map->extents.splits[i]);
    }
    add_parties(&json, "processes", "command", &map->extents.processes);
    add_parties(&json, "reasons", "reason", &map->extents.reasons);
    json_row_list(&json, "cells");
    for (size_t i = 0; i < map->n_cells; i++) {
        add_cell(&json, &map->cells[i]);
    }
    json_row_init(&document);
    json_row_row(&document, "map", &json);
    return json_row_print(&document, file);
}
