/* SPDX-License-Identifier: MIT */
/*
 * map_svg.c - the map as SVG: one file without any outside resource, for light and dark
 *
 * Each cell has a title, which a browser shows under the pointer and a screen reader can read.
 * Cells of a row that look the same and lie side by side are one rectangle for each, so that the
 * title says what is there.
 */
#include "client/ctl/map.h"

#include <string.h>

#include "client/ctl/format.h"

#define CELL 8  /* pixels */
#define LINE 20 /* of the legend */
#define MARGIN 16
#define HEAD 56

static const char style[] =
    "  svg { background: #fff; color: #1c1c1c; font: 13px system-ui, sans-serif }\n"
    "  text { fill: currentColor } .small { font-size: 11px }\n"
    "  rect { stroke: none } .free { fill: #e8e8e8 } .idle { fill: #c3d2c3 }\n"
    "  .first { fill: #777 } .others { fill: #9a9a9a } .sparse { opacity: 0.5 }\n"
    "  .k0 { fill: #3b82d0 } .k1 { fill: #e08a2e } .k2 { fill: #4c9f50 } .k3 { fill: #d0405e }\n"
    "  .k4 { fill: #8b5fc7 } .k5 { fill: #1f9e9e } .k6 { fill: #c9a227 } .k7 { fill: #a8616b }\n"
    "  .k8 { fill: #5f7f99 } .k9 { fill: #7f9a3a } .k10 { fill: #b873c9 } .k11 { fill: #6b6bc0 }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    svg { background: #16181c; color: #e4e4e4 }\n"
    "    .free { fill: #2a2d33 } .idle { fill: #3c4a3e } .first { fill: #999 }\n"
    "    .others { fill: #777 }\n"
    "  }\n";

/* A foreign text, as XML may have it. */
static void print_text(FILE *file, const char *foreign)
{
    const struct escaped escaped = format_escaped(foreign);
    for (const char *at = escaped.text; *at; at++) {
        switch (*at) {
        case '<':
            (void)fputs("&lt;", file);
            break;
        case '>':
            (void)fputs("&gt;", file);
            break;
        case '&':
            (void)fputs("&amp;", file);
            break;
        case '"':
            (void)fputs("&quot;", file);
            break;
        default:
            (void)fputc(*at, file);
            break;
        }
    }
}

static void print_class(FILE *file, const struct map_cell *cell)
{
    switch (cell->kind) {
    case MAP_FREE:
        (void)fputs("free", file);
        return;
    case MAP_IDLE:
        (void)fputs("idle", file);
        return;
    case MAP_FIRST:
        (void)fputs("first", file);
        return;
    case MAP_USED:
        break;
    }
    if (cell->key < MAP_KEYS) {
        (void)fprintf(file, "k%zu", cell->key);
    } else {
        (void)fputs("others", file);
    }
    (void)fputs(cell->is_sparse ? " sparse" : "", file);
}

static void print_title(FILE *file, const struct map_cell *cell)
{
    const struct kmem_pages *pages = &cell->pages;
    (void)fprintf(file, "%s, %s: %u %% in use", format_offset(pages->offset).text,
                  format_bytes(pages->num_bytes, false).text, map_percent_used(cell));
    if (pages->free_bytes > 0) {
        (void)fprintf(file, ", %s free", format_bytes(pages->free_bytes, false).text);
    }
    if (pages->idle_bytes > 0) {
        (void)fprintf(file, ", %s leased and in no use",
                      format_bytes(pages->idle_bytes, false).text);
    }
    if (*cell->command) {
        (void)fprintf(file, "; %s ", format_pid(pages->pid).text);
        print_text(file, cell->command);
    }
    if (*cell->reason) {
        (void)fprintf(file, "; %s blocks, most are ", format_count(pages->n_blocks).text);
        print_text(file, cell->reason);
        (void)fprintf(file, ", the oldest %s old", format_age(pages->oldest_ms).text);
    }
}

static void print_cells(const struct map *map, FILE *file)
{
    for (size_t i = 0; i < map->n_cells; i++) {
        const struct map_cell *cell = &map->cells[i];
        (void)fprintf(file, "  <rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" class=\"",
                      MARGIN + i % map->n_columns * CELL, HEAD + i / map->n_columns * CELL,
                      CELL - 1, CELL - 1);
        print_class(file, cell);
        (void)fputs("\"><title>", file);
        print_title(file, cell);
        (void)fputs("</title></rect>\n", file);
    }
}

static void print_key(FILE *file, size_t y, const char *class, uint64_t num_bytes, uint32_t pid,
                      const char *name)
{
    (void)fprintf(file,
                  "  <rect x=\"%d\" y=\"%zu\" width=\"12\" height=\"12\" class=\"%s\"/>"
                  "<text x=\"%d\" y=\"%zu\">",
                  MARGIN, y - 11, class, MARGIN + 20, y);
    print_text(file, name);
    if (pid > 0) {
        (void)fprintf(file, " (%u)", pid);
    }
    if (num_bytes > 0) {
        (void)fprintf(file, ", %s", format_bytes(num_bytes, false).text);
    }
    (void)fputs("</text>\n", file);
}

static size_t n_legend(const struct map *map)
{
    return map->n_keys + 3;
}

static void print_legend(const struct map *map, FILE *file, size_t y)
{
    for (size_t key = 0; key < map->n_keys; key++) {
        char class[24];
        (void)snprintf(class, sizeof(class), "k%zu", key);
        print_key(file, y, class, map->key_bytes[key], map->key_pids[key], map->keys[key]);
        y += LINE;
    }
    print_key(file, y, "others", 0, 0, "others");
    print_key(file, y + LINE, "free", map->extents.free_bytes, 0, "free, or can be had");
    print_key(file, y + (size_t)2 * LINE, "idle", 0, 0, "leased and in no use");
}

static const char *what_of(const struct map *map)
{
    return map->by == MAP_BY_OWNER ? "owner" : map->by == MAP_BY_REASON ? "reason" : "age";
}

void map_svg(const struct map *map, FILE *file)
{
    const size_t n_rows = (map->n_cells + map->n_columns - 1) / map->n_columns;
    const size_t bottom = HEAD + n_rows * CELL;
    const struct label segment = format_bytes(map->segment_bytes, false);
    const struct label free_bytes = format_bytes(map->extents.free_bytes, false);
    const struct label largest = format_bytes(map->extents.largest_bytes, false);
    const struct label cell = format_bytes(map->cell_bytes, false);
    (void)fprintf(file,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %zu %zu\" role=\"img\" "
                  "aria-labelledby=\"title desc\">\n"
                  "  <title id=\"title\">A kmemd segment of %s, by %s</title>\n"
                  "  <desc id=\"desc\">%s can be had, in %llu extents; the largest has %s. Each "
                  "cell is %s.</desc>\n"
                  "  <style>\n%s  </style>\n",
                  map->n_columns * CELL + (size_t)2 * MARGIN,
                  bottom + (n_legend(map) + 1) * LINE + MARGIN, segment.text, what_of(map),
                  free_bytes.text, (unsigned long long)map->extents.n_extents, largest.text,
                  cell.text, style);
    (void)fprintf(file,
                  "  <text x=\"%d\" y=\"24\">%s, by %s; a cell is %s</text>\n"
                  "  <text x=\"%d\" y=\"44\" class=\"small\">%s can be had, in %llu extents; the "
                  "largest has %s</text>\n",
                  MARGIN, segment.text, what_of(map), cell.text, MARGIN, free_bytes.text,
                  (unsigned long long)map->extents.n_extents, largest.text);
    print_cells(map, file);
    print_legend(map, file, bottom + (size_t)LINE + 8);
    (void)fputs("</svg>\n", file);
}
