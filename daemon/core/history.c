/* SPDX-License-Identifier: MIT */
/*
 * history.c - two rings and a table of places
 *
 * A point has a figure for each place of the table, whatever reason has it: when the place goes to
 * another, the time since which it has it tells what figures are its own. So a change of reasons is
 * three stores, and no point is ever gone through.
 *
 * A minute is folded from its seconds, when the first look of a later minute comes: what is kept
 * for that, if the server is killed, are the seconds. Each point is without a number while it is
 * written, so one that a server has begun and not finished is none.
 */
#include "daemon/core/history.h"

#include <string.h>

#include "proto/store.h"

static uint64_t number_at(const struct history_ring *ring, uint64_t at_ms)
{
    return at_ms / ring->step_ms + 1;
}

static struct state_point *place_of(const struct history_ring *ring, uint64_t number)
{
    return &ring->points[number % ring->n_places];
}

static uint64_t oldest_of(const struct history_ring *ring)
{
    return ring->newest > ring->n_places ? ring->newest - ring->n_places + 1 : 1;
}

/* The point of a number, if there is one. */
static const struct state_point *point_find(const struct history_ring *ring, uint64_t number)
{
    const struct state_point *point = place_of(ring, number);
    return number != 0 && state_load(&point->number) == number ? point : NULL;
}

static void ring_recover(struct history_ring *ring)
{
    for (uint32_t place = 0; place < ring->n_places; place++) {
        const uint64_t number = state_load(&ring->points[place].number);
        if (number > ring->newest && number % ring->n_places == place &&
            number == number_at(ring, ring->points[place].at_ms)) {
            ring->newest = number;
        }
    }
}

void history_init(struct history *history, struct state *state)
{
    *history = (struct history){.state = state, .series = state->series};
    history->seconds = (struct history_ring){
        .points = state->seconds, .n_places = HISTORY_SECONDS, .step_ms = HISTORY_SECOND_MS};
    history->minutes = (struct history_ring){
        .points = state->minutes, .n_places = HISTORY_MINUTES, .step_ms = HISTORY_MINUTE_MS};
}

void history_recover(struct history *history)
{
    ring_recover(&history->seconds);
    ring_recover(&history->minutes);
}

const struct state_point *history_next(const struct history_ring *ring, uint64_t number)
{
    const uint64_t oldest = oldest_of(ring);
    number = number < oldest ? oldest : number;
    for (; number <= ring->newest; number++) {
        const struct state_point *point = point_find(ring, number);
        if (point) {
            return point;
        }
    }
    return NULL;
}

/* What is behind a word means nothing from now on. */
static void word_retire(const struct history *history, _Atomic uint64_t *word)
{
    state_commit(history->state, word, 0);
    /* The stores that follow are plain: a release alone lets the compiler move them before it. */
    atomic_signal_fence(memory_order_seq_cst);
}

static void ring_add(struct history *history, struct history_ring *ring,
                     const struct state_point *point, uint64_t number)
{
    struct state_point *place = place_of(ring, number);
    const struct state_point content = *point;
    const size_t from = offsetof(struct state_point, at_ms);
    /* Before: the place has an older point, or none. After: none. */
    word_retire(history, &place->number);
    store_prepare_bytes((unsigned char *)place + from, (const unsigned char *)&content + from,
                        sizeof(content) - from);
    /* Before: the place has no point. After: it has this one, and all of it is there. */
    state_commit(history->state, &place->number, number);
    ring->newest = number;
}

/* ------------------------------------------------------------------------------------ places -- */

static uint64_t weight_of(const struct state_series *series, uint64_t now_ms)
{
    const uint64_t age_ms = now_ms > series->weight_ms ? now_ms - series->weight_ms : 0;
    const uint64_t n_halvings = age_ms / HISTORY_HALF_LIFE_MS;
    const uint64_t weight = n_halvings < 64 ? series->weight_bytes >> n_halvings : 0;
    /* Between two halvings it falls evenly. */
    return weight - weight / 2 * (age_ms % HISTORY_HALF_LIFE_MS) / HISTORY_HALF_LIFE_MS;
}

static void series_weigh(struct state_series *series, uint64_t num_bytes, uint64_t now_ms)
{
    if (num_bytes >= weight_of(series, now_ms)) {
        series->weight_bytes = num_bytes < FIGURE_BYTES_MAX ? num_bytes : FIGURE_BYTES_MAX;
        series->weight_ms = now_ms;
    }
}

/* The place of the least weight that is not among the `kept`, a free one if there is one. */
static uint32_t place_least(const struct history *history, uint32_t kept, uint64_t now_ms)
{
    uint32_t least = HISTORY_SERIES;
    uint64_t least_bytes = UINT64_MAX;
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        const struct state_series *series = &history->series[place];
        const bool is_free = series_since(series) == 0;
        const uint64_t weight_bytes = is_free ? 0 : weight_of(series, now_ms);
        if ((kept >> place & 1) == 0 && (is_free || weight_bytes < least_bytes)) {
            least = place;
            least_bytes = weight_bytes;
            if (is_free) {
                break;
            }
        }
    }
    KMEM_ASSERT(least < HISTORY_SERIES); /* HISTORY_TOP are kept at most */
    return least;
}

static void place_give(const struct history *history, uint32_t place, const char *reason,
                       uint64_t now_ms)
{
    struct state_series *series = &history->series[place];
    const size_t n_bytes = strlen(reason);
    KMEM_ASSERT(n_bytes <= REASON_MAX_BYTES);
    /* Before: the place is another reason's, or none's. After: none's. */
    word_retire(history, &series->since_ms);
    series->n_bytes = (uint8_t)n_bytes;
    store_prepare_bytes(series->text, reason, n_bytes);
    series->weight_bytes = 0;
    series->weight_ms = now_ms;
    /* Before: the place is none's. After: this reason's, and what points have there from now on. */
    state_commit(history->state, &series->since_ms, now_ms + 1);
}

static bool place_is_heavier(const struct history *history, uint32_t place, uint64_t num_bytes,
                             uint64_t now_ms)
{
    const struct state_series *series = &history->series[place];
    return series_since(series) != 0 && weight_of(series, now_ms) >= num_bytes;
}

/* Where the look has a group; HISTORY_SERIES: it has no place. */
static uint32_t place_known(const struct history_look *look, const struct rollup_group *group)
{
    uint32_t place = 0;
    while (place < HISTORY_SERIES && look->known[place] != group) {
        place++;
    }
    return place;
}

/* The places of those of the first HISTORY_TOP groups that have one. */
static uint32_t places_kept(const struct rollup *rollup, const struct history_look *look)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < HISTORY_TOP && i < rollup_n_groups(rollup); i++) {
        const uint32_t place = place_known(look, rollup_group(rollup, i));
        kept |= place < HISTORY_SERIES ? UINT32_C(1) << place : 0;
    }
    return kept;
}

/* Gives places to those of the largest groups that have none. */
static void places_give(const struct history *history, const struct rollup *rollup,
                        struct history_look *look)
{
    uint32_t kept = places_kept(rollup, look);
    for (size_t i = 0; i < HISTORY_SERIES && i < rollup_n_groups(rollup); i++) {
        const struct rollup_group *group = rollup_group(rollup, i);
        if (place_known(look, group) < HISTORY_SERIES || strcmp(group->key, OTHER_REASONS) == 0) {
            continue;
        }
        const uint32_t place = place_least(history, kept, look->at_ms);
        if (i >= HISTORY_TOP && place_is_heavier(history, place, group->num_bytes, look->at_ms)) {
            continue;
        }
        place_give(history, place, group->key, look->at_ms);
        series_weigh(&history->series[place], group->num_bytes, look->at_ms);
        look->known[place] = group;
        kept |= i < HISTORY_TOP ? UINT32_C(1) << place : 0;
    }
}

void history_pick(const struct history *history, const struct rollup *rollup,
                  struct history_look *look)
{
    char reason[REASON_MAX_BYTES + 1];
    look->n_points = history->n_points;
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        const struct state_series *series = &history->series[place];
        look->known[place] = NULL;
        if (series_since(series) != 0) {
            memcpy(reason, series->text, series->n_bytes);
            reason[series->n_bytes] = '\0';
            look->known[place] = rollup_find(rollup, reason);
        }
    }
}

/* ------------------------------------------------------------------------------------ points -- */

static uint64_t figure_of(const struct rollup_group *group)
{
    const uint64_t num_bytes =
        group->num_bytes < FIGURE_BYTES_MAX ? group->num_bytes : FIGURE_BYTES_MAX;
    const uint64_t n_blocks =
        group->n_blocks < FIGURE_BLOCKS_MAX ? group->n_blocks : FIGURE_BLOCKS_MAX;
    return num_bytes | n_blocks << FIGURE_BYTES_BITS;
}

static uint64_t larger_of(uint64_t figure, uint64_t other)
{
    return FIGURE_BYTES(other) > FIGURE_BYTES(figure) ? other : figure;
}

static void point_add_groups(const struct history *history, struct state_point *point,
                             const struct history_look *look)
{
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        const struct rollup_group *group = look->known[place];
        if (group) {
            point->last[place] = figure_of(group);
            point->most[place] = point->last[place];
            series_weigh(&history->series[place], group->num_bytes, point->at_ms);
        }
    }
}

/* How long was looked at until this look. */
static uint32_t span_of(const struct history *history, uint64_t at_ms)
{
    const struct state_point *former = point_find(&history->seconds, history->seconds.newest);
    const uint64_t span_ms = former && history->goes_on ? at_ms - former->at_ms : 0;
    return span_ms < UINT32_MAX ? (uint32_t)span_ms : UINT32_MAX;
}

/* Adds a second to its minute: what a place had of a reason that has lost it meanwhile is left. */
static void minute_add(const struct history *history, struct state_point *minute,
                       const struct state_point *second)
{
    minute->at_ms = second->at_ms;
    minute->num_bytes = second->num_bytes;
    minute->n_blocks = second->n_blocks;
    minute->peak_bytes =
        second->peak_bytes > minute->peak_bytes ? second->peak_bytes : minute->peak_bytes;
    minute->span_ms += second->span_ms;
    minute->n_looks++;
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        if (history_has(history, second, place)) {
            minute->last[place] = second->last[place];
            minute->most[place] = larger_of(minute->most[place], second->most[place]);
        }
    }
}

bool history_open_minute(const struct history *history, struct state_point *ret_point)
{
    const struct history_ring *seconds = &history->seconds;
    const struct state_point *newest = point_find(seconds, seconds->newest);
    if (!newest) {
        return false;
    }
    const uint64_t number = number_at(&history->minutes, newest->at_ms);
    const uint64_t n_seconds = HISTORY_MINUTE_MS / HISTORY_SECOND_MS;
    *ret_point = (struct state_point){.number = number};
    if (point_find(&history->minutes, number)) {
        return false;
    }
    const struct state_point *second = history_next(seconds, (number - 1) * n_seconds + 1);
    for (; second; second = history_next(seconds, state_load(&second->number) + 1)) {
        minute_add(history, ret_point, second);
    }
    return true;
}

/* The minute of the seconds so far, if a second of a later one is about to come. */
static void minute_close(struct history *history, uint64_t at_ms)
{
    struct state_point minute;
    if (history_open_minute(history, &minute) &&
        number_at(&history->minutes, at_ms) > state_load(&minute.number)) {
        ring_add(history, &history->minutes, &minute, state_load(&minute.number));
    }
}

bool history_wants(const struct history *history, uint64_t now_ms)
{
    return number_at(&history->seconds, now_ms) > history->seconds.newest;
}

bool history_note(struct history *history, const struct rollup *rollup, struct history_look *look)
{
    if (!history_wants(history, look->at_ms) || look->n_points != history->n_points) {
        return false;
    }
    struct state_point point = {
        .at_ms = look->at_ms,
        .num_bytes = look->num_bytes,
        .n_blocks = look->n_blocks,
        .peak_bytes = look->num_bytes > history->peak_bytes ? look->num_bytes : history->peak_bytes,
        .span_ms = span_of(history, look->at_ms),
        .n_looks = 1,
    };
    minute_close(history, look->at_ms);
    places_give(history, rollup, look);
    point_add_groups(history, &point, look);
    ring_add(history, &history->seconds, &point, number_at(&history->seconds, look->at_ms));
    history->n_points++;
    history->peak_bytes = 0;
    history->goes_on = true;
    return true;
}

void history_note_peak(struct history *history, uint64_t num_bytes)
{
    state_raise(&history->peak_bytes, num_bytes);
}

void history_pause(struct history *history)
{
    history->goes_on = false;
}

/* ------------------------------------------------------------------------------------- check -- */

static bool point_is_sound(const struct history_ring *ring, const struct state_point *point)
{
    return point->n_looks > 0 && number_at(ring, point->at_ms) == state_load(&point->number) &&
           point->peak_bytes >= point->num_bytes;
}

/* No point is newer than the newest: a ring that was never full is looked at as far as it is. */
static int ring_check(const struct history_ring *ring)
{
    const uint64_t n_places = ring->n_places;
    uint64_t number = ring->newest > n_places ? ring->newest - n_places : 0;
    while (number++ < ring->newest) {
        const struct state_point *point = &ring->points[number % n_places];
        if (state_load(&point->number) == number && !point_is_sound(ring, point)) {
            return HISTORY_E_CORRUPT;
        }
    }
    return HISTORY_OK;
}

int history_check(const struct history *history)
{
    return ring_check(&history->seconds) || ring_check(&history->minutes) ? HISTORY_E_CORRUPT
                                                                          : HISTORY_OK;
}
