/* SPDX-License-Identifier: MIT */
/*
 * course.h - since when does it grow?
 *
 * A course is what was live at even steps of time, the oldest first; a step that was not looked at
 * has nothing. What is asked for and given back all the time goes up and down, so a step is the
 * least that was seen in it. It grows if it has risen from its lowest step to its last by a tenth
 * of what it is, and 64 KiB, without falling by more than a third of that rise on the way; and if
 * it was never before so high, less a quarter of the rise: what swings slowly does not grow. It
 * began where it last was near the lowest step: within a twentieth of the rise.
 */
#ifndef CTL_COURSE_H
#define CTL_COURSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 60: a minute of an hour, and a screen's width. */
#define COURSE_STEPS 60

struct course {
    bool is_known[COURSE_STEPS];
    uint64_t least[COURSE_STEPS]; /* bytes */
    uint64_t last[COURSE_STEPS];
};

/* That it grows, and since when. */
struct course_growth {
    size_t began;       /* the step */
    bool is_from_first; /* it is the first step that is known: it may have grown before */
    bool has_stopped;   /* it has not risen any more in the last quarter of the time since */
    uint64_t from_bytes;
    uint64_t to_bytes;
};

/** course_note() - something was seen in a step */
void course_note(struct course *course, size_t step, uint64_t num_bytes);

/** course_grows() - Return: whether it grows; then ret_growth says since when. */
bool course_grows(const struct course *course, struct course_growth *ret_growth);

/**
 * course_spark() - the course as a line of COURSE_STEPS characters
 * @unicode:  in blocks; else in ASCII
 * @buffer:   COURSE_SPARK_BYTES
 * Return: buffer.
 */
const char *course_spark(const struct course *course, bool unicode, char *buffer);
#define COURSE_SPARK_BYTES (3 * COURSE_STEPS + 1)

#endif
