/* SPDX-License-Identifier: MIT */
/*
 * flow.h - a figure over time: how fast it moves, how far it has come, and its curve
 *
 * A flow is told the figure each time that it is asked for. It keeps the last FLOW_POINTS of them,
 * the one before the last with its time, and the one that what it has grown is counted from.
 */
#ifndef CTL_TOP_FLOW_H
#define CTL_TOP_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 60: with a point a second, a minute. A node of 65,000 has as many: 30 MiB, at the worst. */
#define FLOW_POINTS 60

struct flow {
    uint64_t now;
    uint64_t now_ms; /* when it was so, on the caller's clock */
    uint64_t before;
    uint64_t before_ms;
    uint64_t base; /* what it has grown from */
    bool has_now;
    bool has_rate; /* it was told at two times */
    uint64_t points[FLOW_POINTS];
    size_t n_points;
    size_t next;
};

/** flow_add() - it is so much, at that time */
void flow_add(struct flow *flow, uint64_t value, uint64_t now_ms);

/** flow_past() - it was so much more, so many seconds before now; before the first flow_add() */
void flow_past(struct flow *flow, uint64_t value, size_t seconds_ago);

/**
 * flow_past_end() - that was all; it has grown from the first of these
 * @newest_ago:  seconds before now of the last look
 * @now_ms:      when that is
 */
void flow_past_end(struct flow *flow, size_t newest_ago, uint64_t now_ms);

/** flow_begin() - it was nothing at that time, before the first flow_add() */
void flow_begin(struct flow *flow, uint64_t then_ms);

/** flow_reset() - what it has grown is counted from now on */
void flow_reset(struct flow *flow);

/** flow_rate() - how much it moves a second, between the last two times; 0 if it was told once */
int64_t flow_rate(const struct flow *flow);

/** flow_grown() - how much it has moved since flow_reset(), or the first time */
int64_t flow_grown(const struct flow *flow);

/* 64 cells of three bytes, and the NUL. */
#define FLOW_CURVE_CELLS 64
struct curve {
    char text[3 * FLOW_CURVE_CELLS + 1];
};

/**
 * flow_curve() - the last points as a row of bars, the newest on the right
 * @whole:    what a full cell stands for; 0: the highest point
 * @n_cells:  at most FLOW_CURVE_CELLS; blanks where there are no points yet
 *
 * With more points than cells, a cell is the highest of its points. What is not 0 is never shown as
 * nothing.
 */
struct curve flow_curve(const struct flow *flow, uint64_t whole, size_t n_cells, bool unicode);

#endif
