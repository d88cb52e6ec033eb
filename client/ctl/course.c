/* SPDX-License-Identifier: MIT */
#include "client/ctl/course.h"

#include <string.h>

#include "client/ctl/bar.h"

/* Less is noise: one more lease of a program that is at rest. */
#define LEAST_RISE_BYTES 65536

void course_note(struct course *course, size_t step, uint64_t num_bytes)
{
    if (!course->is_known[step] || num_bytes < course->least[step]) {
        course->least[step] = num_bytes;
    }
    course->last[step] = num_bytes;
    course->is_known[step] = true;
}

static size_t step_known(const struct course *course, size_t from)
{
    while (from < COURSE_STEPS && !course->is_known[from]) {
        from++;
    }
    return from;
}

static size_t step_last(const struct course *course)
{
    size_t last = COURSE_STEPS;
    for (size_t step = step_known(course, 0); step < COURSE_STEPS;
         step = step_known(course, step + 1)) {
        last = step;
    }
    return last;
}

/* The lowest, the last of them. */
static size_t step_lowest(const struct course *course)
{
    size_t lowest = step_known(course, 0);
    for (size_t step = lowest; step < COURSE_STEPS; step = step_known(course, step + 1)) {
        lowest = course->least[step] <= course->least[lowest] ? step : lowest;
    }
    return lowest;
}

/* The most that it has fallen from a step to a later one. */
static uint64_t most_fallen(const struct course *course, size_t from)
{
    uint64_t highest = 0;
    uint64_t fallen = 0;
    for (size_t step = from; step < COURSE_STEPS; step = step_known(course, step + 1)) {
        const uint64_t bytes = course->least[step];
        highest = bytes > highest ? bytes : highest;
        fallen = highest - bytes > fallen ? highest - bytes : fallen;
    }
    return fallen;
}

/* Where it was last within a twentieth of the rise from the lowest. */
static size_t step_began(const struct course *course, size_t lowest, uint64_t rise)
{
    size_t began = lowest;
    for (size_t step = lowest; step < COURSE_STEPS; step = step_known(course, step + 1)) {
        began = course->least[step] - course->least[lowest] <= rise / 20 ? step : began;
    }
    return began;
}

/* The most that it was before a step. */
static uint64_t most_before(const struct course *course, size_t before)
{
    uint64_t highest = 0;
    for (size_t step = step_known(course, 0); step < before; step = step_known(course, step + 1)) {
        highest = course->least[step] > highest ? course->least[step] : highest;
    }
    return highest;
}

bool course_grows(const struct course *course, struct course_growth *ret_growth)
{
    const size_t last = step_last(course);
    if (last == COURSE_STEPS) {
        return false;
    }
    const size_t lowest = step_lowest(course);
    const uint64_t to_bytes = course->least[last];
    const uint64_t rise = to_bytes - course->least[lowest];
    if (rise < LEAST_RISE_BYTES || rise < to_bytes / 10 || most_fallen(course, lowest) > rise / 3 ||
        most_before(course, lowest) > to_bytes - rise / 4) {
        return false;
    }
    const size_t began = step_began(course, lowest, rise);
    const size_t quarter = step_known(course, last - (last - began + 3) / 4);
    *ret_growth = (struct course_growth){
        .began = began,
        .is_from_first = began == step_known(course, 0),
        .has_stopped = last - began >= 4 && to_bytes <= course->least[quarter] + rise / 50,
        .from_bytes = course->least[began],
        .to_bytes = course->last[last],
    };
    return true;
}

const char *course_spark(const struct course *course, bool unicode, char *buffer)
{
    uint64_t highest = 1;
    char *end = buffer;
    for (size_t step = 0; step < COURSE_STEPS; step++) {
        highest = course->last[step] > highest ? course->last[step] : highest;
    }
    for (size_t step = 0; step < COURSE_STEPS; step++) {
        const double share = (double)course->last[step] / (double)highest;
        const size_t level = 1 + (size_t)(share * (BAR_LEVELS - 1) + 0.5); /* 0 is not unknown */
        end = stpcpy(end, bar_sign(course->is_known[step] ? level : 0, unicode));
    }
    return buffer;
}
