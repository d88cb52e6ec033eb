/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/flow.h"

#include <string.h>

#include "client/ctl/bar.h"
#include "client/ctl/growth.h"

void flow_past(struct flow *flow, uint64_t value, size_t seconds_ago)
{
    if (seconds_ago < FLOW_POINTS) {
        flow->points[FLOW_POINTS - 1 - seconds_ago] += value;
        flow->n_points = seconds_ago + 1 > flow->n_points ? seconds_ago + 1 : flow->n_points;
    }
}

/* The points end at the end of the array; those of seconds after the last look go. */
void flow_past_end(struct flow *flow, size_t newest_ago, uint64_t now_ms)
{
    if (flow->n_points <= newest_ago) {
        *flow = (struct flow){0};
        return;
    }
    flow->next = FLOW_POINTS - newest_ago;
    flow->base = flow->points[FLOW_POINTS - flow->n_points];
    flow->n_points -= newest_ago;
    flow->next %= FLOW_POINTS;
    flow->now = flow->points[FLOW_POINTS - 1 - newest_ago];
    flow->now_ms = now_ms;
    flow->has_now = true;
}

static void flow_point(struct flow *flow, uint64_t value)
{
    flow->points[flow->next] = value;
    flow->next = (flow->next + 1) % FLOW_POINTS;
    flow->n_points += flow->n_points < FLOW_POINTS;
}

void flow_add(struct flow *flow, uint64_t value, uint64_t now_ms)
{
    if (!flow->has_now) {
        flow->base = value;
    } else if (now_ms > flow->now_ms) {
        flow->before = flow->now;
        flow->before_ms = flow->now_ms;
        flow->has_rate = true;
    }
    flow->now = value;
    flow->now_ms = now_ms;
    flow->has_now = true;
    flow_point(flow, value);
}

void flow_begin(struct flow *flow, uint64_t then_ms)
{
    flow->has_now = true;
    flow->now_ms = then_ms;
}

void flow_reset(struct flow *flow)
{
    flow->base = flow->now;
}

int64_t flow_rate(const struct flow *flow)
{
    if (!flow->has_rate) {
        return 0;
    }
    const double moved = (double)growth_between(flow->before, flow->now);
    const double rate = moved * 1000 / (double)(flow->now_ms - flow->before_ms);
    return (int64_t)(rate < 0 ? rate - 0.5 : rate + 0.5);
}

int64_t flow_grown(const struct flow *flow)
{
    return growth_between(flow->base, flow->now);
}

/* ------------------------------------------------------------------------------- the curve ---- */

static uint64_t point_at(const struct flow *flow, size_t i)
{
    return flow->points[(flow->next + FLOW_POINTS - flow->n_points + i) % FLOW_POINTS];
}

static uint64_t highest(const struct flow *flow, size_t from, size_t to)
{
    uint64_t most = 0;
    for (size_t i = from; i < to; i++) {
        most = point_at(flow, i) > most ? point_at(flow, i) : most;
    }
    return most;
}

/* 0: nothing at all; BAR_LEVELS: the whole. */
static size_t level_of(uint64_t value, uint64_t whole)
{
    const double share = whole > 0 ? (double)value / (double)whole : 0;
    const size_t level = (size_t)(share * BAR_LEVELS + 0.5);
    if (value > 0 && level == 0) {
        return 1;
    }
    return level < BAR_LEVELS ? level : BAR_LEVELS;
}

struct curve flow_curve(const struct flow *flow, uint64_t whole, size_t n_cells, bool unicode)
{
    struct curve curve = {.text = ""};
    const size_t n = flow->n_points;
    const size_t n_drawn = n < n_cells ? n : n_cells;
    char *end = curve.text;
    whole = whole > 0 ? whole : highest(flow, 0, n);
    for (size_t cell = 0; cell < n_cells - n_drawn; cell++) {
        end = stpcpy(end, " ");
    }
    for (size_t cell = 0; cell < n_drawn; cell++) {
        const uint64_t value = highest(flow, cell * n / n_drawn, (cell + 1) * n / n_drawn);
        end = stpcpy(end, bar_sign(level_of(value, whole), unicode));
    }
    return curve;
}
