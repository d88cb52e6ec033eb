/* SPDX-License-Identifier: MIT */
/*
 * map_text.c - the map on a terminal: cells, what they mean, and what splits the free space
 *
 * Every cell is one character, which says what it is without a colour, too: a letter of the legend,
 * a small one where most of the cell can be had.
 */
#include "client/ctl/map.h"

#include <ctype.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/table.h"

/* Of 256 colours, those that are told apart on black and on white; black letters stand on them. */
static const unsigned char colours[MAP_KEYS] = {75,  215, 114, 204, 141, 80,
                                                222, 174, 109, 150, 183, 146};
#define OTHERS_COLOUR 250

static const char letters[] = "ABCDEFGHIJKL*";

static const char *glyph_of(const struct map *map, const struct map_cell *cell, bool unicode,
                            char *buffer)
{
    switch (cell->kind) {
    case MAP_FREE:
        return unicode ? "·" : ".";
    case MAP_IDLE:
        return unicode ? "░" : ":";
    case MAP_FIRST:
        return "-";
    case MAP_USED:
        break;
    }
    const char glyph = map->by == MAP_BY_AGE && cell->key < MAP_AGES ? (char)('1' + (int)cell->key)
                                                                     : letters[cell->key];
    buffer[0] = (char)(cell->is_sparse ? tolower(glyph) : glyph);
    buffer[1] = '\0';
    return buffer;
}

static void print_cell(const struct map *map, const struct map_cell *cell,
                       const struct screen *screen)
{
    char buffer[2];
    const char *glyph = glyph_of(map, cell, screen->unicode, buffer);
    if (!screen->colour || cell->kind != MAP_USED) {
        (void)fputs(glyph, screen->file);
        return;
    }
    const unsigned colour = cell->key < MAP_KEYS ? colours[cell->key] : OTHERS_COLOUR;
    if (cell->is_sparse) {
        (void)fprintf(screen->file, "\033[38;5;%um%s\033[0m", colour, glyph);
    } else {
        (void)fprintf(screen->file, "\033[30;48;5;%um%s\033[0m", colour, glyph);
    }
}

static void print_cells(const struct map *map, const struct screen *screen)
{
    for (size_t i = 0; i < map->n_cells; i++) {
        if (i % map->n_columns == 0) {
            (void)fprintf(screen->file, "%s%10s  ", i > 0 ? "\n" : "",
                          format_offset(map->cells[i].pages.offset).text);
        }
        print_cell(map, &map->cells[i], screen);
    }
    (void)fputs("\n\n", screen->file);
}

/* -------------------------------------------------------------------------------- legend ---- */

static void print_key(const struct map *map, size_t key, const struct options *options,
                      const struct screen *screen)
{
    struct map_cell cell = {.kind = MAP_USED, .key = key};
    struct escaped name = format_escaped(map->keys[key]);
    (void)fputs("  ", screen->file);
    print_cell(map, &cell, screen);
    (void)fprintf(screen->file, "  %10s  ",
                  format_bytes(map->key_bytes[key], options->exact_bytes).text);
    if (map->by == MAP_BY_OWNER) {
        (void)fprintf(screen->file, "%s  ", format_pid(map->key_pids[key]).text);
    }
    (void)screen_flow(screen, 24, 17, *name.text ? name.text : "of which nothing more is known");
    (void)fputc('\n', screen->file);
}

static void print_legend(const struct map *map, const struct options *options,
                         const struct screen *screen)
{
    bool has_others = false;
    for (size_t key = 0; key < map->n_keys; key++) {
        if (map->key_bytes[key] > 0) {
            print_key(map, key, options, screen);
        }
    }
    for (size_t i = 0; i < map->n_cells; i++) {
        has_others =
            has_others || (map->cells[i].kind == MAP_USED && map->cells[i].key >= MAP_KEYS);
    }
    if (has_others) {
        (void)fputs("  *  others\n", screen->file);
    }
    char text[256];
    (void)snprintf(text, sizeof(text), "%s free, %s leased and in no use%s; a cell is %s",
                   screen->unicode ? "·" : ".", screen->unicode ? "░" : ":",
                   map->by == MAP_BY_AGE ? "; by the oldest block of a cell"
                                         : "; a small letter: most of the cell can be had",
                   format_bytes(map->cell_bytes, options->exact_bytes).text); /* fits */
    (void)fputs("  ", screen->file);
    (void)screen_flow(screen, 2, 2, text);
    (void)fputs("\n\n", screen->file);
}

/* -------------------------------------------------------------------------------- splits ---- */

#define N_SPLIT_COLUMNS 8

static int print_splits(const struct extents *extents, const struct options *options,
                        const struct screen *screen)
{
    static const struct table_column columns[N_SPLIT_COLUMNS] = {
        {.title = "OFFSET", .align = TABLE_RIGHT},
        {.title = "BYTES", .align = TABLE_RIGHT},
        {.title = "BLOCKS", .align = TABLE_RIGHT},
        {.title = "EXTENT IF GONE", .align = TABLE_RIGHT},
        {.title = "AGE", .align = TABLE_RIGHT},
        {.title = "PID", .align = TABLE_RIGHT},
        {.title = "COMMAND"},
        {.title = "REASON", .may_flow = true},
    };
    static const unsigned char drops[N_SPLIT_COLUMNS] = {0, 4, 3, 0, 2, 0, 5, 0};
    struct table *table = table_new(columns, N_SPLIT_COLUMNS);
    int r = table ? 0 : -1;
    if (table && options->format == FORMAT_TABLE) {
        table_fit(table, drops);
    }
    for (size_t i = 0; r == 0 && i < extents->n_splits; i++) {
        const struct split *split = &extents->splits[i];
        const struct label offset = format_offset(split->offset);
        const struct label bytes = format_bytes(split->num_bytes, options->exact_bytes);
        const struct label n_blocks = format_count(split->n_blocks);
        const struct label joined = format_bytes(split_joined_bytes(split), options->exact_bytes);
        const struct label age = format_age(split->oldest_ms);
        const struct label pid = format_pid(split->pid);
        const struct escaped command = format_escaped(split->command);
        const struct escaped reason = format_escaped(split->reason);
        const char *const cells[] = {offset.text, bytes.text, n_blocks.text, joined.text,
                                     age.text,    pid.text,   command.text,  reason.text};
        r = table_add(table, cells);
    }
    if (r == 0) {
        table_print(table, screen);
    }
    table_free(table);
    return r;
}

/* Those with whom the largest extent grows the most. */
static void print_parties(const struct extents *extents, const struct parties *parties,
                          const char *what, const struct options *options,
                          const struct screen *screen)
{
    const struct party *best = NULL;
    for (size_t i = 0; i < parties->n; i++) {
        const struct party *party = &parties->table[i];
        if (*party->name && party->extent_bytes > extents->largest_bytes &&
            (!best || party->extent_bytes > best->extent_bytes)) {
            best = party;
        }
    }
    if (best) {
        char text[ESCAPED_MAX_BYTES + 160];
        const struct escaped name = format_escaped(best->name);
        const struct label extent = format_bytes(best->extent_bytes, options->exact_bytes);
        if (best->pid != 0) {
            (void)snprintf(text, sizeof(text), "%s %u (%s) went, the largest extent would be %s.",
                           what, best->pid, name.text, extent.text); /* fits */
        } else {
            (void)snprintf(text, sizeof(text), "%s \"%s\" went, the largest extent would be %s.",
                           what, name.text, extent.text); /* fits */
        }
        (void)screen_flow(screen, 0, 2, text);
        (void)fputc('\n', screen->file);
    }
}

static void print_extents(const struct extents *extents, const struct options *options,
                          const struct screen *screen)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "%s can be had, in %s %s; the largest has %s.",
                   format_bytes(extents->free_bytes, options->exact_bytes).text,
                   format_count(extents->n_extents).text,
                   extents->n_extents == 1 ? "extent" : "extents",
                   format_bytes(extents->largest_bytes, options->exact_bytes).text); /* fits */
    (void)screen_flow(screen, 0, 2, text);
    (void)fputc('\n', screen->file);
}

/* One of them may make the largest extent larger. */
static void print_best(const struct extents *extents, const struct options *options,
                       const struct screen *screen)
{
    const struct split *best = &extents->best;
    char text[2 * ESCAPED_MAX_BYTES + 256];
    if (split_joined_bytes(best) <= extents->largest_bytes) {
        return;
    }
    (void)snprintf(
        text, sizeof(text),
        "If what is at %s went (%s, \"%s\", of process %s), the largest extent would grow "
        "from %s to %s.",
        format_offset(best->offset).text, format_bytes(best->num_bytes, options->exact_bytes).text,
        format_escaped(best->reason).text, format_process(best->pid, best->command).text,
        format_bytes(extents->largest_bytes, options->exact_bytes).text,
        format_bytes(split_joined_bytes(best), options->exact_bytes).text); /* fits */
    (void)screen_flow(screen, 0, 2, text);
    (void)fputc('\n', screen->file);
}

int map_text(const struct map *map, const struct options *options, const struct screen *screen)
{
    const struct extents *extents = &map->extents;
    int r = 0;
    print_cells(map, screen);
    print_legend(map, options, screen);
    print_extents(extents, options, screen);
    print_best(extents, options, screen);
    print_parties(extents, &extents->processes, "If all of process", options, screen);
    print_parties(extents, &extents->reasons, "If all of reason", options, screen);
    if (extents->n_splits > 0) {
        (void)fprintf(screen->file, "\n%sBlocks that split the free space%s, of %s:\n",
                      screen_on(screen, STYLE_BOLD), screen_off(screen, STYLE_BOLD),
                      format_count(extents->n_all_splits).text);
        r = print_splits(extents, options, screen);
    }
    return r;
}
