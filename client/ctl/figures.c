/* SPDX-License-Identifier: MIT */
#include "client/ctl/figures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/utf8.h"

static void figure_fini(struct figure *figure)
{
    free(figure->name);
    free(figure->kind);
    free(figure->unit);
    free(figure->text);
}

static int figure_init(struct figure *figure, const struct kmem_statistic *statistic)
{
    *figure = (struct figure){
        .name = utf8_dup_valid(statistic->name), /* it becomes a key of JSON */
        .kind = strdup(statistic->kind),
        .unit = strdup(statistic->unit),
        .text = strdup(statistic->text),
        .value = statistic->value,
    };
    if (!figure->name || !figure->kind || !figure->unit || !figure->text) {
        figure_fini(figure);
        return -ENOMEM;
    }
    return 0;
}

static int figures_name(struct figures *figures, const struct kmem_daemon *daemon)
{
    if (figures->segment_name) {
        return 0;
    }
    figures->pid = daemon->pid;
    figures->instance = daemon->instance;
    figures->version = strdup(daemon->version);
    figures->segment_name = strdup(daemon->segment_name);
    return figures->version && figures->segment_name ? 0 : -ENOMEM;
}

/* Some twenty figures once a run: growing one by one costs nothing that matters. */
static int figures_add(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                       void *user)
{
    struct figures *figures = user;
    size_t n_bytes = (figures->n_figures + 1) * sizeof(struct figure);
    struct figure *grown = realloc(figures->figures, n_bytes);
    if (!grown) {
        return -ENOMEM;
    }
    figures->figures = grown;
    int r = figure_init(&grown[figures->n_figures], statistic);
    if (r < 0) {
        return r;
    }
    figures->n_figures++;
    return figures_name(figures, daemon);
}

int figures_init(struct figures *figures, struct kmem_query *query)
{
    *figures = (struct figures){0};
    int r = kmem_query_usage(query, figures_add, figures);
    if (r == 0 && !figures->segment_name) {
        return -EPROTO; /* a daemon has a segment, and that a size, or it is none */
    }
    return r;
}

void figures_fini(struct figures *figures)
{
    for (size_t i = 0; i < figures->n_figures; i++) {
        figure_fini(&figures->figures[i]);
    }
    free(figures->figures);
    free(figures->segment_name);
    free(figures->version);
    *figures = (struct figures){0};
}

static const struct figure *figures_find(const struct figures *figures, const char *name)
{
    for (size_t i = 0; i < figures->n_figures; i++) {
        if (strcmp(figures->figures[i].name, name) == 0) {
            return &figures->figures[i];
        }
    }
    return NULL;
}

uint64_t figures_get(const struct figures *figures, const char *name)
{
    const struct figure *figure = figures_find(figures, name);
    return figure ? figure->value : 0;
}

bool figures_has(const struct figures *figures, const char *name)
{
    return figures_find(figures, name) != NULL;
}

void figures_json(const struct figures *figures, struct json_row *row)
{
    struct json_row statistics;
    json_row_init(&statistics);
    for (size_t i = 0; i < figures->n_figures; i++) {
        json_row_number(&statistics, figures->figures[i].name, figures->figures[i].value);
    }
    json_row_row(row, "statistics", &statistics);
}
