/* SPDX-License-Identifier: MIT */
/*
 * view.c - what top shows
 *
 *      segment "video"  64.0 MiB  up 1 h 02 m                     every 1.0 s
 *      ██████████▒▒░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
 *      used 10.0 MiB (15.6 %)  overhead 1.0 MiB  free 53.0 MiB
 *      ▁▂▂▃▄▅▆█  +1.2 MiB/s  1,234 allocations/s  1,230 releases/s
 *      1 reasons  2 clients  3 obituaries                        3 of 12 rows
 *      BYTES ...
 *      the rows
 *      a message, what is being typed, or the keys
 *
 * A low screen leaves out the bar, the figures and the curve, so that there are rows.
 */
#include "client/ctl/top/view.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/bar.h"
#include "client/ctl/top/grid.h"
#include "client/ctl/width.h"

/* The bar, what is in it, and the curve. */
#define PICTURE_LINES 3
/* The headline, the pages and the titles above the rows, and the line below them. */
#define FRAME_LINES 4
/* 6 rows: with fewer the picture takes more than it tells. */
#define PICTURE_MIN_LINES (FRAME_LINES + PICTURE_LINES + 6)
/* What a line that ends nowhere is laid out for. */
#define ENDLESS_COLUMNS 80

static bool has_picture(size_t n_lines)
{
    return n_lines == 0 || n_lines >= PICTURE_MIN_LINES;
}

size_t view_seen(size_t n_lines)
{
    const size_t taken = FRAME_LINES + (has_picture(n_lines) ? PICTURE_LINES : 0);
    return n_lines > taken ? n_lines - taken : 0;
}

static size_t columns_of(const struct canvas *canvas)
{
    return canvas->max_columns > 0 ? canvas->max_columns : ENDLESS_COLUMNS;
}

/* At the right end of the line, if there is room behind what stands there. */
static void put_right(struct canvas *canvas, enum style style, const char *text)
{
    const size_t width = width_of(text);
    if (canvas_column(canvas) + 2 + width <= columns_of(canvas)) {
        canvas_pad(canvas, columns_of(canvas) - width);
        canvas_put(canvas, style, text);
    }
}

/* A piece of a line, if there is room for all of it. Return: whether there was. */
static bool put_whole(struct canvas *canvas, enum style style, const char *text)
{
    const size_t gap = canvas_column(canvas) > 0 ? 2 : 0;
    if (canvas_column(canvas) + gap + width_of(text) > columns_of(canvas)) {
        return false;
    }
    canvas_pad(canvas, canvas_column(canvas) + gap);
    canvas_put(canvas, style, text);
    return true;
}

/* ------------------------------------------------------------------------ above the rows ---- */

static uint64_t figure(const struct model *model, const char *name)
{
    return figures_get(&model->figures, name);
}

static void draw_headline(const struct model *model, struct canvas *canvas)
{
    char text[ESCAPED_MAX_BYTES + 16];
    const struct escaped name =
        format_escaped(model->figures.segment_name ? model->figures.segment_name : "");
    const struct label size = format_bytes(figure(model, "segment_bytes"), false);
    const struct label uptime = format_age(figure(model, "uptime_ms"));
    canvas_begin(canvas);
    if (!model->has_answer) {
        canvas_put(canvas, STYLE_BOLD, "kmemctl top");
        return;
    }
    (void)snprintf(text, sizeof(text), "segment \"%s\"", name.text);
    canvas_put(canvas, STYLE_BOLD, text);
    (void)(*model->chosen && put_whole(canvas, STYLE_WARN, model->chosen));
    (void)put_whole(canvas, STYLE_PLAIN, size.text);
    (void)snprintf(text, sizeof(text), "up %s", uptime.text);
    (void)put_whole(canvas, STYLE_PLAIN, text);
    (void)snprintf(text, sizeof(text), "every %u.%u s", model->interval_ms / 1000,
                   model->interval_ms % 1000 / 100);
    put_right(canvas, model->is_paused ? STYLE_WARN : STYLE_DIM,
              model->is_paused ? "paused" : text);
}

/* From here on the operator should look, and from here on allocations are about to fail. */
#define FULL_WARN_PERMILLE 750
#define FULL_BAD_PERMILLE 900

static enum style fullness_style(const struct model *model)
{
    const double whole = (double)figure(model, "segment_bytes");
    const double full = whole - (double)figure(model, "free_bytes");
    const double permille = whole > 0 ? full * 1000 / whole : 0;
    if (permille >= FULL_BAD_PERMILLE) {
        return STYLE_BAD;
    }
    return permille >= FULL_WARN_PERMILLE ? STYLE_WARN : STYLE_GOOD;
}

static void draw_bar(const struct model *model, struct canvas *canvas)
{
    const struct bar_part parts[] = {
        {figure(model, "used_bytes"), fullness_style(model), "█", "#"},
        {figure(model, "overhead_bytes"), STYLE_DIM, "▒", "+"},
        {figure(model, "free_bytes"), STYLE_DIM, "░", "."},
    };
    size_t cells[3];
    const size_t n_cells = columns_of(canvas);
    bar_split(parts, 3, n_cells < 3 ? 3 : n_cells, cells);
    canvas_begin(canvas);
    for (size_t i = 0; i < 3; i++) {
        for (size_t cell = 0; cell < cells[i]; cell++) {
            canvas_put(canvas, parts[i].style, canvas->unicode ? parts[i].unicode : parts[i].ascii);
        }
    }
}

static void draw_parts(const struct model *model, struct canvas *canvas)
{
    static const struct {
        const char *word;
        const char *figure;
        bool has_share;
    } parts[] = {
        {"used", "used_bytes", true},
        {"overhead", "overhead_bytes", false},
        {"free", "free_bytes", false},
        {"largest hole", "largest_hole_bytes", false},
        {"idle in leases", "idle_bytes", false},
        {"peak used", "peak_used_bytes", false},
    };
    char text[96];
    canvas_begin(canvas);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const uint64_t value = figure(model, parts[i].figure);
        const struct label bytes = format_bytes(value, model->exactly);
        const struct label share = format_share(value, figure(model, "segment_bytes"));
        (void)snprintf(text, sizeof(text), parts[i].has_share ? "%s %s (%s)" : "%s %s",
                       parts[i].word, bytes.text, share.text);
        if (!put_whole(canvas, STYLE_PLAIN, text)) {
            return;
        }
    }
}

static void put_rate(const struct flow *flow, const char *what, struct canvas *canvas)
{
    char text[96];
    const int64_t rate = flow_rate(flow);
    const struct label label = format_count(rate > 0 ? (uint64_t)rate : 0);
    (void)snprintf(text, sizeof(text), "%s %s/s", label.text, what);
    (void)put_whole(canvas, STYLE_PLAIN, text);
}

/* The curve of what is used, and how fast that goes. */
static void draw_curve(const struct model *model, struct canvas *canvas)
{
    const uint64_t whole = figure(model, "segment_bytes");
    const size_t room = columns_of(canvas) / 3;
    const size_t n_cells = room < FLOW_POINTS ? room : FLOW_POINTS;
    const struct curve curve = flow_curve(&model->used, whole, n_cells, canvas->unicode);
    const int64_t rate = flow_rate(&model->used);
    const struct label label = format_growth(rate, true, model->exactly);
    char text[64];
    canvas_begin(canvas);
    canvas_put(canvas, STYLE_GOOD, curve.text);
    if (!model->used.has_rate) {
        (void)put_whole(canvas, STYLE_DIM, "rates come with the next answer");
        return;
    }
    (void)snprintf(text, sizeof(text), "%s/s used", label.text);
    (void)put_whole(canvas, rate > 0 ? STYLE_WARN : STYLE_PLAIN, text);
    put_rate(&model->allocations, "allocations", canvas);
    put_rate(&model->releases, "releases", canvas);
}

static void draw_pages(const struct model *model, bool is_live, struct canvas *canvas)
{
    char text[128];
    const struct page_view *view = &model->views[model->page];
    canvas_begin(canvas);
    for (enum page_id id = 0; id < N_PAGES; id++) {
        if (id == model->page) {
            (void)snprintf(text, sizeof(text), "[%u %s]", (unsigned)id + 1, page_get(id)->name);
        } else {
            (void)snprintf(text, sizeof(text), "%u %s", (unsigned)id + 1, page_get(id)->name);
        }
        if (is_live || id == model->page) {
            (void)put_whole(canvas, id == model->page ? STYLE_BOLD : STYLE_DIM,
                            is_live ? text : page_get(id)->name);
        }
    }
    const char *way = view->is_descending == column_is_figure(view->by) ? "" : " reversed";
    const struct label n_rows = format_count(model->n_rows);
    const struct label n_found = format_count(model->n_found);
    if (model->n_found == model->n_rows) {
        (void)snprintf(text, sizeof(text), "%s, by %s%s", n_rows.text, view->by->title, way);
    } else {
        (void)snprintf(text, sizeof(text), "%s of %s, by %s%s", n_found.text, n_rows.text,
                       view->by->title, way);
    }
    put_right(canvas, STYLE_DIM, text);
}

/* ------------------------------------------------------------------------- below the rows ---- */

/* Of a text that has room for it. */
static void put_seconds(char *text, size_t text_bytes, const char *what, uint64_t ms)
{
    const struct label age = format_age(ms);
    (void)snprintf(text, text_bytes, "%.40s for %s", what, age.text);
}

/* 3 s: an answer takes milliseconds; from here on its absence is what there is to say. */
#define WAITING_MIN_MS 3000

static bool draw_trouble(const struct model *model, struct canvas *canvas)
{
    char text[2 * ESCAPED_MAX_BYTES];
    if (model->error < 0) {
        const uint64_t ms = model->now_ms - model->failed_since_ms;
        const struct escaped sentence = format_escaped(model->sentence ? model->sentence : "");
        put_seconds(text, sizeof(text), "kmemd does not answer, asked again", ms);
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), ": %s", sentence.text);
        canvas_put(canvas, STYLE_BAD, text);
        return true;
    }
    if (model->waiting_ms >= WAITING_MIN_MS) {
        put_seconds(text, sizeof(text), "waiting for kmemd", model->waiting_ms);
        canvas_put(canvas, STYLE_WARN, text);
        return true;
    }
    return false;
}

static void draw_keys(const struct model *model, struct canvas *canvas)
{
    static const char *const of_reasons[] = {
        "q quit",  "h help", "/ filter",   "Enter open",      "<> sort", "r reverse",
        "p pause", "t list", "0 from now", "b exact numbers", NULL};
    static const char *const of_others[] = {"q quit",     "h help",          "/ filter",
                                            "<> sort",    "r reverse",       "p pause",
                                            "0 from now", "b exact numbers", NULL};
    const char *const *keys = model->page == PAGE_REASONS ? of_reasons : of_others;
    while (*keys && put_whole(canvas, STYLE_DIM, *keys)) {
        keys++;
    }
}

static void draw_foot(const struct model *model, struct canvas *canvas)
{
    char text[ESCAPED_MAX_BYTES + 32];
    const char *pattern = model->views[model->page].pattern;
    const struct escaped escaped = format_escaped(pattern);
    canvas_begin(canvas);
    if (model->is_typing) {
        (void)snprintf(text, sizeof(text), "filter: %s%s", escaped.text,
                       canvas->unicode ? "▏" : "_");
        canvas_put(canvas, STYLE_BOLD, text);
        (void)put_whole(canvas, STYLE_DIM, "Enter keeps it, Esc drops it");
        return;
    }
    if (draw_trouble(model, canvas)) {
        return;
    }
    if (*pattern) {
        (void)snprintf(text, sizeof(text), "filter: %s (Esc drops it)", escaped.text);
        canvas_put(canvas, STYLE_BOLD, text);
    }
    draw_keys(model, canvas);
}

/* ------------------------------------------------------------------------------- the rows ---- */

static void draw_nothing(const struct model *model, struct canvas *canvas)
{
    const struct listing_shape *shape = page_shape(page_get(model->page));
    const bool is_filtered = model->n_rows > 0 || *model->chosen;
    canvas_begin(canvas);
    if (!model->has_answer || model->answered != model->page) {
        canvas_put(canvas, STYLE_DIM, "asking kmemd");
    } else {
        canvas_put(canvas, STYLE_PLAIN, is_filtered ? shape->nothing_chosen : shape->nothing);
    }
}

static void draw_rows(const struct model *model, size_t n_lines, struct canvas *canvas)
{
    const bool is_live = n_lines > 0;
    const size_t first = is_live ? model->views[model->page].first_at : 0;
    const size_t left = model->n_lines > first ? model->n_lines - first : 0;
    const size_t seen = is_live ? view_seen(n_lines) : model->n_lines;
    if (model->n_lines == 0) {
        draw_nothing(model, canvas);
    } else {
        grid_draw(model, first, left < seen ? left : seen, is_live, canvas);
    }
}

static const char *const help[] = {
    "Up Down j k         choose a line; also PgUp, PgDn, g, G",
    "Right Left Enter    open and close a reason",
    "+ -                 open all, close all",
    "t                   reasons as a tree, or as a list",
    "/                   filter: a text, or a pattern of * and ?",
    "< > r               sort by another column; the other way",
    "1 to 5, Tab         another page",
    "0                   count what has GROWN from now on",
    "b                   exact numbers of bytes",
    "p                   pause",
    "Ctrl-L              draw the screen anew",
    "q Ctrl-C            quit",
    "",
    "BYTES/S is between the last two answers. GROWN is since a",
    "minute before top began, or since 0 was pressed. TREND is",
    "the last 60 answers. + is more, - is less.",
    "kmemctl(1) explains the columns.",
};

static void draw_help(size_t n_lines, struct canvas *canvas)
{
    const size_t n_help = sizeof(help) / sizeof(help[0]);
    canvas_begin(canvas);
    canvas_put(canvas, STYLE_BOLD, "Keys (any key goes back)");
    for (size_t i = 0; i < n_help && canvas->n_lines + 1 < n_lines; i++) {
        canvas_begin(canvas);
        canvas_put(canvas, STYLE_PLAIN, help[i]);
    }
}

void view_draw(const struct model *model, size_t n_lines, struct canvas *canvas)
{
    const bool is_live = n_lines > 0;
    draw_headline(model, canvas);
    if (has_picture(n_lines) && model->has_answer && !model->shows_help) {
        draw_bar(model, canvas);
        draw_parts(model, canvas);
        draw_curve(model, canvas);
    }
    if (model->shows_help) {
        draw_help(n_lines, canvas);
    } else {
        draw_pages(model, is_live, canvas);
        draw_rows(model, n_lines, canvas);
    }
    while (is_live && canvas->n_lines + 1 < n_lines && !canvas->has_failed) {
        canvas_begin(canvas);
    }
    if (is_live) {
        draw_foot(model, canvas);
    }
}
