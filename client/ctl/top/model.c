/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/table.h"
#include "client/ctl/top/pattern.h"

/* Which process had a flow. */
struct client_key {
    uint32_t slot;
    uint32_t pid;
};

struct page_view *model_view(struct model *model)
{
    return &model->views[model->page];
}

void model_init(struct model *model)
{
    *model = (struct model){.interval_ms = 1000};
    for (enum page_id id = 0; id < N_PAGES; id++) {
        (void)model_sort(model, id, page_get(id)->sort);
    }
}

static void client_flows_fini(struct model *model)
{
    free(model->client_flows);
    free(model->client_keys);
    model->client_flows = NULL;
    model->client_keys = NULL;
    model->n_client_flows = 0;
}

void model_fini(struct model *model)
{
    for (enum page_id id = 0; id < N_PAGES; id++) {
        free(model->views[id].selected);
    }
    figures_fini(&model->figures);
    live_tree_fini(&model->tree);
    rows_fini(&model->rows);
    client_flows_fini(model);
    free(model->sentence);
    free((void *)model->lines);
    *model = (struct model){0};
}

bool model_sort(struct model *model, enum page_id page, const char *order)
{
    const size_t n_bytes = strcspn(order, ":");
    const struct column *column = page_column(page_get(page), order, n_bytes);
    const char *way = order + n_bytes;
    const bool is_ascending = strcmp(way, ":asc") == 0;
    const bool is_descending = strcmp(way, ":desc") == 0;
    if (!column || column->kind == COLUMN_NESTED || (*way && !is_ascending && !is_descending)) {
        return false;
    }
    model->views[page].by = column;
    model->views[page].is_descending = is_descending || (column_is_figure(column) && !is_ascending);
    return true;
}

/* ------------------------------------------------------------------------------ an answer ---- */

/* Of clients that were there before, by slot as the rows are. */
static const struct flow *former_flow(const struct model *model, const struct kmem_client *client)
{
    size_t low = 0;
    size_t high = model->n_client_flows;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (model->client_keys[middle].slot < client->slot) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const bool is_there = low < model->n_client_flows &&
                          model->client_keys[low].slot == client->slot &&
                          model->client_keys[low].pid == client->pid;
    return is_there ? &model->client_flows[low] : NULL;
}

static void client_describe(struct client_row *row, const struct flow *flow)
{
    row->rate = flow_rate(flow);
    row->grown = flow_grown(flow);
    row->has_rate = flow->has_rate;
}

static int take_clients(struct model *model, uint64_t now_ms)
{
    const size_t n = model->rows.n_rows;
    struct flow *flows = calloc(n + 1, sizeof(*flows));
    struct client_key *keys = calloc(n + 1, sizeof(*keys));
    if (!flows || !keys) {
        free(flows);
        free(keys);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct client_row *row = model->rows.rows[i].row;
        const struct flow *former = former_flow(model, &row->client);
        flows[i] = former ? *former : (struct flow){0};
        keys[i] = (struct client_key){row->client.slot, row->client.pid};
        flow_add(&flows[i], row->client.num_bytes, now_ms);
        client_describe(row, &flows[i]);
    }
    client_flows_fini(model);
    model->client_flows = flows;
    model->client_keys = keys;
    model->n_client_flows = n;
    return 0;
}

static void take_figures(struct model *model, struct sample *sample)
{
    figures_fini(&model->figures);
    model->figures = sample->figures;
    sample->figures = (struct figures){0};
    flow_add(&model->used, figures_get(&model->figures, "used_bytes"), sample->now_ms);
    flow_add(&model->allocations, figures_get(&model->figures, "allocations"), sample->now_ms);
    flow_add(&model->releases, figures_get(&model->figures, "releases"), sample->now_ms);
}

/* Before the first answer only: what there is to remember, and top has not seen itself. */
static int take_past(struct model *model, const struct sample *sample)
{
    if (model->has_answer || model->tree.has_rounds) {
        return 0;
    }
    int r = live_tree_past(&model->tree, &sample->past, sample->now_ms);
    model->used = model->tree.root.flow;
    return r;
}

int model_take(struct model *model, struct sample *sample)
{
    int r = take_past(model, sample);
    if (r < 0) {
        return r;
    }
    take_figures(model, sample);
    model->has_answer = true;
    model->answered = sample->page;
    model->error = 0;
    model->tree.unicode = model->unicode;
    model->n_lines = 0; /* they may be of the rows that go */
    rows_fini(&model->rows);
    if (sample->page == PAGE_REASONS) {
        r = live_tree_take(&model->tree, &sample->reasons, sample->now_ms);
    } else {
        model->rows = sample->rows;
        sample->rows = (struct rows){0};
    }
    if (r == 0 && sample->page == PAGE_CLIENTS) {
        r = take_clients(model, sample->now_ms);
    }
    return r < 0 ? r : model_arrange(model);
}

void model_fail(struct model *model, const struct sample *sample, uint64_t now_ms)
{
    if (model->error == 0) {
        model->failed_since_ms = now_ms;
    }
    model->error = sample->error;
    free(model->sentence);
    model->sentence = sample->sentence ? strdup(sample->sentence) : NULL;
}

/* ------------------------------------------------------------------------------ the lines ---- */

static bool reason_matches(const char *path, const void *user)
{
    return pattern_matches(user, path);
}

/* Whether one of a row's texts is meant; as it is shown, as far as that is a text. */
static bool row_matches(const struct page *page, const char *pattern, const void *row)
{
    const struct listing_shape *shape = page_shape(page);
    struct escaped cell;
    for (size_t i = 0; i < shape->n_columns; i++) {
        const struct column *column = &shape->columns[i];
        const bool is_looked_at = column_is_left(column) || column->kind == COLUMN_PID;
        if (is_looked_at && column->title &&
            pattern_matches(pattern, column_cell(column, row, false, &cell))) {
            return true;
        }
    }
    return !*pattern;
}

struct arranging {
    const struct page_view *view;
    struct live_tree_order order;
};

static int compare_nodes(const void *left, const void *right, void *user)
{
    const struct arranging *arranging = user;
    return live_tree_compare(*(const struct node *const *)left, *(const struct node *const *)right,
                             &arranging->order);
}

static int compare_rows(const void *left, const void *right, void *user)
{
    const struct arranging *arranging = user;
    const void *const *a = left;
    const void *const *b = right;
    const int order = column_compare(arranging->view->by, *a, *b);
    return arranging->view->is_descending ? -order : order;
}

static int lines_reserve(struct model *model, size_t n)
{
    const void **grown = realloc((void *)model->lines, (n + 1) * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    model->lines = grown;
    model->n_lines = 0;
    return 0;
}

static bool is_flat_line(const struct node *node)
{
    return node->own_blocks > 0 && node->matches;
}

static int arrange_reasons(struct model *model, const struct page_view *view)
{
    size_t n = 0;
    live_tree_match(&model->tree, *view->pattern ? reason_matches : NULL, view->pattern);
    for (struct node *node = live_tree_next(&model->tree.root); node; node = live_tree_next(node)) {
        n += model->is_flat ? is_flat_line(node) : node_is_shown(node);
        model->n_found += is_flat_line(node);
    }
    int r = lines_reserve(model, n);
    if (r < 0) {
        return r;
    }
    for (struct node *node = live_tree_next(&model->tree.root); node; node = live_tree_next(node)) {
        if (model->is_flat ? is_flat_line(node) : node_is_shown(node)) {
            model->lines[model->n_lines++] = node;
        }
    }
    model->n_rows = model->tree.n_present;
    return 0;
}

static int arrange_rows(struct model *model, const struct page_view *view)
{
    const struct listing_shape *shape = page_shape(page_get(model->page));
    int r = lines_reserve(model, model->rows.n_rows);
    for (size_t i = 0; r == 0 && i < model->rows.n_rows; i++) {
        const void *row = model->rows.rows[i].row;
        if (filter_passes(&model->filter, shape->columns, shape->n_columns, row) &&
            row_matches(page_get(model->page), view->pattern, row)) {
            model->lines[model->n_lines++] = row;
        }
    }
    model->n_rows = model->rows.n_rows;
    model->n_found = model->n_lines;
    return r;
}

/* What tells a row from all others. */
static const char *identity_of(const struct model *model, const void *row, struct escaped *buffer)
{
    if (model->page == PAGE_REASONS) {
        return node_identity(row, buffer);
    }
    const struct page *page = page_get(model->page);
    const struct column *column = page_column(page, page->identity, strlen(page->identity));
    return column ? column_csv(column, row, buffer) : "";
}

static void find_selected(struct model *model)
{
    struct page_view *view = model_view(model);
    struct escaped buffer;
    for (size_t i = 0; view->selected && i < model->n_lines; i++) {
        if (strcmp(identity_of(model, model->lines[i], &buffer), view->selected) == 0) {
            view->selected_at = i;
            return;
        }
    }
    if (view->selected_at >= model->n_lines) {
        view->selected_at = model->n_lines > 0 ? model->n_lines - 1 : 0;
    }
}

int model_arrange(struct model *model)
{
    const struct page_view *view = model_view(model);
    const bool is_reasons = model->page == PAGE_REASONS;
    struct arranging arranging = {view, {view->by, view->is_descending, model->is_flat}};
    model->n_lines = 0;
    model->n_rows = 0;
    model->n_found = 0;
    if (!model->has_answer || model->answered != model->page) {
        return 0;
    }
    int r = is_reasons ? arrange_reasons(model, view) : arrange_rows(model, view);
    if (r < 0) {
        return r;
    }
    if (model->n_lines > 0) {
        qsort_r((void *)model->lines, model->n_lines, sizeof(*model->lines),
                is_reasons ? compare_nodes : compare_rows, &arranging);
    }
    find_selected(model);
    return 0;
}

void model_scroll(struct model *model, size_t n_seen)
{
    struct page_view *view = model_view(model);
    const size_t last = model->n_lines > n_seen ? model->n_lines - n_seen : 0;
    if (view->selected_at < view->first_at) {
        view->first_at = view->selected_at;
    }
    if (n_seen > 0 && view->selected_at >= view->first_at + n_seen) {
        view->first_at = view->selected_at - n_seen + 1;
    }
    view->first_at = view->first_at < last ? view->first_at : last;
}

/* ------------------------------------------------------------------------------- the keys ---- */

/* From now on the row of that line is the selected one. */
static void select_line(struct model *model, size_t line)
{
    struct page_view *view = model_view(model);
    struct escaped buffer;
    if (model->n_lines == 0) {
        return;
    }
    view->selected_at = line < model->n_lines ? line : model->n_lines - 1;
    free(view->selected);
    view->selected = strdup(identity_of(model, model->lines[view->selected_at], &buffer));
}

static void move_by(struct model *model, size_t n_lines, bool is_up)
{
    const size_t at = model_view(model)->selected_at;
    select_line(model, !is_up ? at + n_lines : at > n_lines ? at - n_lines : 0);
}

static struct node *selected_node(const struct model *model)
{
    const size_t at = model->views[PAGE_REASONS].selected_at;
    const bool has_nodes = model->page == PAGE_REASONS && !model->is_flat;
    /* The lines are the model's own nodes. */
    return has_nodes && at < model->n_lines ? (struct node *)(uintptr_t)model->lines[at] : NULL;
}

static void open_selected(struct model *model, bool is_open)
{
    struct node *node = selected_node(model);
    if (!node) {
        return;
    }
    const bool was_open = node->is_open && node_has_children(node);
    if (!is_open && !was_open && node->parent && node->parent->parent) {
        node = node->parent; /* what is closed already lets one out */
        node->is_open = false;
    } else {
        node->is_open = is_open;
    }
    struct page_view *view = model_view(model);
    free(view->selected);
    struct escaped buffer;
    view->selected = strdup(identity_of(model, node, &buffer));
}

static void toggle_selected(struct model *model)
{
    const struct node *node = selected_node(model);
    if (node && node_has_children(node)) {
        open_selected(model, !node->is_open);
    }
}

/* The next column of the table, from the one that it is sorted by. */
static void sort_by_neighbour(struct model *model, bool is_left)
{
    const struct column *shown[TABLE_MAX_COLUMNS];
    struct page_view *view = model_view(model);
    const size_t n = page_shown(page_get(model->page), shown);
    size_t at = 0;
    if (n == 0) {
        return; /* no page is like that */
    }
    while (at < n && shown[at] != view->by) {
        at++;
    }
    do {
        at = is_left ? (at + n - 1) % n : (at + 1) % n;
    } while (!shown[at]->key);
    view->by = shown[at];
    view->is_descending = column_is_figure(view->by);
}

static enum model_answer show_page(struct model *model, enum page_id page)
{
    const bool is_another = page != model->page;
    model->page = page;
    model->shows_help = false;
    return is_another ? MODEL_ASKS : MODEL_GOES_ON;
}

static void reset(struct model *model)
{
    live_tree_reset(&model->tree);
    for (size_t i = 0; i < model->n_client_flows; i++) {
        flow_reset(&model->client_flows[i]);
        if (model->answered == PAGE_CLIENTS && i < model->rows.n_rows) {
            client_describe(model->rows.rows[i].row, &model->client_flows[i]);
        }
    }
}

static void type_key(struct model *model, uint32_t key)
{
    char *pattern = model_view(model)->pattern;
    if (key == KEY_IS_ENTER || key == KEY_IS_ESCAPE) {
        model->is_typing = false;
        pattern[0] = key == KEY_IS_ESCAPE ? '\0' : pattern[0];
    } else if (key == KEY_IS_ERASE) {
        pattern_erase(pattern);
    } else if (key < KEY_IS_UP) {
        pattern_type(pattern, key);
    }
}

/* Keys that move the selection. Return: whether it is one. */
static bool move_key(struct model *model, uint32_t key, size_t n_seen)
{
    const size_t page_lines = n_seen > 1 ? n_seen - 1 : 1;
    switch (key) {
    case KEY_IS_UP:
    case 'k':
        move_by(model, 1, true);
        return true;
    case KEY_IS_DOWN:
    case 'j':
        move_by(model, 1, false);
        return true;
    case KEY_IS_PAGE_UP:
        move_by(model, page_lines, true);
        return true;
    case KEY_IS_PAGE_DOWN:
        move_by(model, page_lines, false);
        return true;
    case KEY_IS_HOME:
    case 'g':
        select_line(model, 0);
        return true;
    case KEY_IS_END:
    case 'G':
        select_line(model, model->n_lines);
        return true;
    default:
        return false;
    }
}

/* Keys that open, close, sort and choose. */
static void choose_key(struct model *model, uint32_t key)
{
    struct page_view *view = model_view(model);
    switch (key) {
    case KEY_IS_RIGHT:
    case 'l':
    case KEY_IS_LEFT:
        open_selected(model, key != KEY_IS_LEFT);
        break;
    case KEY_IS_ENTER:
    case ' ':
        toggle_selected(model);
        break;
    case '+':
    case '*':
    case '-':
        live_tree_open_all(&model->tree, key != '-');
        break;
    case 't':
        model->is_flat = !model->is_flat;
        break;
    case '<':
    case '>':
        sort_by_neighbour(model, key == '<');
        break;
    case 'r':
        view->is_descending = !view->is_descending;
        break;
    case '/':
        model->is_typing = true;
        break;
    case KEY_IS_ESCAPE:
        view->pattern[0] = '\0';
        break;
    case '0':
        reset(model);
        break;
    case 'b':
        model->exactly = !model->exactly;
        break;
    case 'p':
        model->is_paused = !model->is_paused;
        break;
    default:
        break;
    }
}

enum model_answer model_key(struct model *model, uint32_t key, size_t n_seen)
{
    if (key == KEY_IS_NOTHING) {
        return MODEL_GOES_ON;
    }
    if (model->is_typing && !(key >= KEY_IS_UP && move_key(model, key, n_seen))) {
        type_key(model, key);
        return MODEL_GOES_ON;
    }
    if (model->shows_help) {
        model->shows_help = false; /* any key leaves it, and those of pages go on */
        if (key == 'h' || key == '?' || key == KEY_IS_ESCAPE || key == 'q') {
            return MODEL_GOES_ON;
        }
    }
    if (key == 'q' || key == 'Q') {
        return MODEL_QUITS;
    }
    if (key == 'h' || key == '?') {
        model->shows_help = true;
        return MODEL_GOES_ON;
    }
    if (key >= '1' && key < '1' + N_PAGES) {
        return show_page(model, (enum page_id)(key - '1'));
    }
    if (key == KEY_IS_TAB || key == KEY_IS_BACK_TAB) {
        const unsigned step = key == KEY_IS_TAB ? 1 : N_PAGES - 1;
        return show_page(model, (enum page_id)((model->page + step) % N_PAGES));
    }
    if (!move_key(model, key, n_seen)) {
        choose_key(model, key);
    }
    return MODEL_GOES_ON;
}
