/* SPDX-License-Identifier: MIT */
/*
 * The summary: one headline, one bar, a table of what the bar's parts are made of, a dozen figures
 * that are laid out by hand because everybody looks for them. All figures, those that this kmemctl
 * has never heard of included, are printed from the daemon's own description of them (--all,
 * --json).
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <string.h>

#include "client/ctl/bar.h"
#include "client/ctl/figures.h"
#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/listing.h"
#include "client/ctl/status.h"
#include "client/ctl/table.h"
#include "client/ctl/width.h"

const struct argp_option usage_options[] = {
    {"all", OPTION_ALL, NULL, 0, "Print every figure that the daemon keeps, explained", 0},
    {"fail-above", OPTION_FAIL_ABOVE, "PERCENT", 0,
     "End with status 5 if more than PERCENT of the segment is not free", 0},
    {0},
};

/* 64: a cell is 1.6 %; narrower hides overhead, wider leaves a half-width terminal. */
#define BAR_CELLS 64
#define BAR_MIN_CELLS 8
/* Blanks on either side. */
#define BAR_MARGIN_COLUMNS 4
/* From here on the operator should look, and from here on allocations are about to fail. */
#define FULL_WARN_PERCENT 75
#define FULL_BAD_PERCENT 90

/* What is not free, of the whole. */
static double fullness_percent(const struct figures *figures)
{
    double segment = (double)figures_get(figures, "segment_bytes");
    return 100 - 100 * (double)figures_get(figures, "free_bytes") / segment;
}

static enum style fullness_style(const struct figures *figures)
{
    double percent = fullness_percent(figures);
    if (percent >= FULL_BAD_PERCENT) {
        return STYLE_BAD;
    }
    return percent >= FULL_WARN_PERCENT ? STYLE_WARN : STYLE_GOOD;
}

/* kmemctl resize. */
static bool can_grow(const struct figures *figures)
{
    return figures_get(figures, "most_bytes") > figures_get(figures, "segment_bytes");
}

static void print_headline(const struct figures *figures, const struct options *options,
                           const struct screen *screen)
{
    struct escaped name = format_escaped(figures->segment_name);
    struct escaped version = format_escaped(figures->version);
    struct label size = format_bytes(figures_get(figures, "segment_bytes"), options->exact_bytes);
    struct label uptime = format_age(figures_get(figures, "uptime_ms"));
    struct label most = format_bytes(figures_get(figures, "most_bytes"), options->exact_bytes);
    char facts[ESCAPED_MAX_BYTES + 128];
    (void)fprintf(screen->file, "%ssegment \"%s\"%s", screen_on(screen, STYLE_BOLD), name.text,
                  screen_off(screen, STYLE_BOLD));
    (void)snprintf(facts, sizeof(facts), "  %s%s%s  (kmemd %s, pid %u, up %s)", size.text,
                   can_grow(figures) ? ", up to " : "", can_grow(figures) ? most.text : "",
                   version.text, figures->pid, uptime.text);
    (void)screen_flow(screen, strlen("segment \"\"") + width_of(name.text), 2, facts);
    (void)fputs("\n\n", screen->file);
}

/* A start of the daemon went on with a segment whose size is not what was asked for. */
static void print_waiting(const struct figures *figures, const struct options *options,
                          const struct screen *screen)
{
    uint64_t num_bytes = figures_get(figures, "waiting_bytes");
    struct label size = format_bytes(num_bytes, options->exact_bytes);
    if (num_bytes > 0) {
        (void)fprintf(screen->file,
                      "  %s wait for a start of kmemd with no client in the segment\n\n",
                      size.text);
    }
}

/* Return: the columns of the line so far. */
static size_t print_part(const struct figures *figures, const char *word, const char *figure,
                         const struct bar_part *part, const struct options *options,
                         const struct screen *screen, size_t at_columns)
{
    uint64_t num_bytes = figures_get(figures, figure);
    struct label bytes = format_bytes(num_bytes, options->exact_bytes);
    struct label share = format_share(num_bytes, figures_get(figures, "segment_bytes"));
    char text[96];
    (void)snprintf(text, sizeof(text), " %s %s (%s)", word, bytes.text, share.text);
    size_t needed_columns = 3 + width_of(text);
    if (at_columns > 0 && screen->n_columns > 0 &&
        at_columns + needed_columns > screen->n_columns) {
        (void)fputc('\n', screen->file);
        at_columns = 0;
    }
    (void)fprintf(screen->file, "  %s%s%s%s", screen_on(screen, part->style),
                  screen->unicode ? part->unicode : part->ascii, screen_off(screen, part->style),
                  text);
    return at_columns + needed_columns;
}

static size_t bar_cells(const struct screen *screen)
{
    if (screen->n_columns == 0 || screen->n_columns >= BAR_CELLS + BAR_MARGIN_COLUMNS) {
        return BAR_CELLS;
    }
    return screen->n_columns < BAR_MIN_CELLS + BAR_MARGIN_COLUMNS
               ? BAR_MIN_CELLS
               : screen->n_columns - BAR_MARGIN_COLUMNS;
}

static void print_bar(const struct figures *figures, const struct options *options,
                      const struct screen *screen)
{
    const struct bar_part parts[] = {
        {figures_get(figures, "used_bytes"), fullness_style(figures), "█", "#"},
        {figures_get(figures, "overhead_bytes"), STYLE_DIM, "▒", "+"},
        {figures_get(figures, "free_bytes"), STYLE_DIM, "░", "."},
    };

    (void)fputs("  ", screen->file);
    bar_print(parts, 3, bar_cells(screen), screen);
    (void)fputc('\n', screen->file);
    size_t at = print_part(figures, "used", "used_bytes", &parts[0], options, screen, 0);
    at = print_part(figures, "overhead", "overhead_bytes", &parts[1], options, screen, at);
    (void)print_part(figures, "free", "free_bytes", &parts[2], options, screen, at);
    (void)fputs("\n\n", screen->file);
}

/* ------------------------------------------------------------------- where the bytes are ---- */

/* Texts of 25 columns at most: the table fits 60. */
static const struct part {
    const char *word;
    const char *figure;
    const char *text;
} waste[] = {
    {"  rounding", "rounding_bytes", "block sizes rounded up"},
    {"  slabs", "slab_bytes", "free beside live blocks"},
    {"  first page", "first_page_bytes", "never given out"},
    {"  idle", "idle_bytes", "leased, no live block"},
    {"  in one piece", "largest_extent_bytes", "free, the longest piece"},
    {"  scattered", "scattered_bytes", "free, all other pieces"},
};

#define N_WASTE (sizeof(waste) / sizeof(waste[0]))

static int waste_add(struct table *table, const struct part *part, const struct figures *figures,
                     const struct options *options)
{
    uint64_t num_bytes = figures_get(figures, part->figure);
    struct label bytes = format_bytes(num_bytes, options->exact_bytes);
    struct label share = format_share(num_bytes, figures_get(figures, "segment_bytes"));
    return table_add(table, (const char *[]){part->word, bytes.text, share.text, part->text});
}

/* What overhead and free are made of. An older daemon does not tell. */
static int print_waste(const struct figures *figures, const struct options *options,
                       const struct screen *screen)
{
    static const struct table_column columns[] = {
        {.align = TABLE_LEFT},
        {.align = TABLE_RIGHT},
        {.align = TABLE_RIGHT},
        {.align = TABLE_LEFT, .may_flow = true},
    };
    if (!figures_has(figures, "rounding_bytes")) {
        return 0;
    }
    struct table *table = table_new(columns, 4);
    int r = table ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < N_WASTE; i++) {
        r = waste_add(table, &waste[i], figures, options);
    }
    if (r == 0) {
        table_print(table, screen);
        (void)fputc('\n', screen->file);
    }
    table_free(table);
    return r;
}

/* ---------------------------------------------------------------------------- the figures ---- */

static struct label figure_label(const struct figures *figures, const char *name,
                                 const struct options *options)
{
    uint64_t value = figures_get(figures, name);
    size_t n_bytes = strlen(name);
    if (!figures_has(figures, name)) {
        return (struct label){.text = "-"}; /* an older daemon does not know it */
    }
    if (n_bytes > 6 && strcmp(name + n_bytes - 6, "_bytes") == 0) {
        return format_bytes(value, options->exact_bytes);
    }
    return format_count(value);
}

#define PAIRS_A_ROW 3
#define GRID_COLUMNS ((size_t)2 * PAIRS_A_ROW)

static const struct pair {
    const char *word;
    const char *figure;
} grid[][PAIRS_A_ROW] = {
    {{"  blocks", "blocks"}, {"  peak used", "peak_used_bytes"}, {"  peak held", "peak_bytes"}},
    {{"  reasons", "reasons"}, {"  allocations", "allocations"}, {"  releases", "releases"}},
    {{"  clients", "clients"}, {"  seen", "clients_seen"}, {"  ended", "clients_ended"}},
    {{"  requests", "requests"}, {"  leased", "leased_bytes"}, {"  direct", "direct_bytes"}},
    {{"  refusals", "refusals"},
     {"  misuses", "misuses"},
     {"  largest hole", "largest_hole_bytes"}},
};

#define N_PAIRS (sizeof(grid) / sizeof(grid[0][0]))

static int grid_add(struct table *table, size_t from, size_t n_pairs, const struct figures *figures,
                    const struct options *options)
{
    struct label values[PAIRS_A_ROW];
    const char *cells[GRID_COLUMNS] = {0};
    for (size_t i = 0; i < n_pairs && from + i < N_PAIRS; i++) {
        const struct pair *pair = &grid[(from + i) / PAIRS_A_ROW][(from + i) % PAIRS_A_ROW];
        values[i] = figure_label(figures, pair->figure, options);
        cells[2 * i] = pair->word;
        cells[2 * i + 1] = values[i].text;
    }
    return table_add(table, cells);
}

/* Return: 0, -ENOMEM, or GRID_E_TOO_WIDE, and then nothing is printed. */
#define GRID_E_TOO_WIDE 1
static int print_grid_of(size_t n_pairs, const struct figures *figures,
                         const struct options *options, const struct screen *screen)
{
    static const struct table_column columns[GRID_COLUMNS] = {
        {.align = TABLE_LEFT},  {.align = TABLE_RIGHT}, {.align = TABLE_LEFT},
        {.align = TABLE_RIGHT}, {.align = TABLE_LEFT},  {.align = TABLE_RIGHT},
    };
    struct table *table = table_new(columns, 2 * n_pairs);
    int r = table ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < N_PAIRS; i += n_pairs) {
        r = grid_add(table, i, n_pairs, figures, options);
    }
    if (r == 0 && n_pairs > 1 && screen->n_columns > 0 && table_width(table) > screen->n_columns) {
        r = GRID_E_TOO_WIDE;
    }
    if (r == 0) {
        table_print(table, screen);
    }
    table_free(table);
    return r;
}

/* As many pairs a row as the screen has room for. */
static int print_grid(const struct figures *figures, const struct options *options,
                      const struct screen *screen)
{
    int r = GRID_E_TOO_WIDE;
    for (size_t n_pairs = PAIRS_A_ROW; r == GRID_E_TOO_WIDE; n_pairs--) {
        r = print_grid_of(n_pairs, figures, options, screen);
    }
    return r;
}

/* ------------------------------------------------------------------ all, as they describe ---- */

static struct label figure_value(const struct figure *figure, const struct options *options)
{
    if (strcmp(figure->unit, "bytes") == 0) {
        return format_bytes(figure->value, options->exact_bytes);
    }
    if (strcmp(figure->unit, "milliseconds") == 0) {
        return format_age(figure->value);
    }
    return format_count(figure->value);
}

static int all_add(struct table *table, const struct figure *figure, const struct options *options)
{
    struct escaped name = format_escaped(figure->name);
    struct escaped kind = format_escaped(figure->kind);
    struct escaped text = format_escaped(figure->text);
    struct label value = figure_value(figure, options);
    return table_add(table, (const char *[]){name.text, value.text, kind.text, text.text});
}

static int print_all(const struct figures *figures, const struct options *options,
                     const struct screen *screen)
{
    static const struct table_column columns[] = {
        {"FIGURE", .align = TABLE_LEFT},
        {"VALUE", .align = TABLE_RIGHT},
        {"KIND", .align = TABLE_LEFT},
        {"WHAT IT SAYS", .align = TABLE_LEFT, .may_flow = true},
    };
    struct table *table = table_new(columns, 4);
    int r = table ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < figures->n_figures; i++) {
        r = all_add(table, &figures->figures[i], options);
    }
    if (r == 0) {
        (void)fputc('\n', screen->file);
        table_print(table, screen);
    }
    table_free(table);
    return r;
}

static int print_text(const struct figures *figures, const struct options *options,
                      const struct screen *screen)
{
    print_headline(figures, options, screen);
    print_waiting(figures, options, screen);
    print_bar(figures, options, screen);
    int r = print_waste(figures, options, screen);
    r = r ? r : print_grid(figures, options, screen);
    if (r == 0 && options->all) {
        r = print_all(figures, options, screen);
    }
    return r;
}

/* ----------------------------------------------------------------------------------- JSON ---- */

static void json_explanations(struct json_row *row, const struct figures *figures)
{
    struct json_row explanations;
    json_row_init(&explanations);
    for (size_t i = 0; i < figures->n_figures; i++) {
        const struct figure *figure = &figures->figures[i];
        struct json_row one;
        json_row_init(&one);
        json_row_text(&one, "kind", figure->kind);
        json_row_text(&one, "unit", figure->unit);
        json_row_text(&one, "text", figure->text);
        json_row_row(&explanations, figure->name, &one);
    }
    json_row_row(row, "explanations", &explanations);
}

static int print_json(const struct figures *figures, const struct options *options,
                      const struct screen *screen)
{
    struct json_row row;
    json_row_init(&row);
    json_row_text(&row, "segment_name", figures->segment_name);
    json_row_text(&row, "version", figures->version);
    json_row_number(&row, "pid", figures->pid);
    figures_json(figures, &row);
    if (options->all) {
        json_explanations(&row, figures);
    }
    return json_row_print(&row, screen->file);
}

/* ------------------------------------------------------------------------------------ CSV ---- */

#define AT(member) COLUMN_AT(struct figure, member)

static const struct column figure_columns[] = {
    {"FIGURE", "name", COLUMN_TEXT, AT(name)},       {"VALUE", "value", COLUMN_COUNT, AT(value)},
    {"KIND", "kind", COLUMN_TEXT, AT(kind)},         {"UNIT", "unit", COLUMN_TEXT, AT(unit)},
    {"WHAT IT SAYS", "text", COLUMN_TEXT, AT(text)},
};

static const struct listing_shape shape = {
    .name = "statistics",
    .nothing = "",
    .columns = figure_columns,
    .n_columns = sizeof(figure_columns) / sizeof(figure_columns[0]),
    .row_bytes = sizeof(struct figure),
};

static int print_csv(const struct figures *figures, const struct options *options,
                     const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; r >= 0 && i < figures->n_figures; i++) {
        r = listing_add(&listing, &figures->figures[i]);
    }
    return listing_end(&listing, r < 0 ? r : 0);
}

static int print(const struct figures *figures, const struct options *options,
                 const struct screen *screen)
{
    switch (options->format) {
    case FORMAT_JSON:
    case FORMAT_JSONL:
        return print_json(figures, options, screen);
    case FORMAT_CSV:
        return print_csv(figures, options, screen);
    case FORMAT_TABLE:
    case FORMAT_WIDE:
        break;
    }
    return print_text(figures, options, screen);
}

int usage_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    struct figures figures;
    int r = figures_init(&figures, query);
    if (r == 0) {
        r = print(&figures, options, screen);
    }
    if (r == 0 && options->fail_above_percent > 0 &&
        fullness_percent(&figures) > options->fail_above_percent) {
        r = STATUS_THRESHOLD;
    }
    figures_fini(&figures);
    return r;
}
